//! HAProxy: one thread.

use std::{fs, path::Path};

use anyhow::Result;

use crate::peer::{Launch, Ports, Task, version_of};

pub(super) fn prepare(binary: &Path, task: &Task<'_>, ports: Ports) -> Result<Launch> {
    let version = version_of(binary, "-v")?;
    let both = task.folder.join("certificate-and-key.pem");
    fs::write(&both, format!("{}{}", task.certificate.certificate_pem, task.certificate.key_pem))?;
    let file = task.folder.join("haproxy.cfg");
    fs::write(&file, configuration(task, ports, &both))?;
    let arguments = vec!["-db".into(), "-f".into(), file.into()];
    Ok(Launch { name: "haproxy", binary: binary.to_owned(), arguments, version, ports })
}

/// `http-reuse always` and the pool's size are what `keepalive 1024` is to nginx; nothing is logged.
/// HAProxy 2.6 has no switch for the number of tickets: it sends the two of OpenSSL.
fn configuration(task: &Task<'_>, ports: Ports, certificate: &Path) -> String {
    let Ports { plain, tls, .. } = ports;
    let origin = task.origin;
    let certificate = certificate.display();
    format!(
        r#"global
    nbthread 1
    maxconn 4096
    tune.pool-high-fd-ratio 90
    tune.pool-low-fd-ratio 80
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s
    http-reuse always
frontend edge
    bind 127.0.0.1:{plain} backlog 4096
    bind 127.0.0.1:{tls} backlog 4096 ssl crt {certificate} alpn http/1.1 ssl-min-ver TLSv1.2
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    default_backend origin
backend origin
    server origin {origin} pool-max-conn -1
"#
    )
}
