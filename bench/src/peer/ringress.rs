//! ringress: one shard, configured like any other folder of manifests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    peer::{Launch, Ports, Task, version_of},
    scenario::HOST,
};

pub(super) fn prepare(binary: Option<&Path>, task: &Task<'_>, ports: Ports) -> Result<Launch> {
    let binary = find_binary(binary)?;
    let version = version_of(&binary, "--version")?;
    let manifests = task.folder.join("manifests");
    fs::create_dir_all(&manifests)?;
    fs::write(manifests.join("bench.yaml"), manifest(task))?;
    let mut arguments = vec!["run".into(), "--manifests".into(), manifests.into()];
    let Ports { plain, tls, admin } = ports;
    let rest = format!(
        "--http-port {plain} --https-port {tls} --admin-address 127.0.0.1:{admin} \
         --shards 1 --pin always --access-log off"
    );
    arguments.extend(rest.split_whitespace().map(Into::into));
    Ok(Launch { name: "ringress", binary, arguments, version, ports })
}

/// The binary as given, else this workspace's release binary. That one is built even where it exists: measuring
/// yesterday's code is the easiest mistake to make, and cargo is quick where nothing changed.
///
/// # Errors
/// There is none and it cannot be built.
pub(crate) fn find_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "--ringress: there is no {}", path.display());
        return Ok(path.to_owned());
    }
    let manifest = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    ensure!(manifest.is_file(), "there is no workspace at {}: use --ringress", manifest.display());
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "ringress", "--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo; use --ringress")?;
    ensure!(output.status.success(), "cannot build ringress");
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo names no binary ringress; use --ringress")
}

/// The binary among cargo's messages, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let objects = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_ringress = |message: Value| match message["target"]["name"].as_str() {
        Some("ringress") => message["executable"].as_str().map(PathBuf::from),
        _ => None,
    };
    objects.filter_map(of_ringress).next_back()
}

/// An Ingress for everything under [`HOST`], on both ports: without the annotation a host named under `tls` would
/// answer 308 on the plain one.
fn manifest(task: &Task<'_>) -> String {
    let (address, port) = (task.origin.ip(), task.origin.port());
    let certificate = STANDARD.encode(&task.certificate.certificate_pem);
    let key = STANDARD.encode(&task.certificate.key_pem);
    format!(
        r#"apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: ringress
spec:
  controller: ringress.dev/ingress-controller
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: bench
  namespace: default
  annotations:
    ringress.dev/ssl-redirect: "false"
spec:
  ingressClassName: ringress
  tls:
    - hosts: [{HOST}]
      secretName: bench-tls
  rules:
    - host: {HOST}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: origin
                port:
                  number: 80
---
apiVersion: v1
kind: Service
metadata:
  name: origin
  namespace: default
spec:
  ports:
    - name: http
      port: 80
      targetPort: {port}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: origin-1
  namespace: default
  labels:
    kubernetes.io/service-name: origin
addressType: IPv4
ports:
  - name: http
    port: {port}
endpoints:
  - addresses: ["{address}"]
    conditions:
      ready: true
---
apiVersion: v1
kind: Secret
metadata:
  name: bench-tls
  namespace: default
type: kubernetes.io/tls
data:
  tls.crt: {certificate}
  tls.key: {key}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":"/t/build"}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"ringress"},"executable":"/t/release/ringress"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(executable(&messages.join("\n")), Some(PathBuf::from("/t/release/ringress")));
        assert_eq!(executable(messages[0]), None);
        assert_eq!(executable("no json"), None);
    }

    #[test]
    fn the_manifest_names_the_origin_and_carries_the_certificate() {
        let certificate = Certificate::generate().expect("generated");
        let origin = "127.0.0.1:4711".parse().expect("an address");
        let folder = Path::new("/nowhere");
        let text = manifest(&Task { folder, origin, certificate: &certificate, proxy_core: 0, load_core: 1 });
        let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
        assert_eq!(value("- addresses:"), Some(r#"["127.0.0.1"]"#));
        assert_eq!(value("targetPort:"), Some("4711"));
        let decoded = value("tls.crt:").and_then(|encoded| STANDARD.decode(encoded).ok());
        assert_eq!(decoded.as_deref(), Some(certificate.certificate_pem.as_bytes()));
    }
}
