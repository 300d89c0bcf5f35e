mod support;
use std::fs; use std::sync::{Arc,Mutex}; use std::time::{Duration,Instant};
use ringress_controller::{Config, Controller, Source};
use ringress_translate::Settings;
fn man(i: usize, path: &str) -> String { format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: w{i}, namespace: shop}}\nspec:\n  ingressClassName: ringress\n  rules:\n  - host: h{i}.example.com\n    http:\n      paths:\n      - path: {path}\n        pathType: Prefix\n        backend: {{service: {{name: w{i}, port: {{number: 80}}}}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: w{i}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: w{i}, namespace: shop, labels: {{kubernetes.io/service-name: w{i}}}}}\naddressType: IPv4\nports: [{{port: 8000}}]\nendpoints: [{{addresses: [10.1.2.3], conditions: {{ready: true}}}}]\n") }
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
  for n in [1usize, 1000, 5000] {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..n { fs::write(dir.path().join(format!("w{i}.yaml")), man(i, "/")).unwrap(); }
    let (shards, events) = support::shards(2);
    let reports: Arc<Mutex<Vec<(u64, Duration, Instant)>>> = Arc::default();
    let r2 = reports.clone();
    let config = Config { source: Source::Folder(dir.path().to_owned()),
      settings: Settings { http: Some("127.0.0.1:0".parse().unwrap()), https: None, create_named_classes: true, ..Settings::default() },
      admin_address: None, health_address: None, drain_timeout: Duration::from_secs(1), shutdown_grace_period: Duration::ZERO, overlay: None,
      explain: Arc::new(|_, v| v), on_generation: Box::new(move |r| r2.lock().unwrap().push((r.generation, r.elapsed, Instant::now()))) };
    let t0 = Instant::now();
    let c = Controller::new(config, support::ports(&shards), events).unwrap();
    let (stop, stopped) = tokio::sync::mpsc::channel(1);
    let h = tokio::spawn(c.run_until(stopped));
    support::eventually(async || reports.lock().unwrap().len(), |l| *l > 0).await;
    println!("n={n} first {:?}", t0.elapsed());
    let mut all = vec![]; let mut el = vec![];
    for k in 0..100 {
      let t = Instant::now();
      fs::write(dir.path().join(".tmp"), man(k % n, &format!("/{k}x"))).unwrap();
      fs::rename(dir.path().join(".tmp"), dir.path().join(format!("w{}.yaml", k % n))).unwrap();
      let got = support::eventually(async || reports.lock().unwrap().last().copied(), |l| l.unwrap().0 >= k as u64 + 2).await.unwrap();
      all.push(got.2 - t); el.push(got.1);
      tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all.sort(); el.sort();
    println!("n={n} write->live p50 {:?} p95 {:?} p99 {:?}; elapsed p50 {:?} p99 {:?}", all[50], all[95], all[99], el[50], el[99]);
    stop.send(()).await.unwrap(); h.await.unwrap().unwrap();
  }
}
