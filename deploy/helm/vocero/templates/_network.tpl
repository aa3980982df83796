{{/* Rules of egress to places of `networkPolicy`: (list $ place place ...). */}}
{{- define "vocero.egress" -}}
{{- $policy := (first .).Values.networkPolicy }}
{{- range rest . }}
{{- $place := index $policy . }}
- to: {{- toYaml $place.to | nindent 4 }}
  ports:
    {{- if eq . "dns" }}
    - {protocol: UDP, port: {{ $place.port }}}
    {{- end }}
    - {protocol: TCP, port: {{ $place.port }}}
{{- end }}
{{- end }}
