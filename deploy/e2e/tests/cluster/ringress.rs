//! ringress itself as a pod: restricted as its chart has it, rolled under load.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::Case;
use crate::load::{Load, load_beside};
use crate::services::{service_address, until_endpoints};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("ringress_serves_as_a_restricted_pod_and_is_rolled_without_a_failure", rolled),
    ("the_default_profile_of_runtimes_refuses_io_uring", profiles),
];

const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: manifests}
data:
  all.yaml: |
    apiVersion: networking.k8s.io/v1
    kind: IngressClass
    metadata: {name: ringress}
    spec: {controller: ringress.dev/ingress-controller}
    ---
    apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: web, namespace: default}
    spec:
      ingressClassName: ringress
      rules:
      - host: web.local
        http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: default}
    spec: {ports: [{port: 80, targetPort: 8080}]}
    ---
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
    addressType: IPv4
    ports: [{port: 8080}]
    endpoints: [{addresses: ["@backend"], conditions: {ready: true}}]
---
apiVersion: v1
kind: Pod
metadata: {name: backend}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: echo}]}
"#;

const CONTROLLER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: ringress}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: ringress}}
  template:
    metadata: {labels: {app: ringress}}
    spec:
      terminationGracePeriodSeconds: 30
      securityContext: {runAsUser: 65532, runAsGroup: 65532, runAsNonRoot: true}
      containers:
      - name: ringress
        image: ringress:test
        args: [run, --manifests, /manifests, --https-port, "off", --health-address, "0.0.0.0:10254", --admin-address,
               "127.0.0.1:10255", --shutdown-grace-period, 2s, --access-log, "off", --shards, "1"]
        ports: [{name: http, containerPort: 80}]
        resources: {requests: {cpu: 100m, memory: 90Mi}}
        readinessProbe: {httpGet: {path: /readyz, port: 10254}, periodSeconds: 1, failureThreshold: 1}
        livenessProbe: {httpGet: {path: /healthz, port: 10254}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: manifests, mountPath: /manifests}]
      volumes: [{name: manifests, configMap: {name: manifests}}]
---
apiVersion: v1
kind: Service
metadata: {name: ringress}
spec: {type: LoadBalancer, selector: {app: ringress}, ports: [{name: http, port: 80, targetPort: http}]}
"#;

fn profiles(world: &World) -> anyhow::Result<()> {
    let pod = |name: &str, profile: &str| {
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{seccompProfile: {{type: {profile}}}}}
  containers:
  - name: ringress
    image: ringress
    args: [run, --manifests, /m, --https-port, "off", --health-address, "0.0.0.0:10254", --admin-address, "127.0.0.1:10255", --shards, "1"]
    readinessProbe: {{httpGet: {{path: /readyz, port: 10254}}, periodSeconds: 1}}
    volumeMounts: [{{name: m, mountPath: /m}}]
  volumes: [{{name: m, emptyDir: {{}}}}]
---
"#
        )
    };
    world.apply(&(pod("confined", "RuntimeDefault") + &pod("free", "Unconfined")))?;
    let driver = |name: &str| -> anyhow::Result<String> {
        world.until_ready(name, "True")?;
        let metrics = world.exec_in(name, &["curl", "-sS", "-m", "5", "http://127.0.0.1:10254/metrics"])?;
        let line = metrics.lines().find(|line| line.starts_with("ringress_io_driver{"));
        Ok(line.unwrap_or_default().to_owned())
    };
    let confined = driver("confined")?;
    ensure!(confined.contains("driver=\"epoll\""), "{confined}");
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let free = driver("free")?;
    ensure!(free.contains("io_uring") || !matches!(disabled.trim(), "" | "0"), "{free}");
    Ok(())
}

fn rolled(world: &World) -> anyhow::Result<()> {
    world.apply(&MANIFESTS.replace("@backend", "198.18.1.1"))?;
    world.until_ready("backend", "True")?;
    let backend = world.get("pod", "backend")?["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    world.apply(&MANIFESTS.replace("@backend", &backend))?;
    world.apply(CONTROLLER)?;
    until_endpoints(world, "ringress", 2)?;
    let address: SocketAddr = service_address(world, "ringress")?;
    let load = Load::of_new_connections(address, "web.local");
    let ((), seen) = load_beside(world, load, || world.roll("deployment/ringress"))?;
    println!("{} of {} requests failed while ringress was rolled", seen.failures.len(), seen.asked);
    seen.none_failed_of(20)
}
