//! `kubectl ringress …` against a live cluster: two replicas of our chart, asked through the API server.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::Case;
use crate::release::Release;
use crate::support::World;

pub(crate) const CASES: &[Case] = &[("kubectl_ringress_asks_every_replica_through_the_api_server", asked)];

/// A release, asked by `kubectl ringress`.
struct Installed<'w> {
    world: &'w World,
    release: Release<'w>,
}

impl<'w> Installed<'w> {
    fn start(world: &'w World) -> anyhow::Result<Self> {
        // A replica that is frozen for a while counts as ready all the time; and pods are found under any name.
        let values = [
            "controller.readinessProbe.failureThreshold=30",
            "nameOverride=edge",
            &format!("fullnameOverride={CLASS}-ringress"),
        ];
        let release = Release::install(world, CLASS, &values)?;
        world.apply(BACKEND)?;
        world.until_ready("web", "True")?;
        Ok(Self { world, release })
    }

    /// What the plugin prints, and its exit code.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let script = format!("kubectl ringress {} 2>&1; echo \"code $?\"", arguments.join(" "));
        let output = self.world.exec(&["sh", "-c", &script])?;
        let (text, code) = output.trim_end().rsplit_once("code ").context("no exit code")?;
        Ok((code.parse()?, text.to_owned()))
    }

    /// The same in the namespace of the test, asking its own controller; it must end with that code.
    fn says(&self, verb: &[&str], expected: i32) -> anyhow::Result<String> {
        let namespace = self.world.namespace();
        let all = [verb, &["-n", namespace, "--controller-namespace", namespace]].concat();
        let (code, text) = self.run(&all)?;
        ensure!(code == expected, "{verb:?} ended with {code}: {text}");
        Ok(text)
    }

    fn json(&self, verb: &[&str], expected: i32) -> anyhow::Result<Value> {
        let text = self.says(&[verb, &["-o", "json"]].concat(), expected)?;
        serde_json::from_str(&text).with_context(|| format!("{verb:?}: {text}"))
    }
}

/// The name of the release, too.
const CLASS: &str = "asked";
const CONTROLLER: &str = "ringress.dev/asked";

const BACKEND: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: echo}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

fn ingress(name: &str, class: &str, path: &str) -> String {
    format!(
        r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  ingressClassName: {class}
  rules:
  - host: {name}.asked.test
    http: {{paths: [{{path: "{path}", pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
"#
    )
}

fn asked(world: &World) -> anyhow::Result<()> {
    let installed = Installed::start(world)?;
    waits(&installed)?;
    tells(&installed)?;
    refuses(&installed)?;
    judges(&installed)?;
    judges_secrets(&installed)?;
    follows_contexts(&installed)?;
    misses_secrets(&installed)?;
    misses_a_right(&installed)?;
    installed.release.uninstall()
}

/// Right after an apply, over and over: a yes is never about the version before.
fn waits(installed: &Installed<'_>) -> anyhow::Result<()> {
    let world = installed.world;
    for round in 0..5 {
        world.apply(&ingress("web", CLASS, &format!("/round-{round}")))?;
        let text = installed.says(&["wait", "ingress/web", "--timeout", "20s"], 0)?;
        ensure!(text.contains("of 2 replicas"), "{text}");
        let routed = installed
            .json(&["explain", &format!("http://web.asked.test/round-{round}/x"), "--all-replicas"], 0)?;
        ensure!(routed["agreeing"].as_array().is_some_and(|others| others.len() == 1), "{routed}");
        ensure!(routed["winner"]["object"]["name"] == "web", "{routed}");
    }
    // What nobody can have: a replica that stands still, and counts as ready for a while.
    let pods = world.list("pods", "app.kubernetes.io/component=controller")?;
    let name = pods[0]["metadata"]["name"].as_str().context("a pod has a name")?;
    world.fault("freeze", &world.pod(name))?;
    let applied = world.apply(&ingress("web", CLASS, "/frozen"));
    let behind = installed.says(&["wait", "ingress/web", "--timeout", "2s"], 1);
    world.fault("thaw", &world.pod(name))?;
    applied?;
    ensure!(behind?.contains(name), "the replica that is behind is named");
    installed.says(&["wait", "ingress", "web", "--timeout", "30s"], 0).map(drop)
}

fn tells(installed: &Installed<'_>) -> anyhow::Result<()> {
    // Tests beside this one change objects that it hears of, so a shard may be about to follow.
    installed.world.until("every shard of two replicas has what was published", || {
        let shards = installed.json(&["shards"], 0)?;
        let rows = shards.as_array().context("rows")?;
        let replicas: std::collections::BTreeSet<_> =
            rows.iter().filter_map(|row| row["replica"].as_str()).collect();
        ensure!(replicas.len() == 2, "{shards}");
        let up_to_date = |row: &Value| row["generation"] == row["published"] && row["node"].is_string();
        ensure!(rows.iter().all(up_to_date), "{shards}");
        Ok(true)
    })?;
    let one = installed.says(&["explain", "-H", "'Host: web.asked.test'", "/frozen"], 0)?;
    ensure!(one.contains("ringress-controller-") && one.contains("generation"), "{one}");
    installed.says(&["explain", "ingress/web"], 0)?;
    installed.says(&["explain", "http://nobody.asked.test/"], 1)?;
    let backends = installed.json(&["backends"], 0)?;
    ensure!(
        backends[0]["replicas"].as_array().is_some_and(|all| all.len() == 2),
        "replicas agree: {backends}"
    );
    ensure!(backends[0]["backends"][0]["endpoints"][0]["target"] == "web", "{backends}");
    let dump = installed.json(&["dump"], 0)?;
    ensure!(dump.as_object().is_some_and(|all| all.len() == 2), "{dump}");
    installed.says(&["certs"], 0).map(drop)
}

fn refuses(installed: &Installed<'_>) -> anyhow::Result<()> {
    let world = installed.world;
    world.apply(&ingress("foreign", "of-nobody", "/"))?;
    let foreign = installed.says(&["wait", "ingress/foreign", "--timeout", "20s"], 1)?;
    ensure!(foreign.contains("is not served here") && foreign.contains("of-nobody"), "{foreign}");
    let annotated = ingress("web", CLASS, "/frozen")
        .replace("labels:", "annotations: {ringress.dev/max-body-bytes: nonsense}, labels:");
    world.apply(&annotated)?;
    let refused = installed.says(&["wait", "ingress/web", "--timeout", "20s"], 1)?;
    ensure!(refused.contains("is refused") && refused.contains("max-body-bytes"), "{refused}");
    installed.says(&["wait", "ingress/nowhere"], 2)?;
    let (code, text) = installed.run(&["shards", "--controller-namespace", "kube-public"])?;
    ensure!(code == 3 && text.contains("no controller runs"), "{code}: {text}");
    Ok(())
}

/// Ingresses with TLS, of which one has a Secret of no particular type, and the other none.
fn secured(name: &str, host: &str) -> anyhow::Result<String> {
    let pair = rcgen::generate_simple_self_signed([host.to_owned()])?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque",
        "stringData": {"tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem()},
    });
    let tls = |name: &str, host: &str, secret: &str| {
        let rule = json!({"host": host, "http": {"paths": [{
            "path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}});
        let tls = json!([{"hosts": [host], "secretName": secret}]);
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"ingressClassName": CLASS, "rules": [rule], "tls": tls},
        })
    };
    let items = [secret, tls(name, host, name), tls("unsecured", "unsecured.asked.test", "nowhere")];
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

/// Whatever type they are of, as the controller serves them.
fn judges_secrets(installed: &Installed<'_>) -> anyhow::Result<()> {
    installed.world.apply(&secured("opaque", "opaque.asked.test")?)?;
    let findings = installed.json(&["lint"], 1)?;
    let all = findings.as_array().context("findings")?;
    let missing = all.iter().filter(|finding| finding["rule"] == "secret-missing");
    let of: Vec<_> = missing.map(|finding| finding["object"]["name"].as_str()).collect();
    ensure!(of == [Some("unsecured")], "{findings}");
    let certs = installed.json(&["certs"], 1)?;
    let has = |list: &str, part: &str| {
        let replicas = certs.as_array().into_iter().flatten();
        replicas
            .flat_map(|replica| replica[list].as_array())
            .flatten()
            .any(|one| one.to_string().contains(part))
    };
    ensure!(has("certificates", "opaque.asked.test") && has("missing", "unsecured.asked.test"), "{certs}");
    Ok(())
}

/// The current context leads nowhere, another one to the cluster and to the namespace of the test.
fn follows_contexts(installed: &Installed<'_>) -> anyhow::Result<()> {
    let world = installed.world;
    let (namespace, pki) = (world.namespace(), world.cluster().folder().join("pki"));
    let cluster = |name: &str, port: u16| {
        let server = format!("https://198.18.0.1:{port}");
        json!({"name": name, "cluster": {"server": server, "certificate-authority": pki.join("ca.crt")}})
    };
    let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "admin", "namespace": namespace}});
    let user = json!({"client-certificate": pki.join("admin.crt"), "client-key": pki.join("admin.key")});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "nowhere",
        "clusters": [cluster("nowhere", 1), cluster("other", 6443)],
        "contexts": [context("nowhere"), context("other")],
        "users": [{"name": "admin", "user": user}],
    });
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string())?;
    let file = format!("--kubeconfig={}", file.display());
    world.apply(&ingress("web", CLASS, "/contexts"))?;
    let wait = ["wait", "ingress/web", "--timeout", "20s", "--controller-namespace", namespace, &file];
    let (code, text) = installed.run(&[&wait[..], &["--context", "other"]].concat())?;
    ensure!(code == 0 && text.contains("of 2 replicas"), "{code}: {text}");
    for (context, why) in [(&[][..], "refused"), (&["--context", "third"], "third")] {
        let shards = ["shards", "--controller-namespace", namespace, &file];
        let (code, text) = installed.run(&[&shards[..], context].concat())?;
        ensure!(code != 0 && text.contains(why), "{context:?}: {code}: {text}");
    }
    Ok(())
}

/// The content of a Secret may not be read any more; its host refuses TLS until it may.
fn misses_secrets(installed: &Installed<'_>) -> anyhow::Result<()> {
    let world = installed.world;
    let role = installed.release.account();
    let verbs = |before: &[&str], after: &[&str]| {
        let (resources, verbs) = ("/rules/3/resources", "/rules/3/verbs");
        let patch = json!([
            {"op": "test", "path": resources, "value": ["secrets"]},
            {"op": "test", "path": verbs, "value": before},
            {"op": "replace", "path": verbs, "value": after},
        ]);
        world.kubectl(&["patch", "clusterrole", &role, "--type=json", "-p", &patch.to_string()])
    };
    let (all, names) = (["get", "list", "watch"], ["list", "watch"]);
    verbs(&all, &names)?;
    let account = format!("--as=system:serviceaccount:{}:{role}", world.namespace());
    world.until("the right is gone", || {
        Ok(world.kubectl(&["auth", "can-i", "get", "secrets", &account]).is_err())
    })?;
    world.apply(&secured("withheld", "withheld.asked.test")?)?;
    let of_replicas = |list: &str, holds: fn(&Value) -> bool| {
        let certs = installed.json(&["certs"], 1)?;
        // Replicas that agree are one entry.
        let replicas = certs.as_array().context("replicas")?;
        let has = |replica: &Value| replica[list].as_array().is_some_and(|all| all.iter().any(holds));
        Ok::<_, anyhow::Error>(replicas.iter().all(has))
    };
    let is_withheld =
        |one: &Value| one["reason"] == "SecretWithheld" && one["hosts"] == json!(["withheld.asked.test"]);
    world.until("certs names the Secret", || of_replicas("missing", is_withheld))?;
    let text = installed.says(&["certs"], 1)?;
    ensure!(text.contains("SecretWithheld") && text.contains("withheld.asked.test"), "{text}");
    verbs(&names, &all)?;
    let is_shown = |one: &Value| one["host"] == "withheld.asked.test" && one["secret"] == "withheld";
    world.until("its certificate is shown", || of_replicas("certificates", is_shown))
}

/// Somebody takes the right to write statuses away; requests do not notice.
fn misses_a_right(installed: &Installed<'_>) -> anyhow::Result<()> {
    let world = installed.world;
    let role = installed.release.account();
    let status = json!([
        {"op": "test", "path": "/rules/1/resources", "value": ["ingresses/status"]},
        {"op": "remove", "path": "/rules/1"},
    ]);
    world.kubectl(&["patch", "clusterrole", &role, "--type=json", "-p", &status.to_string()])?;
    world.apply(&ingress("unseen", CLASS, "/"))?;
    world.until("the doctor names the right", || {
        let text = installed.says(&["doctor"], 1)?;
        Ok(text.contains("cannot write the statuses of Ingresses") && text.contains("patch ingresses/status"))
    })
}

fn judges(installed: &Installed<'_>) -> anyhow::Result<()> {
    let findings = installed.json(&["lint"], 1)?;
    let found = |name: &str, rule: &str| {
        let mut all = findings.as_array().into_iter().flatten();
        all.any(|finding| {
            finding["object"]["name"] == name && finding["rule"] == rule && finding["file"].is_null()
        })
    };
    ensure!(found("foreign", "class-not-ours") && !found("web", "class-not-ours"), "{findings}");
    let doctor = installed.json(&["doctor"], 1)?;
    let lines = doctor.as_array().context("lines")?;
    let has = |check: &str, state: &str, part: &str| {
        lines.iter().any(|line| {
            line["check"] == check
                && line["state"] == state
                && line["what"].as_str().is_some_and(|what| what.contains(part))
        })
    };
    ensure!(has("controller", "ok", "2 replicas ready"), "{doctor}");
    ensure!(has("class", "ok", CONTROLLER), "{doctor}");
    ensure!(has("class", "warning", "of-nobody"), "{doctor}");
    ensure!(has("last good", "warning", "on 2 of 2 replicas"), "{doctor}");
    ensure!(has("driver", "warning", "epoll") || has("driver", "ok", "io_uring"), "{doctor}");
    ensure!(has("rights", "ok", ""), "{doctor}");
    ensure!(has("reachable", "ok", "answers"), "{doctor}");
    ensure!(has("answers", "problem", "1 of 1 path"), "the only path is closed: {doctor}");
    Ok(())
}
