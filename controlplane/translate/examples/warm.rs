//! How long one change takes among many objects, with a warm memo:
//! `cargo run --release -p ringress-translate --example warm -- 5000`

use std::time::{Duration, Instant};

use ringress_translate::manifest::parse;
use ringress_translate::{LastGood, Memo, Objects, Settings, translate};

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5000);
    let settings = Settings { watch_ingress_without_class: true, ..Settings::default() };
    let mut objects = Objects::default();
    (0..count).for_each(|number| put(&mut objects, &world(number, "/", "10.0.0.1")));
    let (mut memo, mut last_good) = (Memo::default(), LastGood::default());

    let begin = Instant::now();
    last_good = translate(&objects, &settings, &last_good, &mut memo).last_good;
    println!("{count} Ingresses, cold:            {:>10.3?}", begin.elapsed());

    let mut measure = |what: &str, path: &dyn Fn(usize) -> String, address: &dyn Fn(usize) -> String| {
        let mut times: Vec<Duration> = (0..200)
            .map(|round| {
                let number = round * 7919 % count;
                put(&mut objects, &world(number, &path(round), &address(round)));
                let begin = Instant::now();
                last_good = translate(&objects, &settings, &last_good, &mut memo).last_good;
                begin.elapsed()
            })
            .collect();
        times.sort();
        println!("{what:<28} p50 {:>10.3?}  p99 {:>10.3?}", times[100], times[197]);
    };
    measure("nothing changed:", &|_| "/".into(), &|_| "10.0.0.1".into());
    measure("one Ingress changed:", &|round| format!("/{round}"), &|_| "10.0.0.1".into());
    measure("one EndpointSlice changed:", &|round| format!("/{round}"), &|round| {
        format!("10.1.0.{}", round % 250 + 1)
    });
}

fn put(objects: &mut Objects, text: &str) {
    for document in parse("world.yaml", text).documents {
        objects.insert(document.object);
    }
}

fn world(number: usize, path: &str, address: &str) -> String {
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
metadata: {{name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints: [{{addresses: [{address}]}}]
"
    )
}
