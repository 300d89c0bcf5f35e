//! Objects are broken one after the other: what others answer never changes, and each broken one is named by an Event.

use std::time::{Duration, Instant};

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::api::{self, Access};
use super::backend::{ADDRESS, Backend};
use super::client::{Load, load_during};
use super::controller::{Controller, Plan};
use super::{OwnBox, inside};

/// One of ten objects is a witness.
const WITNESSES: usize = 10;
/// Events are written at a bounded rate; this is for all of them.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn short() -> anyhow::Result<()> {
    mutate(100, 60)
}

pub(crate) fn long() -> anyhow::Result<()> {
    mutate(1_000, 500)
}

/// What is done to an object that was right, and the reason that its Event gives.
type Mutation = (&'static str, fn(&Object) -> Value);

/// An object about to be mutated.
struct Object {
    host: String,
    /// A host of somebody else.
    witness: String,
}

/// All of these pass the validation of the API server.
const MUTATIONS: &[Mutation] = &[
    ("BackendNotFound", |object| spec(rule(&object.host, path("/", "Prefix", "nobody", 80)))),
    ("PortNotFound", |object| spec(rule(&object.host, path("/", "Prefix", "mutants", 81)))),
    ("NoReadyEndpoints", |object| spec(rule(&object.host, path("/", "Prefix", "empty", 80)))),
    ("SecretNotFound", |object| tls(&object.host, "nowhere")),
    ("CertificateInvalid", |object| tls(&object.host, "garbage")),
    ("Shadowed", |object| spec(rule(&object.witness, path("/", "Prefix", "mutants", 80)))),
    ("CertificateInvalid", |object| tls(&object.witness, "garbage")),
    ("UnknownAnnotation", |_| annotation("ringress.dev/ssl-redirekt", "false")),
    ("InvalidAnnotation", |_| annotation("ringress.dev/ssl-redirect", "perhaps")),
    ("UnsupportedAnnotation", |_| {
        annotation("nginx.ingress.kubernetes.io/auth-url", "http://nowhere.local/")
    }),
    ("UnsupportedBackend", |object| {
        spec(json!({"host": object.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
            "resource": {"apiGroup": "v1", "kind": "Bucket", "name": "b"}}}]}}))
    }),
    ("Applied", |object| {
        spec(rule(&object.host, path("/a/../b/%2e%2e/", "ImplementationSpecific", "mutants", 80)))
    }),
    ("Applied", |_| spec(rule("*.local", path("/", "Prefix", "mutants", 80)))),
    (
        "Applied",
        |_| json!({"spec": {"rules": null, "defaultBackend": {"service": {"name": "mutants", "port": {"number": 80}}}}}),
    ),
];

fn spec(rule: Value) -> Value {
    json!({"spec": {"rules": [rule], "tls": null}})
}

fn rule(host: &str, path: Value) -> Value {
    json!({"host": host, "http": {"paths": [path]}})
}

fn path(path: &str, kind: &str, service: &str, port: u16) -> Value {
    json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": port}}}})
}

fn tls(host: &str, secret: &str) -> Value {
    json!({"spec": {"rules": [rule(host, path("/", "Prefix", "mutants", 80))], "tls": [{"hosts": [host], "secretName": secret}]}})
}

fn annotation(name: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {name: value}}})
}

fn mutate(objects: usize, mutations: usize) -> anyhow::Result<()> {
    let world = OwnBox::up("mutations")?;
    let (right, other) = (Backend::start(&world, 9001)?, Backend::start(&world, 9002)?);
    let (access, plan) = (Access::of(&world)?, Plan::of(&world));
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, "witnesses", ADDRESS, &[right.port]).await?;
        api::create_service(&client, "mutants", ADDRESS, &[other.port]).await?;
        api::create_service(&client, "empty", ADDRESS, &[]).await?;
        api::create_many::<Secret>(&client, [api::tls_secret("garbage", "no certificate", "no key")]).await?;
        api::create_many::<Ingress>(&client, (0..objects).map(|number| api::object(healthy(number)))).await?;
        let controller = Controller::start(&plan).await?;
        let witnesses = (0..objects).filter(|number| is_witness(*number)).map(host).collect();
        let load = Load { address: controller.http, hosts: witnesses, clients: 4, body: Some("9001") };
        let (unnamed, seen) = load_during(load, all(&client, objects, mutations)).await?;
        println!("{} requests to {} witnesses beside {mutations} mutants", seen.asked, objects / WITNESSES);
        ensure!(
            unnamed.is_empty(),
            "no Event names {} of them: {:?}",
            unnamed.len(),
            &unnamed[..unnamed.len().min(9)]
        );
        seen.none_failed_of(1_000)
    })
}

fn is_witness(number: usize) -> bool {
    number.is_multiple_of(WITNESSES)
}

fn host(number: usize) -> String {
    format!("host-{number}.local")
}

fn healthy(number: usize) -> Value {
    let service = if is_witness(number) { "witnesses" } else { "mutants" };
    api::ingress(&format!("object-{number}"), &host(number), service)
}

/// Mutates them, and says which of them no Event names.
async fn all(client: &kube::Client, objects: usize, mutations: usize) -> anyhow::Result<Vec<String>> {
    let mut expected = Vec::with_capacity(mutations);
    let mutants = (0..objects).filter(|number| !is_witness(*number)).cycle();
    for (mutation, number) in mutants.take(mutations).enumerate() {
        let (reason, mutated) = MUTATIONS[mutation % MUTATIONS.len()];
        let object = Object { host: host(number), witness: host(number / WITNESSES * WITNESSES) };
        let name = format!("object-{number}");
        api::merge::<Ingress>(client, &name, mutated(&object)).await?;
        expected.push((name, reason));
        // One after the other, so that each is a generation of its own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    loop {
        let events = api::all::<Event>(client).list(&ListParams::default()).await?;
        let named = |name: &str, reason: &str| {
            events.iter().any(|event| {
                event.involved_object.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
            })
        };
        let unnamed: Vec<String> = expected
            .iter()
            .filter(|(name, reason)| !named(name, reason))
            .map(|(name, reason)| format!("{name} {reason}"))
            .collect();
        if unnamed.is_empty() || began.elapsed() > PATIENCE {
            println!("every mutant was named {:.1} s after the last", began.elapsed().as_secs_f64());
            return Ok(unnamed);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
