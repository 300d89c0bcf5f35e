{{/* A Service in front of the traffic ports: {root, name, service, labels}. */}}

{{- define "ringress.service" -}}
{{- $service := .service -}}
{{- $nodePorts := default dict $service.nodePorts -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ include "ringress.namespace" .root }}
  labels:
    {{- include "ringress.labels" .root | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  {{- range $field := list "clusterIP" "clusterIPs" "externalIPs" "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" "externalTrafficPolicy" "healthCheckNodePort" "sessionAffinity" "trafficDistribution" "ipFamilyPolicy" "ipFamilies" }}
  {{- with index $service $field }}
  {{ $field }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- if and (eq $service.type "LoadBalancer") (hasKey $service "allocateLoadBalancerNodePorts") }}
  allocateLoadBalancerNodePorts: {{ $service.allocateLoadBalancerNodePorts }}
  {{- end }}
  ports:
    {{- if $service.enableHttp }}
    - name: http
      port: {{ $service.ports.http }}
      protocol: TCP
      targetPort: {{ $service.targetPorts.http }}
      {{- if $service.appProtocol }}
      appProtocol: http
      {{- end }}
      {{- with $nodePorts.http }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
    {{- if $service.enableHttps }}
    - name: https
      port: {{ $service.ports.https }}
      protocol: TCP
      targetPort: {{ $service.targetPorts.https }}
      {{- if $service.appProtocol }}
      appProtocol: https
      {{- end }}
      {{- with $nodePorts.https }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
  selector:
    {{- include "ringress.selectorLabels" .root | nindent 4 }}
{{- end -}}
