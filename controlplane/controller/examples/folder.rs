//! How long one changed file takes among many, from its hint to the objects:
//! `cargo run --release -p ringress-controller --example folder -- 1000`

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_controller::source::Source;
use ringress_translate::manifest::Folder;

const ROUNDS: usize = 100;

fn main() -> io::Result<()> {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    measure("Folder::update, one text changed:", updates(count));
    let dir = std::env::temp_dir().join(format!("ringress-folder-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let measured = changes(&dir, count);
    std::fs::remove_dir_all(&dir)?;
    measure("from a rename to its Change:", measured?);
    Ok(())
}

/// The pure part alone.
fn updates(count: usize) -> Vec<Duration> {
    let mut folder = Folder::new();
    let mut files: BTreeMap<String, Arc<str>> =
        (0..count).map(|number| (name(number), world(number, "/").into())).collect();
    let begin = Instant::now();
    folder.update(files.clone());
    println!("{count} files, the first update: {:>26.3?}", begin.elapsed());
    let round = |round: usize| {
        let number = round * 7919 % count;
        files.insert(name(number), world(number, &format!("/{round}")).into());
        let files = files.clone();
        let begin = Instant::now();
        // Dropping what was known before is a part of every change.
        drop(folder.update(files));
        begin.elapsed()
    };
    (0..ROUNDS).map(round).collect()
}

/// The whole source: inotify, reading, comparing, the pure part, the way to the control loop.
fn changes(dir: &Path, count: usize) -> io::Result<Vec<Duration>> {
    for number in 0..count {
        std::fs::write(dir.join(name(number)), world(number, "/"))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_first, mut changes) =
        runtime.block_on(Source::Folder(dir.to_owned()).open()).map_err(io::Error::other)?;
    let round = |round: usize| {
        // After the look at everything that follows every change.
        std::thread::sleep(Duration::from_millis(350));
        let number = round * 7919 % count;
        let beside = dir.join("beside.new");
        std::fs::write(&beside, world(number, &format!("/{round}")))?;
        let begin = Instant::now();
        std::fs::rename(&beside, dir.join(name(number)))?;
        changes.blocking_recv().ok_or_else(|| io::Error::other("the source ended"))?;
        Ok(begin.elapsed())
    };
    (0..ROUNDS / 4).map(round).collect()
}

fn measure(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what:<38} p50 {:>10.3?}  p99 {:>10.3?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

fn name(number: usize) -> String {
    format!("{number:05}.yaml")
}

fn world(number: usize, path: &str) -> String {
    format!(
        "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: i{number}}}
spec:
  rules:
    - host: h{number}.example.com
      http:
        paths:
          - {{path: {path}, pathType: Prefix, backend: {{service: {{name: s{number}, port: {{number: 80}}}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: s{number}}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{number}-1, labels: {{kubernetes.io/service-name: s{number}}}}}
addressType: IPv4
ports: [{{port: 8000}}]
endpoints: [{{addresses: [10.0.0.1]}}]
"
    )
}
