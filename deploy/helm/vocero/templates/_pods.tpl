{{/* What every pod has in common: the restricted profile of pod security, and nothing that it does not need. */}}

{{- define "vocero.podDefaults" -}}
# No token of the API server: nothing here asks it.
automountServiceAccountToken: false
# Else Kubernetes sets VOCERO_PORT=tcp://10... for the Service `vocero`, and our own variable has that name.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "vocero.containerDefaults" -}}
image: {{ include "vocero.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
workingDir: /app
securityContext:
  runAsUser: 10001
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
