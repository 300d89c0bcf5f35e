//! The authority of a cluster is replaced under a running ringress: the API server shows a certificate of the new one, and who
//! knows the old one alone does not trust it.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::Case;
use crate::client::{get, until_outcome};
use crate::release::route;
use crate::support::World;

pub(crate) const CASES: &[Case] =
    &[("a_cluster_authority_that_is_replaced_in_its_file_is_trusted_without_a_restart", replaced)];

/// In a box of its own: all others would notice.
fn replaced(_: &World) -> anyhow::Result<()> {
    let world = World::start("authority", &["--nodes", "1"])?;
    let folder = tempfile::tempdir()?;
    let pki = world.cluster().folder().join("pki");
    let authority = folder.path().join("ca.crt");
    std::fs::copy(pki.join("ca.crt"), &authority)?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, kubeconfig_of(&pki, &authority))?;
    world.apply(CLASS)?;
    // No Service answers for it: 503 where the route is known, 404 where it is not.
    route(&world, "before", "ringress", "before.test")?;
    let mut ringress = start(&world, &kubeconfig)?;
    until_outcome(&world, ADDRESS, ("before.test", "/"), "503")?;

    let newer = replace(&pki)?;
    world.fault("stop", "kube-apiserver")?;
    world.fault("start", "kube-apiserver")?;
    world.until("the API server is back", || Ok(world.kubectl(&["get", "ingresses"]).is_ok()))?;
    route(&world, "after", "ringress", "after.test")?;
    world.until("the certificate of the API server is refused", || {
        let page = world.exec(&["curl", "-sS", "-m", "5", "http://127.0.0.1:10255/watches"])?;
        Ok(page.contains("invalid peer certificate"))
    })?;
    ensure!(get(&world, ADDRESS, "after.test", "/")?.status == 404, "an unknown authority is trusted");
    ensure!(get(&world, ADDRESS, "before.test", "/")?.status == 503, "what was served is served on");

    std::fs::write(&authority, newer)?;
    until_outcome(&world, ADDRESS, ("after.test", "/"), "503")?;
    ensure!(ringress.try_wait()?.is_none(), "it has ended");
    world.end_now();
    ringress.wait().map(drop).context("ringress ends with its box")
}

const ADDRESS: &str = "198.18.0.1:8080";

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ringress}
spec: {controller: ringress.dev/ingress-controller}
";

/// ringress beside the API server, in no pod.
fn start(world: &World, kubeconfig: &Path) -> anyhow::Result<Child> {
    let file = format!("--kubeconfig={}", kubeconfig.display());
    let flags = ["--http-port=8080", "--https-port=off", "--admin-address=127.0.0.1:10255", "--shards=1"];
    let run = ["exec", "--name", world.cluster().name(), "ringress", "run", &file];
    let ringress = Command::new(env!("CARGO_BIN_EXE_ringress-e2e")).args(run).args(flags).spawn();
    ringress.context("ringress does not start")
}

fn kubeconfig_of(pki: &Path, authority: &Path) -> String {
    let cluster = json!({"server": "https://198.18.0.1:6443", "certificate-authority": authority});
    let user = json!({"client-certificate": pki.join("admin.crt"), "client-key": pki.join("admin.key")});
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}], "users": [{"name": "here", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    })
    .to_string()
}

/// A new authority and a certificate of it for the API server; clients of both authorities are taken. Returns the new one.
fn replace(pki: &Path) -> anyhow::Result<String> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "newer");
    let key = KeyPair::generate()?;
    let newer = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let names = ["198.18.0.1", "127.0.0.1", "localhost"].map(str::to_owned);
    let server = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    std::fs::write(pki.join("apiserver.crt"), server.pem())?;
    std::fs::write(pki.join("apiserver.key"), key.serialize_pem())?;
    let older = std::fs::read_to_string(pki.join("ca.crt"))?;
    std::fs::write(pki.join("ca.crt"), older + &newer)?;
    Ok(newer)
}
