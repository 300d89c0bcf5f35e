{{/*
What ringress may do. Reading is list and watch; single objects are read where a status is written and where a Secret is named. All
it writes are status, Events and Leases.
*/}}

{{/* In every namespace that is watched. */}}
{{- define "ringress.rules.watched" -}}
{{- if include "ringress.updatesStatus" . -}}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
{{- else -}}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list, watch]
{{- end }}
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Of objects without a namespace, and thus in a ClusterRole or nowhere. */}}
{{- define "ringress.rules.cluster" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list, watch]
{{- if .Values.controller.scope.namespaceSelector }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
{{- if and (include "ringress.publishesNodes" .) (not .Values.controller.reportNodeInternalIp) }}
# Their external addresses; the internal ones stand in pods.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end }}
{{- end -}}

{{/* In the namespace of ringress itself, whatever is watched. */}}
{{- define "ringress.rules.own" -}}
# The Lease of the election.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "ringress.electionID" . }}]
  verbs: [get, update]
# A Lease of each pod, named after it, so that no role can name it before. Numbered ones (NAME-0, …) could be named, but their number
# is not known (a DaemonSet, an autoscaler, a roll-out's surge), replicas would fight over them when they start, and neither create
# nor the list and watch by a label can be limited to names anyway.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create, list, watch, patch, delete]
{{- if include "ringress.publishesNodes" . }}
# The addresses of the nodes that ringress runs on stand in its pods.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
{{- end }}
{{- end -}}

{{/*
Single objects that flags name, as a JSON list of {namespace, name, rules}; none where the namespace is watched anyway, but for
ConfigMaps, which are never watched as a whole.
*/}}
{{- define "ringress.named" -}}
{{- $arguments := .Values.controller.extraArgs -}}
{{- $watched := include "ringress.watched" . | fromJsonArray -}}
{{- $wanted := list
  (dict "reference" (include "ringress.publishService" .) "resource" "services" "name" "address")
  (dict "reference" (index $arguments "default-ssl-certificate") "resource" "secrets" "name" "certificate")
  (dict "reference" (index $arguments "default-backend-service") "resource" "services" "name" "backend")
  (dict "reference" (index $arguments "configmap") "resource" "configmaps" "name" "configmap") -}}
{{- $reading := list "list" "watch" -}}
{{- $named := list -}}
{{- range $wanted -}}
{{- $parts := splitList "/" (default "" .reference) -}}
{{- $known := or (empty $watched) (has (first $parts) $watched) -}}
{{- if and (eq (len $parts) 2) (or (not $known) (eq .resource "configmaps")) -}}
{{- $verbs := ternary (prepend $reading "get") $reading (eq .resource "secrets") -}}
{{- $rules := list (dict "apiGroups" (list "") "resources" (list .resource) "resourceNames" (list (last $parts)) "verbs" $verbs) -}}
{{- if eq .name "backend" -}}
{{- /* Names of EndpointSlices are made up by their controller. */ -}}
{{- $rules = append $rules (dict "apiGroups" (list "discovery.k8s.io") "resources" (list "endpointslices") "verbs" $reading) -}}
{{- end -}}
{{- $named = append $named (dict "namespace" (first $parts) "name" .name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- toJson $named -}}
{{- end -}}

{{/* A Role and its binding: {root, name, namespace, rules}. */}}
{{- define "ringress.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "ringress.labels" .root | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "ringress.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ringress.serviceAccount" .root }}
    namespace: {{ include "ringress.namespace" .root }}
{{ end -}}
