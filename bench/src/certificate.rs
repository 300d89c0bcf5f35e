//! The certificate that every peer serves: ECDSA P-256, self-signed, for [`HOST`].

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::scenario::HOST;

/// Certificate and key as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Certificate {
    /// Makes a new one.
    ///
    /// # Errors
    /// The cryptography library refused.
    pub(crate) fn generate() -> Result<Self> {
        // rcgen's default algorithm is ECDSA P-256 with SHA-256; a test holds it to that.
        let made =
            rcgen::generate_simple_self_signed([HOST.to_owned()]).context("cannot make a certificate")?;
        Ok(Self { certificate_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() })
    }

    /// The client's view of it.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        client_config(CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())?)
    }
}

/// The client's view of a certificate in a file.
///
/// # Errors
/// The file holds no certificate.
pub(crate) fn client_config_from(file: &Path) -> Result<Arc<ClientConfig>> {
    let certificate =
        CertificateDer::from_pem_file(file).with_context(|| format!("cannot read {}", file.display()))?;
    client_config(certificate)
}

/// One suite and one group: what is negotiated must not depend on which peer answers, or the comparison measures
/// AES-256 here and AES-128 there, or a post-quantum exchange that one peer alone knows.
fn client_config(certificate: CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::SignatureAlgorithm;

    use super::*;

    #[test]
    fn the_key_is_ecdsa_p256_and_the_client_trusts_it() {
        let certificate = Certificate::generate().expect("generated");
        let key =
            rustls::pki_types::PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("a key");
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).expect("a usable key");
        assert_eq!(key.algorithm(), SignatureAlgorithm::ECDSA);
        assert!(key.choose_scheme(&[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]).is_some());
        certificate.client_config().expect("trusted");
    }
}
