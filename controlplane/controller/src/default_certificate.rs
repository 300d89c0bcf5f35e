//! The certificate for names that no Secret covers: made at start, self-signed, never written anywhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use ringress_shared::certificate::Certificate;
use ringress_shared::id::CertificateId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name that it carries, so that a browser's warning says what has happened.
pub const NAME: &str = "ringress-default-certificate.invalid";

/// Makes a self-signed certificate, valid from an hour ago (clocks differ) for a year.
///
/// # Errors
/// The machine gives no randomness, or its clock is out of range.
pub fn self_signed() -> Result<Certificate, DefaultCertificateError> {
    let validity = Validity::around(SystemTime::now());
    let key = KeyPair::generate()?;
    let leaf = params(&validity)?.self_signed(&key)?;
    let der = leaf.der().clone();
    let fingerprint = fingerprint(&der);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = CertifiedKey::from_der(vec![der], key, &rustls::crypto::aws_lc_rs::default_provider())?;
    Ok(Certificate {
        id: CertificateId::of(&["default"]),
        secret: None,
        key: Arc::new(key),
        names: Box::new([NAME.into()]),
        not_before: validity.not_before,
        not_after: validity.not_after,
        fingerprint,
    })
}

/// Why no default certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum DefaultCertificateError {
    /// Key or certificate could not be generated.
    #[error("cannot make the default certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// What was generated is not accepted by the TLS stack.
    #[error("cannot use the default certificate: {0}")]
    Use(#[from] rustls::Error),
}

struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    fn around(now: SystemTime) -> Self {
        // A clock before 1970 gives 1970: the certificate is self-signed, nobody believes its dates anyway.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as i64;
        Self { not_before: now - 3600, not_after: now + 365 * 24 * 3600 }
    }
}

fn params(validity: &Validity) -> Result<CertificateParams, rcgen::Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| epoch + Duration::from_secs(seconds.max(0) as u64);
    let mut params = CertificateParams::new([NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "ringress default certificate");
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn fingerprint(leaf: &CertificateDer<'_>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
