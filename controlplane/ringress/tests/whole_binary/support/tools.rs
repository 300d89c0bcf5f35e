//! Real clients: curl and openssl, and certificates for them to see.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::PATIENCE;
use super::client::Client;

/// A self-signed certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Certificate {
    /// A new one for these names.
    pub(crate) fn for_names(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("the names are names");
        let der = made.cert.der().clone();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der }
    }

    /// Whether a server showed this very certificate.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        self.der.as_ref() == shown
    }

    /// A client that trusts this certificate alone.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("the provider knows TLS 1.3");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A client over TLS.
pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// Connects over TLS and completes the handshake.
///
/// # Errors
/// As the handshake gives them.
pub(crate) fn tls_connect(port: u16, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<TlsClient> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).expect("a DNS name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    Ok(Client::over(StreamOwned::new(tls, tcp)))
}

/// Runs curl, silent and bounded in time.
pub(crate) fn curl(arguments: &[&str]) -> Output {
    let seconds = PATIENCE.as_secs().to_string();
    let command = Command::new("curl").args(["-sS", "--max-time", &seconds]).args(arguments).output();
    command.expect("curl is installed")
}

/// Runs `openssl s_client` against a port, sends `input`, and gives everything it printed.
pub(crate) fn openssl_s_client(port: u16, arguments: &[&str], input: &str) -> String {
    let seconds = PATIENCE.as_secs().to_string();
    // Without input the end of stdin ends the client after the handshake.
    let stay: &[&str] = if input.is_empty() { &[] } else { &["-ign_eof"] };
    let mut child = Command::new("timeout")
        .args([&seconds, "openssl", "s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(stay)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A handshake that failed has closed the pipe already; its output says so.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().expect("openssl ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
