//! nginx: one worker.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{
    peer::{Launch, Ports, Task, version_of},
    scenario::HOST,
};

pub(super) fn prepare(binary: &Path, task: &Task<'_>, ports: Ports) -> Result<Launch> {
    let version = version_of(binary, "-v")?;
    fs::write(task.folder.join("certificate.pem"), &task.certificate.certificate_pem)?;
    fs::write(task.folder.join("key.pem"), &task.certificate.key_pem)?;
    let file = task.folder.join("nginx.conf");
    fs::write(&file, configuration(task, ports))?;
    let arguments =
        vec!["-p".into(), task.folder.into(), "-e".into(), "stderr".into(), "-c".into(), file.into()];
    Ok(Launch { name: "nginx", binary: binary.to_owned(), arguments, version, ports })
}

/// What differs from nginx's defaults and why:
///
/// * `keepalive 1024`: room for the idle connections of 512 clients; with 64 the scenario b would measure connects.
/// * `keepalive_requests`: its default of 1,000 closes connections all the time.
/// * `NumTickets 1`: OpenSSL sends two, ringress one.
/// * `proxy_request_buffering off`, `proxy_max_temp_file_size 0`, large buffers: no file is written, a POST streams.
/// * `accept_mutex` and `multi_accept`: one worker has nobody to share with.
fn configuration(task: &Task<'_>, ports: Ports) -> String {
    let Ports { plain, tls, .. } = ports;
    let origin = task.origin;
    format!(
        r#"daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{
    use epoll;
    worker_connections 8192;
    accept_mutex off;
    multi_accept on;
}}
http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
    tcp_nodelay on;
    sendfile on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    reset_timedout_connection on;
    client_max_body_size 0;
    client_body_buffer_size 128k;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream origin {{
        server {origin};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 60s;
    }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        server_name {HOST};
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_conf_command NumTickets 1;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_buffer_size 16k;
            proxy_buffers 8 64k;
            proxy_busy_buffers_size 128k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"#
    )
}
