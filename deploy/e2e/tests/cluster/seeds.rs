//! The examples, which are the manifests of the seed articles, by `kubectl apply` as they stand: answered as `answers.txt`
//! beside each of them says, with the address in `kubectl get ingress` and an Event `Applied`.
//!
//! They share hosts, and some take requests for any host, so one at a time has the box; Services, pods and Secrets of the others
//! are made meanwhile. Manifests that lost their indentation are in `flattened`.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::Case;
use crate::client::{Answer, get, get_tls};
use crate::support::{World, deploy, every_host};

pub(crate) const CASES: &[Case] = &[
    // `up` has applied it; what it says is what a newcomer gets.
    ("seed_beginner", |world| answered(&world.other_namespace("default"), "beginner")),
    ("seed_app_ingress", |world| example(world, "app-ingress")),
    ("seed_path_based", |world| example(world, "path-based")),
    ("seed_virtual_hosts", |world| example(world, "virtual-hosts")),
    ("seed_main_ingress", |world| example(world, "main-ingress")),
    ("seed_fan_out", |world| example(world, "fan-out")),
    ("seed_name_based", |world| example(world, "name-based")),
    ("seed_hosts_and_paths", |world| example(world, "hosts-and-paths")),
    ("seed_three_hosts", |world| example(world, "three-hosts")),
    ("seed_api_and_web", |world| example(world, "api-and-web")),
    ("seed_versions", |world| example(world, "versions")),
    ("seed_tls", |world| example(world, "tls")),
    ("seed_admin_path", |world| example(world, "admin-path")),
    ("seeds_that_lost_their_indentation_are_refused_and_served_once_they_are_repaired", flattened),
    ("no_example_is_left_out", all),
];

/// Secrets that the articles tell to create, and the hosts that they are for.
const SECRETS: [(&str, &str, &[&str]); 3] = [
    ("tls", "my-tls-secret", &["app.example.com"]),
    ("admin-path", "example-tls", &["example.com", "api.example.com"]),
    ("versions", "tls-secret", &["api.example.com"]),
];

fn example(world: &World, name: &str) -> anyhow::Result<()> {
    let folder = deploy(&format!("examples/{name}"));
    for file in ["services.yaml", "web-api.yaml"].map(|file| format!("{folder}/{file}")) {
        if Path::new(&file).exists() {
            world.kubectl(&["apply", "-f", &file])?;
        }
    }
    world.backends()?;
    let secrets = tempfile::tempdir()?;
    for (_, secret, hosts) in SECRETS.iter().filter(|(example, ..)| *example == name) {
        create_secret(world, secrets.path(), secret, hosts)?;
    }
    let _alone = every_host();
    if name == "versions" {
        world.kubectl(&["apply", "-f", &deploy("examples/with-endpoints/versions/class.yaml")])?;
    }
    let applied = world.kubectl(&["apply", "-f", &folder]);
    if name == "versions" {
        // The article's Secret holds placeholders; the API server says so and takes the rest.
        let refused = applied.err().context("placeholders of a Secret are no base64")?.to_string();
        ensure!(refused.contains("tls-secret") && refused.contains("base64"), "{refused}");
    } else {
        applied?;
    }
    let held = answered(world, name);
    world.kubectl(&["delete", "ingress", "--all"])?;
    gone(world, name)?;
    held
}

/// What `answers.txt` promises, the address and the Event.
fn answered(world: &World, name: &str) -> anyhow::Result<()> {
    let address = world.ringress_address()?;
    let trusted = |host: &str| {
        let secret = SECRETS.iter().find(|(example, _, hosts)| *example == name && hosts.contains(&host));
        secret.map(|(_, secret, _)| *secret)
    };
    let authorities = tempfile::tempdir()?;
    for (url, by) in answers(name)? {
        let host = host_of(&url);
        let authority = match trusted(host) {
            Some(secret) => Some(authority(world, authorities.path(), secret)?),
            None => None,
        };
        world.until(&format!("{url} is answered by {by}"), || {
            let answer = fetch(world, &address, &url, authority.as_deref())?;
            ensure!(answer.outcome() == by, "{}", answer.outcome());
            Ok(true)
        })?;
    }
    shown(world, &address)
}

/// Its first route answers no more, so that the next example is alone.
fn gone(world: &World, name: &str) -> anyhow::Result<()> {
    let address = world.ringress_address()?;
    let (url, _) = answers(name)?.swap_remove(0);
    world.until(&format!("{url} is gone"), || Ok(fetch(world, &address, &url, None)?.status == 404))
}

fn fetch(world: &World, address: &str, url: &str, authority: Option<&str>) -> anyhow::Result<Answer> {
    match url.split_once("://") {
        Some(("https", _)) => get_tls(world, address, url, authority),
        Some((_, rest)) => {
            let (host, target) = rest.split_at(rest.find('/').context("a path")?);
            get(world, address, host, target)
        }
        None => bail!("{url} is no URL"),
    }
}

/// The address stands in the table of `kubectl get ingress`, and every Ingress was told that it is live.
fn shown(world: &World, address: &str) -> anyhow::Result<()> {
    let names = world.kubectl(&["get", "ingress", "-o", "jsonpath={.items[*].metadata.name}"])?;
    ensure!(!names.is_empty(), "there is no Ingress");
    for name in names.split_whitespace() {
        world.until(&format!("Ingress {name} shows {address}"), || {
            Ok(world.kubectl(&["get", "ingress", name])?.contains(address))
        })?;
        world.until(&format!("Ingress {name} has an Event Applied"), || {
            let of_it = format!("regarding.kind=Ingress,regarding.name={name}");
            let events = world.kubectl(&[
                "get",
                "events.v1.events.k8s.io",
                "--field-selector",
                &of_it,
                "-o",
                "json",
            ])?;
            let events: Value = serde_json::from_str(&events)?;
            let mut events = events["items"].as_array().into_iter().flatten();
            Ok(events.any(|event| event["reason"] == "Applied"))
        })?;
    }
    Ok(())
}

fn flattened(world: &World) -> anyhow::Result<()> {
    let file = deploy("examples/flattened/000-app-ingress.yaml");
    let refused =
        world.kubectl(&["apply", "-f", &file]).err().context("kubectl takes a flattened manifest")?;
    world.kubectl(&["apply", "-f", &deploy("examples/app-ingress/services.yaml")])?;
    world.backends()?;
    let _alone = every_host();
    let pipe = format!("ringress fmt {file} | kubectl --namespace {} apply -f -", world.namespace());
    world.exec(&["sh", "-c", &pipe]).with_context(|| format!("kubectl said before: {refused:#}"))?;
    let held = answered(world, "app-ingress");
    world.kubectl(&["delete", "ingress", "--all"])?;
    gone(world, "app-ingress")?;
    held
}

fn all(_: &World) -> anyhow::Result<()> {
    let cases: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(deploy("examples"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
        if folder.join("answers.txt").exists() {
            ensure!(cases.contains(&&*format!("seed_{name}")), "example {name} has no case here");
        }
    }
    Ok(())
}

/// The lines of `answers.txt`: a URL, and who answers it.
fn answers(example: &str) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(deploy(&format!("examples/{example}/answers.txt")))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (url, by) = line.split_once(' ').with_context(|| format!("{example}: {line}"))?;
            Ok((url.to_owned(), by.trim().to_owned()))
        })
        .collect()
}

fn host_of(url: &str) -> &str {
    let rest = url.split("://").nth(1).unwrap_or_default();
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// As the README of the example has it.
pub(crate) fn create_secret(world: &World, folder: &Path, name: &str, hosts: &[&str]) -> anyhow::Result<()> {
    let file = |kind: &str| folder.join(format!("{name}.{kind}")).display().to_string();
    let (certificate, key) = (file("crt"), file("key"));
    let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
    let [subject, alternatives] =
        [format!("/CN={}", hosts[0]), format!("subjectAltName={}", names.join(","))];
    let of =
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", &subject];
    let to = ["-addext", &alternatives, "-keyout", &key, "-out", &certificate];
    world.exec(&[&["openssl", "req", "-x509"], &of[..], &to].concat())?;
    let files = [format!("--cert={certificate}"), format!("--key={key}")];
    world.kubectl(&["create", "secret", "tls", name, &files[0], &files[1]]).map(drop)
}

/// The certificate of a Secret as a file: it signed itself, so it is its own authority.
pub(crate) fn authority(world: &World, folder: &Path, secret: &str) -> anyhow::Result<String> {
    let encoded = world.kubectl(&[
        "get",
        "secret",
        secret,
        "-o",
        "go-template={{index .data \"tls.crt\" | base64decode}}",
    ])?;
    let file = folder.join(format!("{secret}.crt"));
    std::fs::write(&file, encoded)?;
    Ok(file.display().to_string())
}
