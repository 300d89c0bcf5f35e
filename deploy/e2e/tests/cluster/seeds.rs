//! The examples, which are the manifests of the seed articles, by `kubectl apply` as they stand: answered as `answers.txt`
//! beside each of them says, with the address in `kubectl get ingress` and an Event `Applied`. Those that lost their indentation
//! on a web page are refused as they stand, and do the same once `ringress fmt` has repaired them.
//!
//! They share hosts, and some take requests for any host, so one at a time has the box; Services, pods and Secrets of the others
//! are made meanwhile.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::Case;
use crate::client::{Answer, get, get_tls};
use crate::release::until_said;
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
    ("flattened_seed_app_ingress", |world| flattened(world, "app-ingress")),
    ("flattened_seed_path_based", |world| flattened(world, "path-based")),
    ("flattened_seed_virtual_hosts", |world| flattened(world, "virtual-hosts")),
    ("flattened_seed_tls", |world| flattened(world, "tls")),
    ("flattened_seed_versions", flattened_versions),
    ("no_example_is_left_out", all),
];

/// Examples whose manifests lost their indentation in an article, and which of them did.
const FLATTENED: [(&str, &[&str]); 5] = [
    ("app-ingress", &["000-app-ingress"]),
    ("path-based", &["001-my-application-ingress"]),
    ("virtual-hosts", &["001-virtual-host-ingress"]),
    ("tls", &["001-secure-ingress"]),
    ("versions", &["003-web-api", "003-app-ingress", "003-tls-secret", "003-api-route"]),
];

/// Secrets that the articles tell to create, and the hosts that they are for.
const SECRETS: [(&str, &str, &[&str]); 3] = [
    ("tls", "my-tls-secret", &["app.example.com"]),
    ("admin-path", "example-tls", &["example.com", "api.example.com"]),
    ("versions", "tls-secret", &["api.example.com"]),
];

/// Ingresses of the articles that ask for a rewrite, which is not served yet: whoever applied them is told.
const UNSERVED: [(&str, &str); 2] = [("path-based", "my-application-ingress"), ("versions", "app-ingress")];

fn example(world: &World, name: &str) -> anyhow::Result<()> {
    let folder = deploy(&format!("examples/{name}"));
    let services = || {
        let files = ["services.yaml", "web-api.yaml"].map(|file| format!("{folder}/{file}"));
        let mut files = files.iter().filter(|file| Path::new(file).exists());
        files.try_for_each(|file| world.kubectl(&["apply", "-f", file]).map(drop))
    };
    play(world, name, services, || {
        if name != "versions" {
            return world.kubectl(&["apply", "-f", &folder]).map(drop);
        }
        apply_class(world)?;
        // The article's Secret holds placeholders; the API server says so and takes the rest.
        let refused = world.kubectl(&["apply", "-f", &folder]).err();
        refuses_placeholders(&refused.context("placeholders of a Secret are no base64")?)
    })
}

/// Manifests of an example that lost their indentation: repaired, they are served as the example is.
fn flattened(world: &World, name: &str) -> anyhow::Result<()> {
    let files = FLATTENED.iter().find(|(example, _)| *example == name).context("an example")?.1;
    let services = || {
        let file = deploy(&format!("examples/{name}/services.yaml"));
        world.kubectl(&["apply", "-f", &file]).map(drop)
    };
    play(world, name, services, || files.iter().try_for_each(|file| apply_repaired(world, file)))
}

/// Of these, one is a Service, one is refused for its placeholders, and one is of a kind that this cluster does not have.
fn flattened_versions(world: &World) -> anyhow::Result<()> {
    let services = || {
        world.kubectl(&["apply", "-f", &deploy("examples/versions/services.yaml")])?;
        apply_repaired(world, "003-web-api")
    };
    play(world, "versions", services, || {
        apply_class(world)?;
        apply_repaired(world, "003-app-ingress")?;
        // The article has it with its indentation.
        world.kubectl(&["apply", "-f", &deploy("examples/versions/web-api-ingress.yaml")])?;
        let secret = apply_repaired(world, "003-tls-secret").err();
        refuses_placeholders(&secret.context("placeholders of a Secret are no base64")?)?;
        let route = apply_repaired(world, "003-api-route").err().context("there is no Gateway API here")?;
        ensure!(format!("{route:#}").contains("no matches for kind \"HTTPRoute\""), "{route:#}");
        Ok(())
    })
}

/// Applies the Services of an example, then the rest while nothing else claims requests for any host, and looks at what it
/// promises until it is removed again.
fn play(
    world: &World,
    name: &str,
    services: impl FnOnce() -> anyhow::Result<()>,
    rest: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    services()?;
    world.backends()?;
    let secrets = tempfile::tempdir()?;
    for (_, secret, hosts) in SECRETS.iter().filter(|(example, ..)| *example == name) {
        create_secret(world, secrets.path(), secret, hosts)?;
    }
    let _alone = every_host();
    let held = rest().and_then(|()| answered(world, name));
    world.kubectl(&["delete", "ingress", "--all"])?;
    gone(world, name)?;
    held
}

/// kubectl refuses what lost its indentation, and takes it once it is repaired.
fn apply_repaired(world: &World, file: &str) -> anyhow::Result<()> {
    let file = deploy(&format!("examples/flattened/{file}.yaml"));
    let refused = world.kubectl(&["apply", "-f", &file]).err();
    let refused = refused.with_context(|| format!("kubectl takes {file} as it stands"))?;
    let pipe = format!("ringress fmt {file} | kubectl --namespace {} apply -f -", world.namespace());
    let applied = world.exec(&["sh", "-c", &pipe]);
    applied.map(drop).with_context(|| format!("{file}; as it stands: {refused:#}"))
}

fn apply_class(world: &World) -> anyhow::Result<()> {
    world.kubectl(&["apply", "-f", &deploy("examples/with-endpoints/versions/class.yaml")]).map(drop)
}

fn refuses_placeholders(refused: &anyhow::Error) -> anyhow::Result<()> {
    let refused = format!("{refused:#}");
    ensure!(refused.contains("tls-secret") && refused.contains("base64"), "{refused}");
    Ok(())
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
    shown(world, &address)?;
    let mut unserved = UNSERVED.iter().filter(|(example, _)| *example == name);
    unserved.try_for_each(|(_, ingress)| until_said(world, ingress, "UnsupportedAnnotation"))
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
        until_said(world, name, "Applied")?;
    }
    Ok(())
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
    let repaired: Vec<&str> = FLATTENED.iter().flat_map(|(_, files)| *files).copied().collect();
    for entry in std::fs::read_dir(deploy("examples/flattened"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".yaml") {
            ensure!(repaired.contains(&name), "{name} is not repaired here");
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
