//! Reads what stands in the statuses of Ingresses, page by page.

use std::collections::BTreeSet;

use kube::Client;
use ringress_translate::objects::Key;
use serde::Deserialize;
use serde_json::Value;

use super::address::{self, Address};
use super::api::CALL;
use super::decide::Known;
use crate::live::View;
use crate::source::kube::call::{self, Failure};
use crate::source::kube::plan::escape;

/// What stands in the statuses now. The objects that we keep have none.
pub(super) async fn read_statuses(client: &Client, view: &View) -> Result<Vec<(Key, Known)>, Failure> {
    let mut statuses = Vec::new();
    let namespaces: BTreeSet<&str> = view.objects.ingresses.keys().map(|key| &*key.namespace).collect();
    for namespace in namespaces {
        let mut next = Some(String::new());
        while let Some(token) = next {
            let page = read_page(client, namespace, &token).await?;
            for StatusItem { metadata, status } in page.items {
                let addresses = status.unwrap_or_default().addresses();
                statuses.push((Key::new(namespace, &metadata.name), Known { uid: metadata.uid, addresses }));
            }
            next = Some(page.metadata.r#continue).filter(|token| !token.is_empty());
        }
    }
    Ok(statuses)
}

async fn read_page(client: &Client, namespace: &str, token: &str) -> Result<StatusPage, Failure> {
    let mut path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?limit=500");
    if !token.is_empty() {
        path = format!("{path}&continue={}", escape(token));
    }
    let answer = call::get(client, &path, CALL).await?;
    let body = call::whole(answer, CALL).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::Broken(format!("a list has no sense: {error}")))
}

/// A page of Ingresses, of which only the statuses are read: thousands of them would weigh more than all that we keep.
#[derive(Deserialize)]
struct StatusPage {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<StatusItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMetadata {
    r#continue: String,
}

#[derive(Deserialize)]
struct StatusItem {
    metadata: ItemMetadata,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct ItemMetadata {
    name: String,
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: Balancer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Balancer {
    ingress: Option<Vec<Entry>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    ip: Option<String>,
    hostname: Option<String>,
}

impl Status {
    fn addresses(self) -> Vec<Address> {
        let entries = self.load_balancer.ingress.unwrap_or_default();
        address::sorted(entries.into_iter().filter_map(|entry| entry.ip.or(entry.hostname)))
    }
}

/// The addresses in the status of one Ingress.
pub(super) fn addresses_of(ingress: &Value) -> Vec<Address> {
    Status::deserialize(&ingress["status"]).unwrap_or_default().addresses()
}
