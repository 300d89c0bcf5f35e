//! The pages of the admin.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ringress_shared::metric::EndpointLoad;
use serde_json::{Value, json};

use crate::support::{eventually, get, post};
use crate::{Running, manifest};

#[tokio::test]
async fn the_generation_page_shows_what_is_published_and_what_each_shard_has() {
    let running = Running::new().await;
    assert_eq!(get(running.admin, "/generation").await.json(), json!({"generation": 1, "shards": [1, 1]}));
    running.shards[1].obedient.store(false, Ordering::SeqCst);
    running.write("api.yaml", &manifest("api", "/api"));
    let page =
        eventually(async || get(running.admin, "/generation").await.json(), |page| page["shards"][0] == 2)
            .await;
    assert_eq!(page, json!({"generation": 2, "shards": [2, 1]}));
    running.shards[1].obey();
    let report = running.report(2).await;
    assert_eq!(report.generation, 2);
    assert_eq!(get(running.admin, "/generation").await.json(), json!({"generation": 2, "shards": [2, 2]}));
}

#[tokio::test]
async fn the_health_address_serves_health_and_metrics_only() {
    let running = Running::new().await;
    for path in ["/healthz", "/livez", "/readyz", "/metrics"] {
        assert_eq!(get(running.health, path).await.status, 200, "{path}");
    }
    for path in ["/version", "/generation", "/routes", "/explain", "/"] {
        assert_eq!(get(running.health, path).await.status, 404, "{path}");
    }
    assert_eq!(get(running.admin, "/version").await.json(), json!({"version": "0.1.0"}));
}

#[tokio::test]
async fn explain_asks_the_closure_about_the_newest_generation() {
    let running = Running::new().await;
    let answer = post(running.admin, "/explain", r#"{"url": "http://shop.example.com/"}"#).await;
    assert_eq!(answer.json(), json!({"generation": 1, "asked": "http://shop.example.com/"}));
    let no_json = post(running.admin, "/explain", "{").await;
    assert_eq!((no_json.status, &no_json.json()["field"]), (400, &json!("body")), "{}", no_json.body);
    let no_url = post(running.admin, "/explain", "{}").await;
    assert_eq!((no_url.status, no_url.json()), (400, json!({"field": "url", "error": "is missing"})));
    assert_eq!(post(running.admin, "/explain", r#"{"url": "panic"}"#).await.status, 500);
    assert_eq!(get(running.admin, "/explain").await.status, 405);
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "a panic costs one answer");
}

#[tokio::test]
async fn a_question_whose_body_does_not_come_is_refused() {
    let running = Running::new().await;
    let ask = async |page: &str| {
        let mut stream = tokio::net::TcpStream::connect(running.admin).await.unwrap();
        let head = format!(
            "POST {page} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{{"
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("never refused").unwrap();
        answer
    };
    let (explain, applied) = tokio::join!(ask("/explain"), ask("/applied"));
    for answer in [explain, applied] {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[tokio::test]
async fn the_routes_page_lists_what_the_shards_serve() {
    let running = Running::new().await;
    running.report(1).await;
    let page = get(running.admin, "/routes").await.json();
    let [route] = &page["routes"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&page["generation"], &page["problems"]), (&json!(1), &json!([])));
    assert_eq!(
        (&route["host"], &route["path"], &route["path_type"]),
        (&json!("shop.example.com"), &json!("/"), &json!("Prefix"))
    );
    assert_eq!(route["rule"]["kind"], "Ingress");
    assert_eq!((&route["rule"]["namespace"], &route["rule"]["name"]), (&json!("shop"), &json!("web")));
    let upstream = &route["backends"][0]["upstream"];
    assert_eq!((&upstream["service"], &upstream["port"]), (&json!("web"), &json!("80")));
    assert_eq!(upstream["endpoints"], json!(["10.1.2.3:8000"]));
}

#[tokio::test]
async fn the_backends_page_tells_what_each_shard_knows_of_an_endpoint() {
    let running = Running::new().await;
    running.report(1).await;
    let page = get(running.admin, "/backends").await.json();
    let endpoint = &page["backends"][0]["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["shards"]), (&json!("10.1.2.3:8000"), &Value::Null));
    let serving = running.shards[0].serving.lock().unwrap().clone().unwrap();
    let upstream = serving.upstreams.values().next().unwrap();
    *running.shards[1].loads.lock().unwrap() = vec![EndpointLoad {
        upstream: upstream.id,
        endpoint: upstream.endpoints.endpoints[0].id,
        in_flight: 3,
        failures: 1,
        ejected: Some(Duration::from_millis(1500)),
    }];
    let page = get(running.admin, "/backends").await.json();
    let expected = json!([{"shard": 1, "in_flight": 3, "failures": 1, "ejected_s": 1.5}]);
    assert_eq!(page["backends"][0]["endpoints"][0]["shards"], expected);
}

#[tokio::test]
async fn the_routes_page_says_what_is_wrong_and_what_is_done_in_spite_of_it() {
    let running = Running::new().await;
    running.report(1).await;
    let of_nobody =
        manifest("web", "/").replace("name: web\n            port", "name: nobody\n            port");
    running.write("web.yaml", &of_nobody);
    running.write("broken.yaml", "kind: [\n");
    let page = eventually(
        async || get(running.admin, "/routes").await.json(),
        |page| page["problems"].as_array().is_some_and(|problems| problems.len() == 2),
    )
    .await;
    let [file, ingress] = &page["problems"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&file["kind"], &file["name"]), (&json!("File"), &json!("broken.yaml")));
    assert!(file["problems"][0]["place"].as_str().unwrap().starts_with("broken.yaml:"), "{page}");
    assert_eq!(
        (&ingress["kind"], &ingress["namespace"], &ingress["name"]),
        (&json!("Ingress"), &json!("shop"), &json!("web"))
    );
    let problem = &ingress["problems"][0];
    assert_eq!(
        (&problem["level"], &problem["reason"], &problem["action"]),
        (
            &json!("error"),
            &json!("BackendNotFound"),
            &json!("requests to this backend are answered with 503")
        )
    );
    assert_eq!(problem["field"], "spec.rules[0].http.paths[0].backend.service.name");
    assert!(problem["message"].as_str().unwrap().contains("shop/nobody"), "{page}");
}
