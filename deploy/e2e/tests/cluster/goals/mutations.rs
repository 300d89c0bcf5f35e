//! Objects are broken one after the other: what others answer never changes, and each broken one is named by an Event.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Event, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use super::api;
use super::backend::{ADDRESS, Backend};
use super::controller::Controller;
use super::{Scene, inside};
use crate::load::{Load, load_during};

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

/// What is done to something that was right, and the reason that an Event on it gives.
type Mutation = (&'static str, fn(&Object) -> Change);

/// What is merged, and into what: the Ingress, or what it has of its own under the same name.
enum Change {
    Ingress(Value),
    Service(Value),
    EndpointSlice(Value),
    Secret(Value),
    /// An Ingress of the same name that is created in another namespace.
    Elsewhere(Value),
}

/// An object about to be mutated.
struct Object {
    host: String,
    /// A host of somebody else.
    witness: String,
    number: usize,
}

impl Object {
    /// A path of its own, by its number.
    fn path(&self, kind: &str) -> Value {
        path(&format!("/of-{}", self.number), kind, "mutants", 80)
    }

    /// One of several values, by its number.
    fn pick<'v>(&self, values: &[&'v str]) -> &'v str {
        values.get(self.number % values.len().max(1)).copied().unwrap_or_default()
    }
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
    ("Applied", |_| {
        let backend = json!({"service": {"name": "mutants", "port": {"number": 80}}});
        Change::Ingress(json!({"spec": {"rules": null, "defaultBackend": backend}}))
    }),
    ("PortNotFound", |_| Change::Service(json!({"spec": {"ports": [{"port": 81, "name": "other"}]}}))),
    ("NoReadyEndpoints", |_| Change::EndpointSlice(json!({"endpoints": []}))),
    // The last good certificate goes on.
    ("Quarantined", |_| {
        Change::Secret(json!({"stringData": {"tls.crt": "no certificate", "tls.key": "no key"}}))
    }),
    ("UnsupportedAnnotation", |object| {
        let protection =
            object.pick(&["auth-url", "auth-type", "whitelist-source-range", "limit-rps", "satisfy"]);
        annotated(
            protection,
            object.pick(&["x", "any", "10.0.0.0/8", "7"]),
            &object.witness,
            object.path("Prefix"),
        )
    }),
    ("UnsupportedAnnotation", |object| {
        annotated("configuration-snippet", "deny all;", &object.witness, object.path("Exact"))
    }),
    ("UnsupportedAnnotation", |object| {
        let expression = format!("/of-{}(/|$)(.*)", object.number);
        let expression = path(&expression, "ImplementationSpecific", "mutants", 80);
        annotated("use-regex", object.pick(&["true", "1", "yes"]), &object.witness, expression)
    }),
    ("UnsupportedAnnotation", |object| {
        let target = object.pick(&["/", "/$2", "/elsewhere", "$1"]);
        annotated("rewrite-target", target, &object.witness, object.path("Prefix"))
    }),
    // The witness's own rule names the host, so it is nobody's further name.
    ("UnsupportedAnnotation", |object| {
        Change::Ingress(json!({"metadata": {"annotations": {
            nginx("server-alias"): format!("a-{}.local, {}", object.number, object.witness),
            nginx("auth-type"): "basic"}}}))
    }),
    // What holds for a whole server closes a host for its namespace, by ingress-nginx's own rule: its place is its own host.
    ("UnsupportedAnnotation", |object| {
        let protection = object.pick(&["auth-tls-secret", "server-snippet"]);
        annotated(protection, "default/ca", &object.host, object.path("Prefix"))
    }),
    ("Shadowed", |object| Change::Elsewhere(rule(&object.witness, path("/", "Prefix", "mutants", 80)))),
    ("BackendNotFound", |object| Change::Elsewhere(rule(&object.witness, object.path("Exact")))),
];

/// An Ingress with one rule, and an annotation of ingress-nginx.
fn annotated(name: &str, value: &str, host: &str, path: Value) -> Change {
    Change::Ingress(json!({
        "metadata": {"annotations": {nginx(name): value}}, "spec": {"rules": [rule(host, path)], "tls": null}
    }))
}

fn nginx(name: &str) -> String {
    format!("nginx.ingress.kubernetes.io/{name}")
}

/// The namespace of those who have no witness.
const ELSEWHERE: &str = "elsewhere";

fn spec(rule: Value) -> Change {
    Change::Ingress(json!({"spec": {"rules": [rule], "tls": null}}))
}

fn rule(host: &str, path: Value) -> Value {
    json!({"host": host, "http": {"paths": [path]}})
}

fn path(path: &str, kind: &str, service: &str, port: u16) -> Value {
    json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": port}}}})
}

fn tls(host: &str, secret: &str) -> Change {
    let rules = [rule(host, path("/", "Prefix", "mutants", 80))];
    Change::Ingress(json!({"spec": {"rules": rules, "tls": [{"hosts": [host], "secretName": secret}]}}))
}

fn annotation(name: &str, value: &str) -> Change {
    Change::Ingress(json!({"metadata": {"annotations": {name: value}}}))
}

fn mutate(objects: usize, mutations: usize) -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::up("mutations")?;
    let (right, other) = (Backend::start(&world, 9001)?, Backend::start(&world, 9002)?);
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_service(&client, "witnesses", ADDRESS, &[right.port]).await?;
        api::create_service(&client, "mutants", ADDRESS, &[other.port]).await?;
        api::create_service(&client, "empty", ADDRESS, &[]).await?;
        let elsewhere: Namespace = api::object(json!({"metadata": {"name": ELSEWHERE}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &elsewhere).await?;
        api::create_many::<Secret>(&client, [api::tls_secret("garbage", "no certificate", "no key")]).await?;
        let mutants = Mutant::choose(objects, mutations)?;
        create_all(&client, objects, &mutants, other.port).await?;
        let controller = Controller::start(&plan).await?;
        let witnesses = (0..objects).filter(|number| is_witness(*number)).map(host).collect();
        let load = Load { hosts: witnesses, body: Some("9001"), ..Load::of(controller.http, "", 4) };
        let (unnamed, seen) = load_during(load, all(&client, mutants, other.port)).await?;
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

fn name(number: usize) -> String {
    format!("object-{number}")
}

/// An object, and what becomes of it.
struct Mutant {
    number: usize,
    reason: &'static str,
    change: Change,
}

impl Mutant {
    /// Takes the mutations in turn, each for an object that is no witness.
    fn choose(objects: usize, mutations: usize) -> anyhow::Result<Vec<Self>> {
        let numbers = (0..objects).filter(|number| !is_witness(*number));
        let chosen =
            numbers.zip(MUTATIONS.iter().cycle()).take(mutations).map(|(number, (reason, change))| {
                let witness = host(number / WITNESSES * WITNESSES);
                let object = Object { host: host(number), witness, number };
                Self { number, reason, change: change(&object) }
            });
        let chosen: Vec<Self> = chosen.collect();
        ensure!(chosen.len() == mutations, "{objects} objects are too few for {mutations} mutations");
        Ok(chosen)
    }

    /// Whether something is mutated that the Ingress needs, so that it has one of its own.
    fn has_its_own(&self) -> bool {
        !matches!(self.change, Change::Ingress(_) | Change::Elsewhere(_))
    }

    /// A Service of its own that leads to this port, and a Secret.
    async fn create_its_own(&self, client: &kube::Client, port: u16) -> anyhow::Result<()> {
        let name = name(self.number);
        api::create_service(client, &name, ADDRESS, &[port]).await?;
        let pair = rcgen::generate_simple_self_signed([host(self.number)])?;
        let secret = api::tls_secret(&name, &pair.cert.pem(), &pair.signing_key.serialize_pem());
        api::create_many::<Secret>(client, [secret]).await
    }

    async fn mutate(self, client: &kube::Client, port: u16) -> anyhow::Result<()> {
        let name = name(self.number);
        match self.change {
            Change::Ingress(patch) => api::merge::<Ingress>(client, &name, patch).await,
            Change::Service(patch) => api::merge::<Service>(client, &name, patch).await,
            Change::EndpointSlice(patch) => {
                api::merge::<EndpointSlice>(client, &format!("{name}-{port}"), patch).await
            }
            Change::Secret(patch) => api::merge::<Secret>(client, &name, patch).await,
            Change::Elsewhere(rule) => {
                let ingress: Ingress = api::object(json!({
                    "metadata": {"name": name}, "spec": {"ingressClassName": "ringress", "rules": [rule]}
                }))?;
                let api = Api::namespaced(client.clone(), ELSEWHERE);
                api.create(&PostParams::default(), &ingress).await?;
                Ok(())
            }
        }
    }
}

/// Creates the objects, all of them right.
async fn create_all(
    client: &kube::Client,
    objects: usize,
    mutants: &[Mutant],
    port: u16,
) -> anyhow::Result<()> {
    let mut with_own = BTreeSet::new();
    for mutant in mutants.iter().filter(|mutant| mutant.has_its_own()) {
        mutant.create_its_own(client, port).await?;
        with_own.insert(mutant.number);
    }
    let ingresses = (0..objects).map(|number| {
        let (name, host) = (name(number), host(number));
        api::object(match (is_witness(number), with_own.contains(&number)) {
            (true, _) => api::ingress(&name, &host, "witnesses"),
            (false, false) => api::ingress(&name, &host, "mutants"),
            (false, true) => api::ingress_with_tls(&name, &host, &name, &name),
        })
    });
    api::create_many::<Ingress>(client, ingresses).await
}

/// Mutates them, and says which of them no Event names.
async fn all(client: &kube::Client, mutants: Vec<Mutant>, port: u16) -> anyhow::Result<Vec<String>> {
    let mut expected = Vec::with_capacity(mutants.len());
    for mutant in mutants {
        expected.push((name(mutant.number), mutant.reason));
        mutant.mutate(client, port).await?;
        // One after the other, so that each is a generation of its own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    loop {
        let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
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
