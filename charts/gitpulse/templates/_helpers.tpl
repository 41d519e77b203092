{{- define "gitpulse.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains "gitpulse" .Release.Name | ternary .Release.Name (printf "%s-gitpulse" .Release.Name)) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "gitpulse.selectorLabels" -}}
app.kubernetes.io/name: gitpulse
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "gitpulse.labels" -}}
{{ include "gitpulse.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes root and component: name, namespace and labels. */}}
{{- define "gitpulse.metadata" -}}
name: {{ include "gitpulse.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "gitpulse.labels" . | nindent 2 }}
{{- end -}}

{{/* Takes root and which: operator or service. */}}
{{- define "gitpulse.image" -}}
{{- $image := get .root.Values.images .which -}}
{{- $name := printf "%s/%s" .root.Values.images.registry $image.repository | trimPrefix "/" -}}
{{- if $image.digest }}{{ $name }}@{{ $image.digest }}{{ else }}{{ $name }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "gitpulse.serviceAccountName" -}}
{{- (get .root.Values .component).serviceAccount.name | default (printf "%s-%s" (include "gitpulse.fullname" .root) .component) -}}
{{- end -}}

{{- define "gitpulse.receiverUrl" -}}
http://{{ include "gitpulse.fullname" . }}-receiver.{{ .Release.Namespace }}.svc:{{ .Values.receiver.service.port }}
{{- end -}}

{{- define "gitpulse.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{ .Values.publicUrl }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts -}}
{{ empty .Values.ingress.tls | ternary "http" "https" }}://{{ first .Values.ingress.hosts }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hosts -}}
{{ .Values.httpRoute.scheme }}://{{ first .Values.httpRoute.hosts }}
{{- else -}}
{{ include "gitpulse.receiverUrl" . }}
{{- end -}}
{{- end -}}

{{/* Takes root and what: redis or database. Whether the chart brings its own; otherwise empty. */}}
{{- define "gitpulse.bundled" -}}
{{- $it := get .root.Values .what -}}
{{- if and $it.url $it.urlSecret.name -}}
{{- fail (printf "%s: give either url or urlSecret.name, not both" .what) -}}
{{- end -}}
{{- if not (or $it.url $it.urlSecret.name) }}true{{ end -}}
{{- end -}}

{{/* The variables with which Redis and database are found; takes root and what: redis or database. */}}
{{- define "gitpulse.urlEnv" -}}
{{- $it := get .root.Values .what -}}
{{- $variable := printf "GITPULSE_%s_URL" (upper .what) -}}
{{- $secret := include "gitpulse.fullname" .root -}}
{{- if include "gitpulse.bundled" . -}}
- name: BUNDLED_{{ upper .what }}_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ .what }}-password}
- name: {{ $variable }}
  {{- if eq .what "redis" }}
  value: redis://:$(BUNDLED_REDIS_PASSWORD)@{{ $secret }}-redis:6379/0
  {{- else }}
  value: postgresql://gitpulse:$(BUNDLED_DATABASE_PASSWORD)@{{ $secret }}-database:5432/gitpulse
  {{- end }}
{{- else -}}
- name: {{ $variable }}
  {{- if $it.url }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ .what }}-url}
  {{- else }}
  valueFrom:
    secretKeyRef: {name: {{ $it.urlSecret.name }}, key: {{ $it.urlSecret.key }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "gitpulse.installationKeyEnv" -}}
- name: GITPULSE_INSTALLATION_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.installationKey.existingSecret | default (include "gitpulse.fullname" .) }}
      key: {{ .Values.installationKey.key }}
{{- end -}}

{{- define "gitpulse.pullSecrets" -}}
imagePullSecrets:
  {{- range .Values.images.pullSecrets }}
  - name: {{ . }}
  {{- else }} []
  {{- end }}
{{- end -}}

{{/* What `restricted` asks of a container, and a little more. */}}
{{- define "gitpulse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Takes the UID. */}}
{{- define "gitpulse.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}
