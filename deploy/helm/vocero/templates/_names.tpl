{{/* Names, labels and the image. A component is `service`, `dashboard`, `migrations` or `smoke`. */}}

{{- define "vocero.name" -}}
{{- default "vocero" .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "vocero.fullname" -}}
{{- $name := include "vocero.name" . }}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What pods are selected by: (list $ component). Never add to it: a Deployment's selector cannot be changed. */}}
{{- define "vocero.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "vocero.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* All labels of an object: (list $ component). */}}
{{- define "vocero.labels" -}}
{{- $root := first . -}}
{{ include "vocero.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "vocero.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}
