{{/*
After an uninstallation: addresses are taken out of statuses, and Leases away. The rights of the replicas go with them, so this takes
rights of its own, for as long as it lasts. A hook after deletion never keeps a release from being deleted. One that fails stays, for
its log says why; its rights go all the same.
*/}}

{{/* "true" where addresses are to be cleared at all. */}}
{{- define "ringress.clearsStatus" -}}
{{- $wanted := index .Values.controller.extraArgs "update-status-on-shutdown" | toString -}}
{{- if and (include "ringress.updatesStatus" .) (ne $wanted "false") -}}true{{- end -}}
{{- end -}}

{{/*
What takes out the addresses in namespaces that this upgrade ceases to watch, as a command; nothing where it ceases to watch none.
The rights there go with the upgrade, so neither the replicas of before nor those of now can do it.
*/}}
{{- define "ringress.unwatched" -}}
{{- $namespace := include "ringress.namespace" . -}}
{{- $watched := include "ringress.watched" . | fromJsonArray -}}
{{- $before := lookup "apps/v1" .Values.controller.kind $namespace (include "ringress.controller" .) | default dict -}}
{{- $container := dig "spec" "template" "spec" "containers" list $before | first | default dict -}}
{{- $arguments := get $container "args" | default list -}}
{{- if and $watched $arguments (not (has "--update-status=false" $arguments)) -}}
{{- $known := list -}}
{{- range $arguments -}}
{{- if hasPrefix "--watch-namespace=" . -}}
{{- $known = trimPrefix "--watch-namespace=" . | splitList "," -}}
{{- end -}}
{{- end -}}
{{- $gone := list -}}
{{- range $known -}}
{{- if not (has . $watched) -}}
{{- $gone = append $gone . -}}
{{- end -}}
{{- end -}}
{{- if or (empty $known) $gone -}}
kubectl ringress clear-status -n {{ $namespace }} --election-id {{ include "ringress.electionID" . }}
{{- with $gone }} --watch-namespace {{ join "," . }}{{ end }} --except-namespace {{ join "," $watched }}
{{- end -}}
{{- end -}}
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
