{{/*
After an uninstallation: addresses are taken out of statuses. The rights of the replicas go with them, so this takes rights of
its own, for as long as it lasts. A hook after deletion never keeps a release from being deleted. One that fails stays, for its
log says why; its rights go all the same.
*/}}

{{/* "true" where the rights of the replicas go with the release, and addresses are to be cleared at all. */}}
{{- define "ringress.clearsStatus" -}}
{{- $wanted := index .Values.controller.extraArgs "update-status-on-shutdown" | toString -}}
{{- if and .Values.rbac.create (include "ringress.updatesStatus" .) (ne $wanted "false") -}}true{{- end -}}
{{- end -}}

{{- define "ringress.clear" -}}
{{ include "ringress.fullname" . }}-clear-status
{{- end -}}

{{- define "ringress.clearMetadata" -}}
name: {{ include "ringress.clear" .root }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- include "ringress.clearLabels" .root | nindent 2 }}
annotations:
  helm.sh/hook: post-delete
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "ringress.clearLabels" -}}
app.kubernetes.io/name: {{ include "ringress.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: clear-status
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* As the pods beside it, but for what only those need: low ports, volumes, and a profile that allows io_uring. */}}
{{- define "ringress.clearPodSecurityContext" -}}
{{- $fixed := dict "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- $own := omit .Values.controller.podSecurityContext "sysctls" "fsGroup" "fsGroupChangePolicy" "seccompProfile" -}}
{{- merge $fixed $own (dict "runAsNonRoot" .Values.controller.image.runAsNonRoot) | toYaml -}}
{{- end -}}

{{- define "ringress.clearContainerSecurityContext" -}}
{{- omit (include "ringress.containerSecurityContext" . | fromYaml) "seccompProfile" | toYaml -}}
{{- end -}}

{{- define "ringress.rules.clear" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
{{- end -}}

{{/* A role and its binding: {root, kind (Role or ClusterRole), namespace, rules}. */}}
{{- define "ringress.clearRole" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "ringress.clearMetadata" (dict "root" .root "namespace" .namespace "weight" "1") | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- include "ringress.clearMetadata" (dict "root" .root "namespace" .namespace "weight" "2") | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "ringress.clear" .root }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ringress.clear" .root }}
    namespace: {{ include "ringress.namespace" .root }}
{{ end -}}
