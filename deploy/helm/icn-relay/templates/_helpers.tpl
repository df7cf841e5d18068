{{- define "icn-relay.labels" -}}
app.kubernetes.io/name: icn-relay
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "icn-relay.selector" -}}
app.kubernetes.io/name: icn-relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
