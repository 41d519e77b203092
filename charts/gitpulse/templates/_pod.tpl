{{/*
The pod template of operator, receiver and worker. Takes root, component, image (operator or service, which also name the settings), and YAML: args, env, ports
(a map from name to number), probes (of the container), grace (seconds).
*/}}
{{- define "gitpulse.pod" -}}
{{- $it := get .root.Values .component -}}
metadata:
  labels:
    {{- include "gitpulse.labels" . | nindent 4 }}
    {{- with $it.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .component }}
    # A pod does not notice that a Secret of its variables has changed.
    gitpulse.io/config: {{ list .root.Values.redis.url .root.Values.database.url | toJson | sha256sum | trunc 16 }}
    {{- with $it.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "gitpulse.serviceAccountName" . }}
  automountServiceAccountToken: {{ eq .component "operator" }}
  enableServiceLinks: false # they would look like our settings: a Service gitpulse-metrics is GITPULSE_METRICS_PORT
  {{- include "gitpulse.pullSecrets" .root | nindent 2 }}
  {{- with $it.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .grace }}
  securityContext:
    {{- include "gitpulse.podSecurity" 10001 | nindent 4 }}
  containers:
    - name: {{ .component }}
      image: {{ include "gitpulse.image" (dict "root" .root "which" .image) }}
      imagePullPolicy: {{ .root.Values.images.pullPolicy }}
      args: {{ toJson .args }}
      env:
        {{- include "gitpulse.urlEnv" (dict "root" .root "what" "redis") | nindent 8 }}
        {{- include "gitpulse.installationKeyEnv" .root | nindent 8 }}
        {{- .env | nindent 8 }}
        {{- range $name, $value := (get .root.Values .image).config }}
        - name: {{ $name }}
          value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
        {{- end }}
        {{- with $it.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $it.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $number := .ports }}
        - {name: {{ $name }}, containerPort: {{ $number }}}
        {{- end }}
      {{- .probes | nindent 6 }}
      resources:
        {{- toYaml $it.resources | nindent 8 }}
      securityContext:
        {{- include "gitpulse.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- with $it.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with $it.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if ne .component "operator" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "gitpulse.selectorLabels" . | nindent 10 }}
  {{- end }}
  {{- range $name := list "nodeSelector" "tolerations" "affinity" }}
  {{- with get $it $name }}
  {{ $name }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}
