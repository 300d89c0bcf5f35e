{{/*
What the schema cannot see: values that contradict each other, and values of the ingress-nginx chart that mean nothing here.
All mistakes are reported together, before anything is installed.
*/}}

{{- define "ringress.check" -}}
{{- $mistakes := list -}}
{{- range splitList "\n" (cat (include "ringress.check.foreign" .) "\n" (include "ringress.check.flags" .) "\n" (include "ringress.check.status" .) "\n" (include "ringress.check.sense" .)) -}}
{{- with trim . -}}
{{- $mistakes = append $mistakes (printf "  - %s" .) -}}
{{- end -}}
{{- end -}}
{{- if $mistakes -}}
{{- fail (printf "\n\nringress cannot be installed with these values:\n%s\n" (join "\n" $mistakes)) -}}
{{- end -}}
{{- end -}}

{{/* Values that would protect or change something with ingress-nginx and do not exist here. */}}
{{- define "ringress.check.foreign" -}}
{{- range $path, $hint := (.Files.Get "files/foreign-values.yaml" | fromYaml).refused -}}
{{- if include "ringress.isSet" (dict "root" $ "path" $path) }}
{{ $path }}: {{ $hint }}
{{- end -}}
{{- end -}}
{{- range $option, $value := .Values.controller.config }}
{{- $hint := index ($.Files.Get "files/foreign-values.yaml" | fromYaml).config $option | default "ringress does not have this option" }}
controller.config.{{ $option }}: there is no ConfigMap of options; {{ $hint }}
{{- end -}}
{{- end -}}

{{/* Foreign values that are set and protect nothing, as a JSON list of paths. */}}
{{- define "ringress.ignored" -}}
{{- $set := list -}}
{{- range $path := (.Files.Get "files/foreign-values.yaml" | fromYaml).ignored -}}
{{- if include "ringress.isSet" (dict "root" $ "path" $path) -}}
{{- $set = append $set $path -}}
{{- end -}}
{{- end -}}
{{- $flags := .Files.Get "files/foreign-flags.yaml" | fromYaml -}}
{{- range $flag, $value := .Values.controller.extraArgs -}}
{{- if or (has $flag $flags.ignored) (hasKey $flags.refused $flag) -}}
{{- $set = append $set (printf "controller.extraArgs.%s" $flag) -}}
{{- end -}}
{{- end -}}
{{- toJson $set -}}
{{- end -}}

{{/* "true" where something is set that is neither false nor empty: {root, path}. */}}
{{- define "ringress.isSet" -}}
{{- $here := .root.Values -}}
{{- range splitList "." .path -}}
{{- if kindIs "map" $here -}}
{{- $here = get $here . -}}
{{- else -}}
{{- $here = "" -}}
{{- end -}}
{{- end -}}
{{- if $here -}}true{{- end -}}
{{- end -}}

{{- define "ringress.check.flags" -}}
{{- $flags := .Files.Get "files/flags.yaml" | fromYaml -}}
{{- $foreign := .Files.Get "files/foreign-flags.yaml" | fromYaml -}}
{{- range $flag, $value := .Values.controller.extraArgs }}
{{- if hasKey $flags.elsewhere $flag }}
controller.extraArgs.{{ $flag }}: {{ index $flags.elsewhere $flag }}
{{- else if hasKey $foreign.refused $flag }}
{{- if ne (toString $value) "false" }}
controller.extraArgs.{{ $flag }}: {{ index $foreign.refused $flag }}
{{- end }}
{{- else if has $flag $foreign.ignored }}
{{- else if not (has $flag $flags.free) }}
controller.extraArgs.{{ $flag }}: ringress run has no flag --{{ $flag }}; it has {{ join ", " (keys $flags.elsewhere | concat $flags.free | sortAlpha) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is granted goes by these, so nobody may read them in another way than the binary does. */}}
{{- define "ringress.check.status" -}}
{{- $arguments := .Values.controller.extraArgs -}}
{{- range $flag := list "update-status" "update-status-on-shutdown" }}
{{- $said := get $arguments $flag | toString }}
{{- if not (has $said (list "" "true" "false")) }}
controller.extraArgs.{{ $flag }}: {{ $said | quote }} is neither true nor false, and the pods would end with that; write true or false
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringress.check.sense" -}}
{{- $controller := .Values.controller -}}
{{- $scope := $controller.scope -}}
{{- if and .Values.rbac.scope (not $scope.enabled) }}
rbac.scope: without a ClusterRole ringress reads single namespaces alone; set controller.scope.enabled, too
{{- end -}}
{{- if and $scope.enabled $scope.namespaceSelector }}
controller.scope.namespaceSelector: it chooses among all namespaces; set controller.scope.enabled to false, or name namespaces instead
{{- end -}}
{{- $class := $controller.ingressClassResource }}
{{- $own := "ringress.dev/ingress-controller" }}
{{- $served := include "ringress.controllerClass" . }}
{{- if and (ne $class.controllerValue $own) (ne $class.controllerValue $served) }}
controller.ingressClassResource.controllerValue: IngressClass {{ $class.name }} exists and belongs to {{ $served }}, which cannot be changed; say {{ $served }}, delete that class, or choose another controller.ingressClassResource.name
{{- end -}}
{{- range include "ringress.rivals" . | fromJsonArray }}
controller.ingressClassResource.controllerValue: IngressClass {{ .class }} of the release {{ .release }} has the controller {{ $served }} already, so both releases would serve its Ingresses; choose another controller.ingressClassResource.name and controller.ingressClassResource.controllerValue=example.com/{{ $.Release.Name }}, or say controller.ingressClassResource.enabled=false where both are meant to
{{- end -}}
{{- range $alias := ternary $class.aliases list $class.enabled }}
{{- $owner := include "ringress.foreignController" (dict "root" $ "name" $alias) }}
{{- if and $owner (ne $owner $served) }}
controller.ingressClassResource.aliases: IngressClass {{ $alias }} exists and belongs to {{ $owner }}, which cannot be changed, while {{ $served }} is served; delete that class, or leave it out
{{- end -}}
{{- end -}}
{{- if and $class.default $class.enabled (include "ringress.foreignController" (dict "root" . "name" $class.name)) }}
controller.ingressClassResource.default: IngressClass {{ $class.name }} is not of this release and stays as it is; annotate it yourself: kubectl annotate ingressclass {{ $class.name }} ingressclass.kubernetes.io/is-default-class=true
{{- end -}}
{{- if contains "ingress-nginx" (include "ringress.image" .) }}
controller.image: {{ include "ringress.image" . }} is not ringress; leave registry, image, tag and digest of the other chart out
{{- end -}}
{{- $drain := include "ringress.drainSeconds" . | int }}
{{- $needed := add (include "ringress.preStopSeconds" . | int) (int $controller.shutdownGracePeriodSeconds) (max 1 $drain) 5 }}
{{- if gt (int $needed) (int $controller.terminationGracePeriodSeconds) }}
controller.terminationGracePeriodSeconds: {{ $controller.terminationGracePeriodSeconds }} s are not enough for an orderly end, and the kubelet would cut connections; preStop, shutdownGracePeriodSeconds, drainTimeoutSeconds and 5 s for the rest take {{ $needed }} s
{{- end -}}
{{- if dig "preStop" "exec" "command" "" $controller.lifecycle }}
controller.lifecycle.preStop.exec: the image holds ringress alone, no other command; SIGTERM drains, see controller.shutdownGracePeriodSeconds
{{- end -}}
{{- if ne (dig "httpGet" "path" "/readyz" $controller.readinessProbe) "/readyz" }}
controller.readinessProbe.httpGet.path: only /readyz says that everything is served; with {{ $controller.readinessProbe.httpGet.path }} traffic would arrive before the routes do
{{- end -}}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- $port := dig "httpGet" "port" "health" (default dict (index $controller $probe)) | toString }}
{{- if not (has $port (list "health" (toString (int $controller.metrics.port)))) }}
controller.{{ $probe }}.httpGet.port: health is answered on port {{ $controller.metrics.port }} (controller.metrics.port), not on {{ $port }}
{{- end -}}
{{- end -}}
{{- $ports := list (int $controller.containerPort.http) (int $controller.containerPort.https) (int $controller.metrics.port) (int $controller.admin.port) }}
{{- if lt (len (uniq $ports)) 4 }}
controller.containerPort.http, controller.containerPort.https, controller.metrics.port and controller.admin.port must differ; they are {{ join ", " $ports }}
{{- end -}}
{{- if and $controller.hostNetwork $controller.hostPort.enabled }}
{{- range $port := list "http" "https" }}
{{- if ne (int (index $controller.hostPort.ports $port)) (int (index $controller.containerPort $port)) }}
controller.hostPort.ports.{{ $port }}: on the host network it must be controller.containerPort.{{ $port }} ({{ index $controller.containerPort $port }})
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $controller.autoscaling.enabled (eq $controller.kind "DaemonSet") }}
controller.autoscaling.enabled: the nodes decide how many pods a DaemonSet has; set controller.kind to Deployment
{{- end -}}
{{- if and $controller.autoscaling.enabled (gt (int $controller.autoscaling.minReplicas) (int $controller.autoscaling.maxReplicas)) }}
controller.autoscaling.minReplicas: {{ $controller.autoscaling.minReplicas }} is more than controller.autoscaling.maxReplicas ({{ $controller.autoscaling.maxReplicas }}), which the API server refuses
{{- end -}}
{{- if and $controller.metrics.serviceMonitor.enabled (not (and $controller.metrics.enabled $controller.metrics.service.enabled)) }}
controller.metrics.serviceMonitor.enabled: it finds pods by the metrics Service; set controller.metrics.enabled and controller.metrics.service.enabled
{{- end -}}
{{- $context := $controller.containerSecurityContext }}
{{- if and (has "ALL" (dig "capabilities" "drop" list $context)) (not (has "NET_BIND_SERVICE" (dig "capabilities" "add" list $context))) }}
controller.containerSecurityContext.capabilities: add NET_BIND_SERVICE; the file in the image has that capability and does not start where it is withheld
{{- end -}}
{{- if and $controller.service.enabled (not (or $controller.service.enableHttp $controller.service.enableHttps)) }}
controller.service: it has no port; set enableHttp or enableHttps, or enabled to false
{{- end -}}
{{- end -}}
