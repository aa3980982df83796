{{/* How secrets get into a pod: as files that bear the variables' names, in /run/secrets/vocero. Never in the
     environment, where every child process and `kubectl describe` would have them. */}}

{{/* The variables that a component reads from files, as a list in JSON; nothing if there are none. (list $ component) */}}
{{- define "vocero.filesOf" -}}
{{- $values := (first .).Values }}
{{- if ne $values.secrets.source "none" }}
{{- $names := eq (last .) "dashboard" | ternary $values.secrets.dashboardNames $values.secrets.names }}
{{- if $values.vault.enabled }}{{ $names = without $names "ELEVENLABS_API_KEY" }}{{ end }}
{{- if $names }}{{ toJson $names }}{{ end }}
{{- end }}
{{- end }}

{{- define "vocero.secretName" -}}
{{- if eq .Values.secrets.source "externalSecret" }}{{ include "vocero.fullname" . }}-secrets{{ else }}{{ .Values.secrets.existingSecret }}{{ end }}
{{- end }}

{{/* The migrations' own Secret: that of the role that owns the tables. */}}
{{- define "vocero.migrationsSecretName" -}}
{{- if .Values.migrations.existingSecret }}{{ .Values.migrations.existingSecret }}
{{- else if eq .Values.secrets.source "externalSecret" }}{{ include "vocero.fullname" . }}-migrations
{{- else if eq .Values.secrets.source "existingSecret" }}{{ .Values.secrets.existingSecret }}
{{- end }}
{{- end }}

{{/* Volumes of the service and of the dashboard. (list $ component) */}}
{{- define "vocero.secretVolumes" -}}
{{- $root := first . }}
{{- $values := $root.Values }}
{{- $names := include "vocero.filesOf" . }}
{{- if and $names (ne $values.secrets.source "vaultAgent") }}
- name: secrets
  secret:
    secretName: {{ include "vocero.secretName" $root }}
    defaultMode: 0440
    # Named one by one: a key that is not there keeps the pod from starting, and others of the Secret do not come along.
    items:
      {{- range fromJsonArray $names }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if include "vocero.usesVaultToken" . }}
{{ include "vocero.vaultTokenVolume" $root }}
{{- end }}
{{- if and (include "vocero.asksVault" .) $values.vault.caSecret }}
- name: vault-ca
  secret: {secretName: {{ $values.vault.caSecret }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{- define "vocero.secretMounts" -}}
{{- $root := first . }}
{{- $values := $root.Values }}
{{- if and (include "vocero.filesOf" .) (ne $values.secrets.source "vaultAgent") }}
- {name: secrets, mountPath: /run/secrets/vocero, readOnly: true}
{{- end }}
{{- if and (include "vocero.asksVault" .) (eq $values.vault.login "kubernetes") }}
- {name: vault-token, mountPath: /run/secrets/vault, readOnly: true}
{{- end }}
{{- if and (include "vocero.asksVault" .) $values.vault.caSecret }}
- {name: vault-ca, mountPath: /etc/vocero/vault, readOnly: true}
{{- end }}
{{- end }}

{{/* Whether a pod needs a token that Vault takes: its own login's, or its agent's. "yes" or nothing. */}}
{{- define "vocero.usesVaultToken" -}}
{{- $values := (first .).Values }}
{{- if or (include "vocero.asksVault" .) (and (eq $values.secrets.source "vaultAgent") (include "vocero.filesOf" .)) }}yes{{ end }}
{{- end }}

{{/* A token for Vault alone, which ends after ten minutes and is replaced: the API server would not take it. So no pod
     has the service account's usual token. */}}
{{- define "vocero.vaultTokenVolume" -}}
- name: vault-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, audience: {{ .Values.vault.audience | quote }}, expirationSeconds: 600}
{{- end }}

{{/* Annotations that have Vault's injector put an agent beside us. (list $ component names path) */}}
{{- define "vocero.agentAnnotations" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $names := index . 2 }}
{{- $path := index . 3 }}
{{- $values := $root.Values }}
{{- $token := and (ne $component "migrations") (eq $values.vault.login "agent") (include "vocero.asksVault" (list $root $component)) }}
{{- $files := and (eq $values.secrets.source "vaultAgent") $names }}
{{- if or $token $files }}
vault.hashicorp.com/agent-inject: "true"
vault.hashicorp.com/role: {{ $values.vault.role | quote }}
vault.hashicorp.com/auth-path: {{ printf "auth/%s" $values.vault.mount | quote }}
vault.hashicorp.com/agent-service-account-token-volume-name: vault-token
# The files are for our user alone, so the agent has to be it.
vault.hashicorp.com/agent-run-as-same-user: "true"
{{- if $values.vault.address }}
vault.hashicorp.com/service: {{ $values.vault.address | quote }}
{{- end }}
{{- if $values.vault.caSecret }}
vault.hashicorp.com/tls-secret: {{ $values.vault.caSecret | quote }}
vault.hashicorp.com/ca-cert: /vault/tls/ca.crt
{{- end }}
{{- if $token }}
vault.hashicorp.com/agent-inject-token: "true"
{{- else }}
# Nothing of it changes while we run: no agent has to stay.
vault.hashicorp.com/agent-pre-populate-only: "true"
{{- end }}
{{- if $files }}
# Else the injector writes the files in small letters.
vault.hashicorp.com/preserve-secret-case: "true"
{{- range $names }}
vault.hashicorp.com/agent-inject-secret-{{ . }}: {{ $path | quote }}
vault.hashicorp.com/secret-volume-path-{{ . }}: /run/secrets/vocero
vault.hashicorp.com/agent-inject-perms-{{ . }}: "0400"
vault.hashicorp.com/agent-inject-template-{{ . }}: {{ printf "{{- with secret %q }}{{ .Data.data.%s }}{{ end -}}" $path . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
