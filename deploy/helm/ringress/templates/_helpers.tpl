{{/* Names, labels and what several templates have to agree on. */}}

{{- define "ringress.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for the longest suffix, -controller-internal. */}}
{{- define "ringress.fullname" -}}
{{- $name := include "ringress.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 42 | trimSuffix "-" -}}
{{- end -}}

{{- define "ringress.controller" -}}
{{- printf "%s-%s" (include "ringress.fullname" .) .Values.controller.name | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{- define "ringress.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "ringress.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ringress.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "ringress.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ringress.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "ringress.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "ringress.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Without what changes from version to version: the leader finds the pods beside it by their labels, in a roll-out, too. */}}
{{- define "ringress.podLabels" -}}
{{ include "ringress.selectorLabels" . }}
app.kubernetes.io/part-of: {{ include "ringress.name" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ringress.ingressClass" -}}
{{- default .Values.controller.ingressClassResource.name .Values.controller.ingressClass -}}
{{- end -}}

{{/*
The spec.controller of an IngressClass of this name that exists and is not of this release; nothing where there is none, or no
cluster to ask: {root, name}. Such a class stays as it is, and ringress follows its controller: that is how it is taken over.
*/}}
{{- define "ringress.foreignController" -}}
{{- $release := .root.Release -}}
{{- $found := lookup "networking.k8s.io/v1" "IngressClass" "" .name | default dict -}}
{{- $owner := dig "metadata" "annotations" dict $found -}}
{{- $isOurs := and (eq (get $owner "meta.helm.sh/release-name") $release.Name) (eq (get $owner "meta.helm.sh/release-namespace") $release.Namespace) -}}
{{- if not $isOurs -}}
{{- dig "spec" "controller" "" $found -}}
{{- end -}}
{{- end -}}

{{- define "ringress.controllerClass" -}}
{{- $class := .Values.controller.ingressClassResource -}}
{{- $foreign := "" -}}
{{- if $class.enabled -}}
{{- $foreign = include "ringress.foreignController" (dict "root" . "name" $class.name) -}}
{{- end -}}
{{- default $class.controllerValue $foreign -}}
{{- end -}}

{{/*
IngressClasses that another release of this chart made for the controller that this one would serve, as a JSON list of
{class, release}. Classes made by hand, and those of other charts, which are there to be taken over, are not among them.
*/}}
{{- define "ringress.rivals" -}}
{{- $root := . -}}
{{- $rivals := list -}}
{{- if .Values.controller.ingressClassResource.enabled -}}
{{- $served := include "ringress.controllerClass" . -}}
{{- range dig "items" list (lookup "networking.k8s.io/v1" "IngressClass" "" "" | default dict) -}}
{{- $owner := dig "metadata" "annotations" dict . -}}
{{- $release := printf "%s/%s" (get $owner "meta.helm.sh/release-namespace") (get $owner "meta.helm.sh/release-name") -}}
{{- $isOfChart := hasPrefix (printf "%s-" $root.Chart.Name) (dig "metadata" "labels" "helm.sh/chart" "" .) -}}
{{- $isForeign := and (ne $release "/") (ne $release (printf "%s/%s" $root.Release.Namespace $root.Release.Name)) -}}
{{- if and $isOfChart $isForeign (eq (dig "spec" "controller" "" .) $served) -}}
{{- $rivals = append $rivals (dict "class" .metadata.name "release" $release) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $rivals -}}
{{- end -}}

{{- define "ringress.electionID" -}}
{{- default (printf "%s-leader" (include "ringress.fullname" .)) .Values.controller.electionID -}}
{{- end -}}

{{- define "ringress.image" -}}
{{- $image := .Values.controller.image -}}
{{- $registry := default $image.registry .Values.global.image.registry -}}
{{- $name := default (join "/" (compact (list $registry $image.image))) $image.repository -}}
{{- $name -}}:{{- default .Chart.AppVersion $image.tag -}}
{{- with $image.digest -}}@{{- . -}}{{- end -}}
{{- end -}}

{{/* The watched namespaces as a JSON list; empty: all of them. */}}
{{- define "ringress.watched" -}}
{{- $names := list -}}
{{- if .Values.controller.scope.enabled -}}
{{- range splitList "," (default (include "ringress.namespace" .) .Values.controller.scope.namespace) -}}
{{- $names = append $names (trim .) -}}
{{- end -}}
{{- end -}}
{{- compact $names | uniq | toJson -}}
{{- end -}}

{{/* "true" where addresses are written into statuses at all. */}}
{{- define "ringress.updatesStatus" -}}
{{- if ne (index .Values.controller.extraArgs "update-status" | toString) "false" -}}true{{- end -}}
{{- end -}}

{{/* The Service whose addresses are published, NAMESPACE/NAME; nothing where something else says the addresses, or nobody does. */}}
{{- define "ringress.publishService" -}}
{{- $controller := .Values.controller -}}
{{- if and $controller.publishService.enabled (include "ringress.updatesStatus" .) (not (index $controller.extraArgs "publish-status-address")) -}}
{{- if $controller.publishService.pathOverride -}}
{{- $controller.publishService.pathOverride -}}
{{- else if and $controller.service.enabled $controller.service.external.enabled -}}
{{- include "ringress.namespace" . }}/{{ include "ringress.controller" . -}}
{{- else if and $controller.service.enabled $controller.service.internal.enabled -}}
{{- include "ringress.namespace" . }}/{{ include "ringress.controller" . }}-internal
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where the addresses of nodes are published. */}}
{{- define "ringress.publishesNodes" -}}
{{- if and (include "ringress.updatesStatus" .) (not (or (include "ringress.publishService" .) (index .Values.controller.extraArgs "publish-status-address"))) -}}
true
{{- end -}}
{{- end -}}

{{/* Seconds that a preStop hook sleeps before SIGTERM is sent. */}}
{{- define "ringress.preStopSeconds" -}}
{{- dig "preStop" "sleep" "seconds" 0 .Values.controller.lifecycle | int -}}
{{- end -}}

{{- define "ringress.drainSeconds" -}}
{{- $controller := .Values.controller -}}
{{- if kindIs "invalid" $controller.drainTimeoutSeconds -}}
{{- /* 5 s for an orderly end. */ -}}
{{- $taken := add (int $controller.shutdownGracePeriodSeconds) (include "ringress.preStopSeconds" . | int) 5 -}}
{{- sub (int $controller.terminationGracePeriodSeconds) $taken -}}
{{- else -}}
{{- int $controller.drainTimeoutSeconds -}}
{{- end -}}
{{- end -}}

{{/* IP:PORT; an IPv6 address gets its brackets. */}}
{{- define "ringress.healthAddress" -}}
{{- $host := .Values.controller.healthCheckHost | default "0.0.0.0" -}}
{{- if contains ":" $host -}}
[{{ trimAll "[]" $host }}]
{{- else -}}
{{ $host }}
{{- end -}}
:{{ .Values.controller.metrics.port }}
{{- end -}}

{{/* "true" where pods hold ports of their node, so that two of them cannot stand on one. */}}
{{- define "ringress.holdsNodePorts" -}}
{{- if or .Values.controller.hostNetwork .Values.controller.hostPort.enabled -}}true{{- end -}}
{{- end -}}

{{/* The fewest replicas there are meant to be; a DaemonSet counts as many. */}}
{{- define "ringress.replicas" -}}
{{- $controller := .Values.controller -}}
{{- if eq $controller.kind "DaemonSet" -}}
2
{{- else if $controller.autoscaling.enabled -}}
{{ int $controller.autoscaling.minReplicas }}
{{- else -}}
{{ int $controller.replicaCount }}
{{- end -}}
{{- end -}}
