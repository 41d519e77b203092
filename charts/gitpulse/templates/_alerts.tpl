{{/*
The `groups:` of a Prometheus rule file: files/alerts.yaml, as `alerts` of the values sets it. Takes the root.
Only `expr` is a template of ours; what summaries and descriptions have in braces is for Prometheus.
*/}}
{{- define "gitpulse.alerts" -}}
{{- $root := . -}}
{{- $groups := (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- $asked := .Values.alerts.rules | default dict -}}
{{- $rendered := list -}}
{{- range $group := $groups -}}
{{- $rules := list -}}
{{- range $name, $alert := $group.alerts -}}
{{- range $key, $value := get $asked $name | default dict -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $alert $key $value -}}
{{- end -}}
{{- end -}}
{{- if dig "enabled" true $alert -}}
{{- $rules = append $rules (include "gitpulse.alert" (dict "root" $root "name" $name "alert" $alert) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $rendered = append $rendered (dict "name" $group.name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "groups" $rendered) -}}
{{- end -}}

{{/* Nothing, unless the values name an alert that there is not. Takes the root. */}}
{{- define "gitpulse.checkAlerts" -}}
{{- $known := list -}}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- $known = concat $known (keys .alerts) -}}
{{- end -}}
{{- range $name := keys (.Values.alerts.rules | default dict) | sortAlpha -}}
{{- if not (has $name $known) -}}
{{- fail (printf "alerts.rules.%s: there is no such alert. There are: %s" $name ($known | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One rule. Takes root, name, and the alert as it is set. */}}
{{- define "gitpulse.alert" -}}
{{- $values := .root.Values.alerts -}}
{{- $expr := tpl .alert.expr (dict "threshold" (get .alert "threshold") "selector" $values.selector "Template" .root.Template) -}}
{{- /* Without a selector nothing is left of its place. */ -}}
{{- $expr = $expr | replace "{ }" "" | replace ", }" "}" | replace "{ " "{" -}}
{{- $labels := dict "severity" .alert.severity -}}
{{- range list $values.labels (get .alert "labels" | default dict) -}}
{{- range $key, $value := . -}}
{{- $_ := set $labels $key $value -}}
{{- end -}}
{{- end -}}
{{- $annotations := dict "summary" .alert.summary "description" .alert.description -}}
{{- if $values.runbookUrl -}}
{{- $_ := set $annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" $values.runbookUrl) .name) -}}
{{- end -}}
{{- toYaml (dict "alert" .name "expr" $expr "for" .alert.for "labels" $labels "annotations" $annotations) -}}
{{- end -}}
