//! Reads what stands in the statuses of Ingresses, page by page.

use std::collections::BTreeSet;

use kube::Client;
use ringress_translate::objects::Key;
use serde::Deserialize;
use serde_json::Value;

use super::address::{self, Address};
use super::api::{self, CALL};
use super::authors::Authors;
use super::decide::Known;
use super::owner::Signature;
use crate::source::kube::call::{self, Failure};
use crate::source::kube::plan::escape;

/// What stands in the statuses now, in all namespaces or in those that are watched. The objects that we keep have none.
pub(super) async fn read_statuses(
    client: &Client,
    watched: &BTreeSet<String>,
    authors: &mut Authors,
) -> Result<Vec<(Key, Known)>, Failure> {
    let everywhere = watched.is_empty().then(|| api::ingresses(None));
    let places = watched.iter().map(|namespace| api::ingresses(Some(namespace)));
    let mut statuses = Vec::new();
    authors.forget();
    for path in everywhere.into_iter().chain(places) {
        let mut next = Some(String::new());
        while let Some(token) = next {
            let page = read_page(client, &path, &token).await?;
            for item in page.items {
                statuses.push(known(item, authors).await?);
            }
            next = Some(page.metadata.r#continue).filter(|token| !token.is_empty());
        }
    }
    Ok(statuses)
}

async fn known(item: StatusItem, authors: &mut Authors) -> Result<(Key, Known), Failure> {
    let StatusItem { metadata, status } = item;
    let addresses = status.unwrap_or_default().addresses();
    let is_own = !addresses.is_empty() && authors.are_ours(&metadata.managed_fields).await?;
    let key = Key::new(&metadata.namespace, &metadata.name);
    Ok((key, Known { uid: metadata.uid, addresses, is_own }))
}

async fn read_page(client: &Client, path: &str, token: &str) -> Result<StatusPage, Failure> {
    let mut path = format!("{path}?limit=500");
    if !token.is_empty() {
        path = format!("{path}&continue={}", escape(token));
    }
    let answer = call::get(client, &path, CALL).await?;
    let body = call::whole(answer, CALL).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::Broken(format!("a list has no sense: {error}")))
}

/// A page of Ingresses, of which only the statuses are read and who wrote them: thousands of them would weigh more than all that we keep.
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

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ItemMetadata {
    namespace: String,
    name: String,
    uid: String,
    managed_fields: Vec<Signature>,
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
