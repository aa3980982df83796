{{/* The plain variables of a component. */}}

{{/* A value as text. YAML's whole numbers come as floating point, and 1048576 would become 1.048576e+06. */}}
{{- define "vocero.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{/* Seconds from SIGTERM to the end: `graceful_seconds` of service/fallback_settings.py, which a test compares. */}}
{{- define "vocero.gracefulSeconds" -}}
{{- add (ceil .Values.config.VOCERO_DRAIN_TURN_SECONDS) 15 }}
{{- end }}

{{- define "vocero.gracePeriodSeconds" -}}
{{- add .Values.service.preStopSeconds (include "vocero.gracefulSeconds" .) 5 }}
{{- end }}

{{/* Metrics and readiness: half a megabyte for each worker (measured: 0.45 MB), and far more than that to spare, because
     a full /dev/shm costs series. It counts as memory of the pod. */}}
{{- define "vocero.sharedMemory" -}}
{{- printf "%dMi" (add 16 (mul 4 (int .Values.config.VOCERO_WORKERS))) }}
{{- end }}

{{- define "vocero.mostPods" -}}
{{- if .Values.service.autoscaling.enabled }}{{ .Values.service.autoscaling.maxReplicas }}{{ else }}{{ .Values.service.replicas }}{{ end }}
{{- end }}

{{/* Whether the component asks Vault: the dashboard does for the database's password alone. "yes" or nothing. */}}
{{- define "vocero.asksVault" -}}
{{- $values := (first .).Values -}}
{{- if and $values.vault.enabled (or (eq (last .) "service") $values.config.VAULT_DATABASE_PASSWORD_FIELD) }}yes{{ end }}
{{- end }}

{{/* Every variable of a component, as a dictionary in YAML: what the chart knows, then `config`. (list $ component) */}}
{{- define "vocero.config" -}}
{{- $root := first . }}
{{- $values := $root.Values }}
{{- $known := dict "VOCERO_HOST" "0.0.0.0" "VOCERO_OPS_HOST" "0.0.0.0" "VOCERO_DASHBOARD_HOST" "0.0.0.0" }}
{{- $_ := set $known "VOCERO_FALLBACK_EARS_FOLDER" "/tmp/vocero" }}
{{- $_ := set $known "VOCERO_ACCOUNT_WORKERS" (mul (int (include "vocero.mostPods" $root)) (int $values.config.VOCERO_WORKERS)) }}
{{- if or $values.ingress.enabled $values.gateway.enabled }}
{{- $_ := set $known "VOCERO_TRUSTED_PROXIES" 1 }}
{{- end }}
{{- if $values.ingress.enabled }}
{{- $_ := set $known "VOCERO_PUBLIC_URL" (printf "%s://%s" (ternary "https" "http" (not (empty $values.ingress.tlsSecret))) $values.ingress.host) }}
{{- else if $values.gateway.enabled }}
{{- $_ := set $known "VOCERO_PUBLIC_URL" (printf "https://%s" $values.gateway.host) }}
{{- end }}
{{- if $values.dashboard.ingress.enabled }}
{{- $_ := set $known "VOCERO_DASHBOARD_URL" (printf "https://%s" $values.dashboard.ingress.host) }}
{{- $_ := set $known "VOCERO_DASHBOARD_TRUSTED_PROXIES" 1 }}
{{- end }}
{{- if include "vocero.filesOf" . }}
{{- $_ := set $known "VOCERO_SECRETS_FOLDER" "/run/secrets/vocero" }}
{{- end }}
{{- $given := deepCopy $values.config }}
{{- if include "vocero.asksVault" . }}
{{- $_ := set $known "VAULT_ADDR" $values.vault.address }}
{{- if eq $values.vault.login "kubernetes" }}
{{- $_ := set $known "VAULT_KUBERNETES_ROLE" $values.vault.role }}
{{- $_ := set $known "VAULT_KUBERNETES_MOUNT" $values.vault.mount }}
{{- $_ := set $known "VAULT_KUBERNETES_TOKEN_FILE" "/run/secrets/vault/token" }}
{{- else }}
{{- $_ := set $known "VAULT_TOKEN_FILE" "/vault/secrets/token" }}
{{- end }}
{{- if $values.vault.caSecret }}
{{- $_ := set $known "VAULT_CACERT" "/etc/vocero/vault/ca.crt" }}
{{- end }}
{{- else }}
{{- range $name, $_ := $given }}{{ if hasPrefix "VAULT_" $name }}{{ $_ := unset $given $name }}{{ end }}{{ end }}
{{- end }}
{{- range $name, $value := mergeOverwrite $known $given }}
{{ $name }}: {{ include "vocero.text" $value | quote }}
{{- end }}
{{- end }}
