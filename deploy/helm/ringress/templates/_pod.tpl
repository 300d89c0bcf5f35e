{{/* The pod template, the same in a Deployment and a DaemonSet. */}}

{{- define "ringress.pod" -}}
{{- $controller := .Values.controller -}}
metadata:
  labels:
    {{- include "ringress.podLabels" . | nindent 4 }}
    # kubectl ringress looks for it: the others may be given other values.
    ringress.dev/component: controller
    {{- with $controller.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $controller.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $controller.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "ringress.serviceAccount" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
  # Variables of Services could be taken for flags: a Service ringress-http would set RINGRESS_HTTP_PORT.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $controller.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if $controller.hostNetwork }}
  hostNetwork: true
  {{- end }}
  dnsPolicy: {{ default (ternary "ClusterFirstWithHostNet" "ClusterFirst" $controller.hostNetwork) $controller.dnsPolicy }}
  {{- with $controller.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.hostname }}
  hostname: {{ . }}
  {{- end }}
  {{- with $controller.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $controller.shareProcessNamespace }}
  shareProcessNamespace: true
  {{- end }}
  {{- with include "ringress.podSecurityContext" . | fromYaml }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $controller.terminationGracePeriodSeconds }}
  {{- with $controller.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $controller.topologySpreadConstraints (ne $controller.kind "DaemonSet") }}
  topologySpreadConstraints:
    {{- $own := dict "labelSelector" (dict "matchLabels" (include "ringress.selectorLabels" . | fromYaml)) }}
    {{- range $controller.topologySpreadConstraints }}
    - {{- toYaml (merge (deepCopy .) (ternary (dict) $own (hasKey . "labelSelector"))) | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- with $controller.extraInitContainers }}
  initContainers:
    {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $controller.containerName }}
      image: {{ include "ringress.image" . | quote }}
      imagePullPolicy: {{ $controller.image.pullPolicy }}
      args:
        {{- include "ringress.arguments" . | nindent 8 }}
      env:
        - name: RINGRESS_POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: RINGRESS_POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        {{- with $controller.extraEnvs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ $controller.containerPort.http }}
          protocol: TCP
          {{- if $controller.hostPort.enabled }}
          hostPort: {{ $controller.hostPort.ports.http }}
          {{- end }}
        - name: https
          containerPort: {{ $controller.containerPort.https }}
          protocol: TCP
          {{- if $controller.hostPort.enabled }}
          hostPort: {{ $controller.hostPort.ports.https }}
          {{- end }}
        - name: health
          containerPort: {{ $controller.metrics.port }}
          protocol: TCP
      {{- with $controller.startupProbe }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      livenessProbe:
        {{- toYaml $controller.livenessProbe | nindent 8 }}
      readinessProbe:
        {{- toYaml $controller.readinessProbe | nindent 8 }}
      {{- with $controller.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $controller.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "ringress.containerSecurityContext" . | nindent 8 }}
      {{- with concat (include "ringress.cacheMounts" . | fromYamlArray) $controller.extraVolumeMounts }}
      volumeMounts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- with $controller.extraContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  {{- with concat (include "ringress.cacheVolumes" . | fromYamlArray) $controller.extraVolumes }}
  volumes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "ringress.cacheMounts" -}}
{{- $cache := .Values.controller.cache -}}
{{- if $cache.enabled -}}
- name: cache
  mountPath: /var/cache/ringress
{{- if $cache.keySecret.name }}
- name: cache-key
  mountPath: /etc/ringress/cache
  readOnly: true
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringress.cacheVolumes" -}}
{{- $cache := .Values.controller.cache -}}
{{- if $cache.enabled -}}
- name: cache
  {{- default (dict "emptyDir" (dict "sizeLimit" "512Mi")) $cache.volume | toYaml | nindent 2 }}
{{- with $cache.keySecret.name }}
- name: cache-key
  secret:
    secretName: {{ . }}
    # For the group of the pod, since the file belongs to root.
    defaultMode: 0440
    items:
      - key: {{ $cache.keySecret.key }}
        path: key
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringress.arguments" -}}
{{- $controller := .Values.controller -}}
- run
- --http-port={{ $controller.containerPort.http }}
- --https-port={{ $controller.containerPort.https }}
{{- /* What clients see in a redirect is the port of the Service. */ -}}
{{- range $name := list "http" "https" }}
{{- $flag := printf "%s-public-port" $name }}
{{- $public := get $controller.service.ports $name | int }}
{{- if and $controller.service.enabled (ne $public (get $controller.containerPort $name | int)) (not (hasKey $controller.extraArgs $flag)) }}
- --{{ $flag }}={{ $public }}
{{- end }}
{{- end }}
- --health-address={{ include "ringress.healthAddress" . }}
- --admin-address=127.0.0.1:{{ $controller.admin.port }}
- --ingress-class={{ include "ringress.ingressClass" . }}
- --controller-class={{ include "ringress.controllerClass" . }}
{{- if $controller.watchIngressWithoutClass }}
- --watch-ingress-without-class=true
{{- end }}
{{- with include "ringress.watched" . | fromJsonArray }}
- --watch-namespace={{ join "," . }}
{{- end }}
{{- with $controller.scope.namespaceSelector }}
- --watch-namespace-selector={{ . }}
{{- end }}
{{- with include "ringress.publishService" . }}
- --publish-service={{ . }}
{{- end }}
{{- if $controller.reportNodeInternalIp }}
- --report-node-internal-ip-address=true
{{- end }}
{{- if $controller.cache.enabled }}
- --cache-dir=/var/cache/ringress
{{- if $controller.cache.keySecret.name }}
- --cache-key-file=/etc/ringress/cache/key
{{- end }}
{{- end }}
- --election-id={{ include "ringress.electionID" . }}
- --shutdown-grace-period={{ int $controller.shutdownGracePeriodSeconds }}s
- --drain-timeout={{ include "ringress.drainSeconds" . }}s
{{- range $flag, $value := $controller.extraArgs }}
{{- if kindIs "float64" $value }}{{ $value = int64 $value }}{{ end }}
- {{ printf "--%s=%v" $flag (kindIs "invalid" $value | ternary "" $value) | trimSuffix "=" | quote }}
{{- end }}
{{- end -}}

{{- define "ringress.podSecurityContext" -}}
{{- $controller := .Values.controller -}}
{{- $sysctls := deepCopy $controller.sysctls -}}
{{- $lowest := min (int $controller.containerPort.http) (int $controller.containerPort.https) | int -}}
{{- /* Runtimes clear the capabilities of a user that is not root unless the image's file has them; this works without. */ -}}
{{- if and (lt $lowest 1024) (not $controller.hostNetwork) -}}
{{- $sysctls = merge $sysctls (dict "net.ipv4.ip_unprivileged_port_start" "0") -}}
{{- end -}}
{{- $context := deepCopy $controller.podSecurityContext -}}
{{- $entries := default list $context.sysctls -}}
{{- range $name, $value := $sysctls -}}
{{- $entries = append $entries (dict "name" $name "value" (toString $value)) -}}
{{- end -}}
{{- if $entries -}}
{{- $_ := set $context "sysctls" $entries -}}
{{- end -}}
{{- /* What is mounted belongs to root; the group may write the cache and read its key. */ -}}
{{- if and $controller.cache.enabled (not (hasKey $context "fsGroup")) -}}
{{- $_ := set $context "fsGroup" (int $controller.image.runAsGroup) -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "ringress.containerSecurityContext" -}}
{{- $image := .Values.controller.image -}}
{{- if .Values.controller.containerSecurityContext -}}
{{- toYaml .Values.controller.containerSecurityContext -}}
{{- else -}}
runAsNonRoot: {{ $image.runAsNonRoot }}
runAsUser: {{ $image.runAsUser }}
runAsGroup: {{ $image.runAsGroup }}
allowPrivilegeEscalation: {{ $image.allowPrivilegeEscalation }}
readOnlyRootFilesystem: {{ $image.readOnlyRootFilesystem }}
capabilities:
  drop:
    - ALL
  add:
    - NET_BIND_SERVICE
{{- with $image.seccompProfile }}
seccompProfile:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}
