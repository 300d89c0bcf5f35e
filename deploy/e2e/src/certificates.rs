//! Keys and certificates of one box: an authority, the API server, an administrator, the kubelet, service-account tokens.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Where they lie.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Certificate and key of this name.
    pub(crate) fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")))
    }

    /// The keys of service-account tokens: to verify, to sign.
    pub(crate) fn tokens(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("tokens.pub"), self.folder.join("tokens.key"))
    }

    /// Makes everything.
    ///
    /// # Errors
    /// The machine gives no randomness, or the folder cannot be written.
    pub(crate) fn create(&self, server_names: &[&str]) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let params = authority_params()?;
        self.write("ca.crt", &params.self_signed(&key)?.pem())?;
        let authority = Issuer::new(params, key);
        self.issue(&authority, "apiserver", server("kube-apiserver", server_names)?)?;
        self.issue(&authority, "kubelet", server("kubelet", server_names)?)?;
        self.issue(&authority, "admin", client("admin", "system:masters")?)?;
        let tokens = KeyPair::generate()?;
        self.write("tokens.key", &tokens.serialize_pem())?;
        self.write("tokens.pub", &tokens.public_key_pem())
    }

    fn issue(
        &self,
        authority: &Issuer<'_, KeyPair>,
        name: &str,
        params: CertificateParams,
    ) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        self.write(&format!("{name}.crt"), &params.signed_by(&key, authority)?.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    fn write(&self, name: &str, pem: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut params = named("box", None, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn server(name: &str, names: &[&str]) -> anyhow::Result<CertificateParams> {
    let mut params = named(name, None, names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn client(name: &str, group: &str) -> anyhow::Result<CertificateParams> {
    let mut params = named(name, Some(group), &[])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn named(name: &str, organization: Option<&str>, names: &[&str]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    Ok(params)
}
