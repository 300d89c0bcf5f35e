//! Certificates out of Secrets: PEM, key match, names, dates.
//!
//! Whether a certificate is in its dates depends on the clock, so it is judged by [`expiry`] with `now` as an argument and
//! never inside translation.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use ringress_shared::certificate::Certificate;
use ringress_shared::id::CertificateId;
use ringress_shared::origin::ObjectRef;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::problem::Problem;

/// The certificate in a Secret of type `kubernetes.io/tls` (`stringData` beats `data`, as in the API).
///
/// # Errors
/// The first problem of the Secret: a key that is missing, is a placeholder, does not parse, or does not belong to the
/// certificate.
pub fn parse(secret: &Secret, reference: &ObjectRef) -> Result<Certificate, Box<Problem>> {
    let chain_pem = value(secret, reference, "tls.crt")?;
    let key_pem = value(secret, reference, "tls.key")?;
    from_pem(chain_pem, key_pem, reference)
}

/// The certificate of a chain and a key in PEM; `reference` is the Secret that problems name.
///
/// # Errors
/// As [`parse`].
pub fn from_pem(
    chain_pem: &[u8],
    key_pem: &[u8],
    reference: &ObjectRef,
) -> Result<Certificate, Box<Problem>> {
    let chain = chain(chain_pem, reference)?;
    let leaf = chain[0].clone();
    let facts = LeafFacts::read(&leaf, reference)?;
    let key = certified_key(chain, key_pem, reference)?;
    Ok(Certificate {
        id: CertificateId::of(&[&reference.namespace, &reference.name]),
        secret: Some(reference.clone()),
        key: Arc::new(key),
        names: facts.names,
        not_before: facts.not_before,
        not_after: facts.not_after,
        fingerprint: Sha256::digest(&leaf).into(),
    })
}

/// Days before the end at which a certificate is reported.
const EXPIRING_DAYS: i64 = 14;

/// What is wrong with the dates of a certificate at `now` (seconds since 1970). `None` for generated certificates.
pub fn expiry(certificate: &Certificate, now: i64) -> Option<Problem> {
    let secret = certificate.secret.as_ref()?;
    let days = (certificate.not_after - now).div_euclid(24 * 3600);
    if now > certificate.not_after {
        Some(Problem::certificate_expired(secret, &date(certificate.not_after)))
    } else if now < certificate.not_before {
        Some(Problem::certificate_not_yet_valid(secret, &date(certificate.not_before)))
    } else if days < EXPIRING_DAYS {
        Some(Problem::certificate_expiring(secret, &date(certificate.not_after), days))
    } else {
        None
    }
}

/// Who signed the leaf, as its text says it; `None` where the chain is empty or does not parse.
pub fn issuer(certificate: &Certificate) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(certificate.key.cert.first()?).ok()?;
    Some(leaf.issuer().to_string())
}

/// Seconds since 1970 as RFC 3339.
pub fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn value<'s>(secret: &'s Secret, reference: &ObjectRef, key: &str) -> Result<&'s [u8], Box<Problem>> {
    let plain = secret.string_data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    let encoded = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    plain.or(encoded).ok_or_else(|| Box::new(Problem::secret_key_missing(reference, key)))
}

fn chain(pem: &[u8], reference: &ObjectRef) -> Result<Vec<CertificateDer<'static>>, Box<Problem>> {
    if crate::manifest::is_placeholder(pem) {
        return Err(Box::new(Problem::secret_placeholder(reference, "tls.crt")));
    }
    let invalid = |why: String| Box::new(Problem::certificate_invalid(reference, "tls.crt", &why));
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(format!("the certificate chain is not PEM: {}", describe(&error))))?;
    if chain.is_empty() {
        return Err(invalid("there is no CERTIFICATE block; put the certificate there in PEM".into()));
    }
    Ok(chain)
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    pem: &[u8],
    reference: &ObjectRef,
) -> Result<CertifiedKey, Box<Problem>> {
    if crate::manifest::is_placeholder(pem) {
        return Err(Box::new(Problem::secret_placeholder(reference, "tls.key")));
    }
    let invalid = |why: String| Box::new(Problem::certificate_invalid(reference, "tls.key", &why));
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        invalid(format!("there is no unencrypted private key in PEM: {}", describe(&error)))
    })?;
    let key = any_supported_type(&der).map_err(|_| {
        invalid(
            "the private key is of no supported type; use RSA (2048 bits or more), ECDSA or Ed25519".into(),
        )
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        // Keys that cannot tell their public half are taken as they are; ours all can.
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err(Box::new(Problem::certificate_mismatch(reference))),
    }
}

/// Says what a PEM error is without repeating the input, which may be a key.
fn describe(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a BEGIN line has no END line",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        PemError::Base64Decode(_) => "a block is not base64",
        PemError::NoItemsFound => "no such block was found",
        _ => "it does not parse",
    }
}

/// What the leaf says of itself.
struct LeafFacts {
    names: Box<[Box<str>]>,
    not_before: i64,
    not_after: i64,
}

impl LeafFacts {
    fn read(leaf: &CertificateDer<'_>, reference: &ObjectRef) -> Result<Self, Box<Problem>> {
        let invalid = |why: &str| Box::new(Problem::certificate_invalid(reference, "tls.crt", why));
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|_| invalid("the first CERTIFICATE block is no X.509 certificate"))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| invalid("the subject alternative names of the certificate do not parse"))?
            .map(|extension| dns_names(&extension.value.general_names))
            .unwrap_or_default();
        let validity = parsed.validity();
        Ok(Self {
            names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }
}

fn dns_names(names: &[GeneralName<'_>]) -> Box<[Box<str>]> {
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    dns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let secret = ObjectRef::new("Secret", "shop", "cert");
        from_pem(signed.pem().as_bytes(), key.serialize_pem().as_bytes(), &secret).unwrap()
    }

    #[test]
    fn names_and_dates_are_those_of_the_leaf() {
        let certificate = certificate(&["Shop.example.com", "*.example.org"]);
        assert_eq!(
            certificate.names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["shop.example.com", "*.example.org"]
        );
        assert_eq!(date(certificate.not_before), "2025-01-01T00:00:00Z");
        assert_eq!(date(certificate.not_after), "2026-01-01T00:00:00Z");
        assert!(certificate.covers("a.example.org") && !certificate.covers("a.b.example.org"));
    }

    #[test]
    fn dates_are_judged_at_the_time_that_is_given() {
        let certificate = certificate(&["shop.example.com"]);
        let (begin, end) = (certificate.not_before, certificate.not_after);
        for (now, expected) in [
            (begin - 1, Some("valid from 2025-01-01")),
            (begin, None),
            (end - 14 * DAY, None),
            (end - 14 * DAY + 1, Some("in 13 days")),
            (end, Some("in 0 days")),
            (end + 1, Some("expired on 2026-01-01")),
        ] {
            let problem = expiry(&certificate, now);
            assert_eq!(problem.is_some(), expected.is_some(), "{now}: {problem:?}");
            if let (Some(problem), Some(part)) = (problem, expected) {
                assert_eq!(problem.rule, "certificate-expired");
                assert!(problem.message.contains(part), "{}", problem.message);
            }
        }
    }

    #[test]
    fn a_key_never_stands_in_a_message() {
        let secret = ObjectRef::new("Secret", "shop", "cert");
        let cert = certificate(&["shop.example.com"]);
        let pem = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
        for key in [
            "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n",
            "SECRETSECRET",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let problem = from_pem(pem.as_bytes(), key.as_bytes(), &secret).unwrap_err();
            assert!(!problem.message.contains("SECRET"), "{}", problem.message);
            assert_eq!(problem.field, "data[tls.key]");
        }
        assert!(!format!("{cert:?}").contains("PRIVATE"));
    }
}
