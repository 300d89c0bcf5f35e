//! A certificate authority that lives as long as the process, and the one certificate that it gives out: for every host
//! that an Ingress names. Its key is never written anywhere; nobody trusts it, unless they fetch its certificate here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use ringress_shared::hostname::HostPattern;
use ringress_shared::origin::ObjectRef;
use ringress_translate::{Object, Objects};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;

/// The authority, and what it has certified last.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    certified: Option<(BTreeSet<String>, Arc<Secret>)>,
}

/// The Secret that the certificate stands in; the name has a character that no manifest can take.
pub(super) fn secret() -> ObjectRef {
    ObjectRef::new("Secret", "ringress:dev", "certificate")
}

impl Authority {
    /// A fresh authority.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ringress dev, this run only");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, key: KeyPair::generate()?, certified: None })
    }

    /// Answers with the authority's own certificate on a port of loopback; says on which.
    ///
    /// # Errors
    /// No port is left.
    pub(super) fn publish(&self, runtime: &Handle) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let pem = self.issuer.pem();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-pem-file\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{pem}",
            pem.len()
        );
        runtime.spawn(answer_all(listener, answer));
        Ok(address)
    }

    /// Adds the Secret with a certificate for all hosts of all Ingresses.
    pub(super) fn certify(&mut self, objects: &mut Objects) {
        match self.secret_for(hosts(objects)) {
            Ok(secret) => drop(objects.insert(Object::Secret(Box::new((*secret).clone())))),
            // The controller's own default certificate serves on.
            Err(error) => tracing::error!(%error, "certificate not made"),
        }
    }

    /// The same Secret for the same hosts, so that nothing changes where nothing changed.
    fn secret_for(&mut self, hosts: BTreeSet<String>) -> Result<Arc<Secret>, rcgen::Error> {
        match &self.certified {
            Some((known, secret)) if *known == hosts => Ok(Arc::clone(secret)),
            _ => {
                let secret = Arc::new(self.issue(&hosts)?);
                self.certified = Some((hosts, Arc::clone(&secret)));
                Ok(secret)
            }
        }
    }

    fn issue(&self, hosts: &BTreeSet<String>) -> Result<Secret, rcgen::Error> {
        let mut params = CertificateParams::new(hosts.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "ringress dev");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.key, &self.issuer)?;
        let chain = format!("{}{}", leaf.pem(), self.issuer.pem());
        let data = [("tls.crt", chain), ("tls.key", self.key.serialize_pem())];
        let mut secret = Secret {
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(BTreeMap::from(
                data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))),
            )),
            ..Secret::default()
        };
        let name = self::secret();
        secret.metadata.name = Some(name.name.to_string());
        secret.metadata.namespace = Some(name.namespace.to_string());
        Ok(secret)
    }
}

/// The same answer for every request, read until its blank line.
async fn answer_all(listener: TcpListener, answer: String) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
                if stream.read_buf(&mut head).await? == 0 {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        });
    }
}

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Every host that a certificate can name, and this machine.
fn hosts(objects: &Objects) -> BTreeSet<String> {
    let ingresses = objects.ingresses.values().filter_map(|stored| stored.object.spec.as_ref());
    let named = ingresses.flat_map(|spec| {
        let rules = spec.rules.iter().flatten().filter_map(|rule| rule.host.clone());
        rules.chain(spec.tls.iter().flatten().flat_map(|tls| tls.hosts.clone().unwrap_or_default()))
    });
    let parsed = named.filter_map(|host| HostPattern::parse(&host).ok()).map(|host| host.to_string());
    parsed.chain(["localhost".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::Folder;

    fn objects(host: &str) -> Objects {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec:\n  rules: [{{host: {host:?}}}, {{host: bad_host}}]\n"
        );
        Folder::new().update([("a.yaml".to_owned(), text.into())].into()).objects
    }

    #[test]
    fn every_host_that_can_be_named_is() {
        let mut objects = objects("*.web.local");
        let mut authority = Authority::new().unwrap();
        authority.certify(&mut objects);
        let stored = objects.secrets.values().next().unwrap();
        let certificate = ringress_translate::certificate::parse(&stored.object, &secret()).unwrap();
        assert!(certificate.covers("a.web.local"));
        assert!(certificate.covers("localhost"));
        assert!(!certificate.covers("bad_host"));
    }

    #[tokio::test]
    async fn the_certificate_of_the_authority_can_be_fetched() {
        let authority = Authority::new().unwrap();
        let address = authority.publish(&Handle::current()).unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /ca.pem HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&authority.issuer.pem()), "{answer}");
    }

    #[test]
    fn the_same_hosts_keep_their_certificate() {
        let mut authority = Authority::new().unwrap();
        let mut version = |host: &str| {
            let mut objects = objects(host);
            authority.certify(&mut objects);
            objects.secrets.values().next().unwrap().version
        };
        let first = version("a.local");
        assert_eq!(version("a.local"), first);
        assert_ne!(version("b.local"), first);
    }
}
