//! Problems with Secrets and certificates, and with the names under `tls`.

use ringress_shared::origin::{ObjectRef, Origin};

use super::Level::{Error, Warning};
use super::{Problem, Reason, data_field, finding};

impl Problem {
    /// No such Secret.
    pub fn secret_missing(origin: &Origin, secret: &ObjectRef) -> Self {
        let message = format!(
            "{secret} does not exist, so the default certificate is served; create it: kubectl create secret tls {} \
             --namespace {} --cert=tls.crt --key=tls.key",
            secret.name, secret.namespace
        );
        finding(Error, Reason::SecretNotFound, "secret-missing", message).at(origin)
    }

    /// The referenced Secret is there, and its content is not known: a cache without a key had to leave it out, or the API
    /// server does not give it.
    pub fn secret_withheld(origin: &Origin, secret: &ObjectRef) -> Self {
        let message = format!(
            "the content of {secret} is not known, so TLS is refused; if the API server answers, it does not give the \
             content: check the right to get Secrets in the namespace {}; if a cache is served because it does not answer: \
             with --cache-key-file the cache keeps certificates, encrypted",
            secret.namespace
        );
        finding(Error, Reason::SecretWithheld, "secret-withheld", message).at(origin)
    }

    /// The referenced Secret is there and useless.
    pub fn secret_unusable(origin: &Origin, secret: &ObjectRef, because: &Problem) -> Self {
        let message = format!(
            "{secret} cannot be used: {}: {}; the default certificate is served, except by a ringress that has had a good \
             one and goes on with that until it restarts",
            because.field, because.message
        );
        finding(Error, Reason::CertificateInvalid, because.rule, message).at(origin)
    }

    /// Text that is no base64.
    pub fn secret_placeholder(secret: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "the value of {key} is not base64; it looks like a placeholder from a document; put the encoded file \
             there, or plain text under stringData"
        );
        finding(Error, Reason::CertificateInvalid, "secret-placeholder", message).of(secret, &data_field(key))
    }

    /// A key of the Secret is missing.
    pub fn secret_key_missing(secret: &ObjectRef, key: &str) -> Self {
        let message =
            format!("there is no {key}; a Secret of type kubernetes.io/tls has tls.crt and tls.key");
        finding(Error, Reason::CertificateInvalid, "certificate-invalid", message)
            .of(secret, &data_field(key))
    }

    /// PEM or DER that does not parse.
    pub fn certificate_invalid(secret: &ObjectRef, key: &str, why: &str) -> Self {
        finding(Error, Reason::CertificateInvalid, "certificate-invalid", why.to_owned())
            .of(secret, &data_field(key))
    }

    /// Certificate and key do not belong together.
    pub fn certificate_mismatch(secret: &ObjectRef) -> Self {
        let message = "the key does not belong to the certificate in tls.crt; put the pair of one order there, the \
                       server's certificate first";
        finding(Error, Reason::CertificateInvalid, "certificate-mismatch", message.into())
            .of(secret, &data_field("tls.key"))
    }

    /// A broken Secret whose last good certificate goes on.
    pub fn certificate_quarantined(secret: &ObjectRef, because: &Problem) -> Self {
        let message = format!(
            "this version is wrong and the last good certificate is still served; repair it: {}",
            because.message
        );
        finding(Error, Reason::Quarantined, because.rule, message).of(secret, &because.field)
    }

    /// The names of the certificate leave the host out.
    pub fn certificate_host(origin: &Origin, secret: &ObjectRef, host: &str, names: &[Box<str>]) -> Self {
        let names = if names.is_empty() { "no DNS name".to_owned() } else { names.join(", ") };
        let message = format!(
            "the certificate in {secret} is for {names} and not for {host}, so the default certificate is served there; \
             order one that names {host}"
        );
        finding(Error, Reason::CertificateHostMismatch, "certificate-host", message).at(origin)
    }

    /// A name of a certificate whose entry names no host, and which another object names.
    pub fn unnamed_certificate(origin: &Origin, name: &str, another: &ObjectRef) -> Self {
        let message = format!(
            "this entry names no host, so it serves the names of its certificate that no other object names, and {another} \
             names {name} or a host that meets it; list the hosts of this entry"
        );
        finding(Warning, Reason::Shadowed, "shadowed-by", message).at(origin)
    }

    /// The certificate is past its end.
    pub fn certificate_expired(secret: &ObjectRef, date: &str) -> Self {
        let message = format!("the certificate expired on {date}; clients refuse it; renew it");
        finding(Error, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// The certificate is before its beginning.
    pub fn certificate_not_yet_valid(secret: &ObjectRef, date: &str) -> Self {
        let message =
            format!("the certificate is valid from {date} on; clients refuse it until then; check the clock");
        finding(Error, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// The certificate ends soon.
    pub fn certificate_expiring(secret: &ObjectRef, date: &str, days: i64) -> Self {
        let message = format!("the certificate expires on {date}, in {days} days; renew it");
        finding(Warning, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// A host under tls without a rule.
    pub fn tls_host_without_rule(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "{host} stands under tls and no rule of this object has it; hosts under tls must match hosts of rules; \
             add a rule or remove it"
        );
        finding(Warning, Reason::TlsHostMismatch, "tls-host-without-rule", message).at(origin)
    }

    /// A host of a rule that tls leaves out.
    pub fn rule_host_without_tls(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "{host} is not listed under spec.tls as other hosts of this object are: it is served on plain http, and on \
             https with the default certificate; list it under tls if it should be redirected"
        );
        finding(Warning, Reason::TlsHostMismatch, "rule-host-without-tls", message).at(origin)
    }
}
