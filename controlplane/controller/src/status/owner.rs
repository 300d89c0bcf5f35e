//! Whose a status is. Pure.
//!
//! The API server notes at every field who wrote it last (`metadata.managedFields`). Our writes carry a name that all replicas of
//! one election share and nobody else has, so what they wrote can be told from what others wrote when none of them is left: by
//! then no Service says which address it was, and no IngressClass which Ingresses.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::source::kube::plan::escape;

/// The name under which the replicas of one election write statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    name: String,
    /// What the names of all elections of our namespace begin with.
    beside: String,
}

/// Who wrote addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Author<'s> {
    Us,
    /// The replicas of another election of our namespace, by its Lease.
    Election(&'s str),
    Others,
}

/// Who wrote a part of an object: an entry of `metadata.managedFields`, as far as it is about addresses.
#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Signature {
    manager: String,
    subresource: String,
    fields_v1: Fields,
}

impl Owner {
    /// Those that elect a leader by this Lease. Names are cut to what the API takes, from the front: what tells two elections
    /// apart stands at the end.
    pub(super) fn new(namespace: &str, election_id: &str) -> Self {
        let name = format!("{namespace}/{election_id}");
        let length = MANAGER_BYTES_MAX - PREFIX.len();
        let start = (name.len().saturating_sub(length)..name.len()).find(|at| name.is_char_boundary(*at));
        let name = format!("{PREFIX}{}", &name[start.unwrap_or(0)..]);
        Self { name, beside: format!("{PREFIX}{namespace}/") }
    }

    /// The part of a query that signs a write.
    pub(super) fn query(&self) -> String {
        format!("fieldManager={}", escape(&self.name))
    }

    /// Who wrote the addresses that stand in a status last.
    pub(super) fn author<'s>(&self, signatures: &'s [Signature]) -> Author<'s> {
        let names = || signatures.iter().filter(|by| by.is_at_addresses()).map(|by| &*by.manager);
        if names().any(|name| name == self.name) {
            return Author::Us;
        }
        let lease = |name: &'s str| name.strip_prefix(&*self.beside).filter(|lease| !lease.is_empty());
        names().find_map(lease).map_or(Author::Others, Author::Election)
    }
}

/// The namespace and the Lease of the election, of whichever namespace, whose replicas wrote the addresses; `None` where others
/// did, and where the name was cut.
pub(super) fn election(signatures: &[Signature]) -> Option<(&str, &str)> {
    let names = signatures.iter().filter(|by| by.is_at_addresses()).map(|by| &*by.manager);
    let whole = names.filter(|name| name.len() < MANAGER_BYTES_MAX);
    whole.filter_map(|name| name.strip_prefix(PREFIX)?.split_once('/')).next()
}

impl Signature {
    /// Everybody who signed an object.
    pub(super) fn all(object: &Value) -> Vec<Self> {
        Vec::deserialize(&object["metadata"]["managedFields"]).unwrap_or_default()
    }

    fn is_at_addresses(&self) -> bool {
        self.subresource == "status" && self.fields_v1.status.balancer.addresses.is_some()
    }
}

/// `fieldsV1`, whose rest is not read: there are thousands of them in a list.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:status")]
    status: StatusFields,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct StatusFields {
    #[serde(rename = "f:loadBalancer")]
    balancer: BalancerFields,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct BalancerFields {
    #[serde(rename = "f:ingress")]
    addresses: Option<IgnoredAny>,
}

const PREFIX: &str = "ringress/";

/// The limit of the API.
const MANAGER_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_of_who_wrote_them_last() {
        let owner = Owner::new("ingress", "ringress-leader");
        let check = |manager: &str, subresource: &str, fields: Value, expected: Author<'_>| {
            let entry = json!({"manager": manager, "subresource": subresource, "fieldsV1": fields});
            let spec = json!({"manager": "kubectl", "fieldsV1": {"f:spec": {"f:rules": {}}}});
            let ingress = json!({"metadata": {"managedFields": [spec, entry]}});
            assert_eq!(owner.author(&Signature::all(&ingress)), expected, "{ingress}");
        };
        let addresses = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        check("ringress/ingress/ringress-leader", "status", addresses.clone(), Author::Us);
        check("ringress/ingress/before", "status", addresses.clone(), Author::Election("before"));
        check("ringress/ingress/", "status", addresses.clone(), Author::Others);
        check("ringress/other/ringress-leader", "status", addresses.clone(), Author::Others);
        check("nginx-ingress-controller", "status", addresses.clone(), Author::Others);
        check("ringress/ingress/ringress-leader", "", addresses, Author::Others);
        check("ringress/ingress/ringress-leader", "status", json!({"f:status": {}}), Author::Others);
        assert_eq!(owner.author(&Signature::all(&json!({"metadata": {}}))), Author::Others);
    }

    #[test]
    fn an_election_of_any_namespace_is_told_by_its_signature() {
        let check = |manager: &str, expected: Option<(&str, &str)>| {
            let fields = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
            let entry = json!({"manager": manager, "subresource": "status", "fieldsV1": fields});
            let ingress = json!({"metadata": {"managedFields": [entry]}});
            assert_eq!(election(&Signature::all(&ingress)), expected, "{manager}");
        };
        check("ringress/edge/edge-leader", Some(("edge", "edge-leader")));
        check("nginx-ingress-controller", None);
        check(&format!("ringress/{}", "/x".repeat(MANAGER_BYTES_MAX)), None);
    }

    #[test]
    fn a_name_fits_the_api_and_goes_into_a_query() {
        assert_eq!(Owner::new("a", "b").query(), "fieldManager=ringress%2Fa%2Fb");
        let long = |end: &str| Owner::new(&"n".repeat(63), &format!("{}{end}", "e".repeat(250)));
        assert_eq!(long("one").name.len(), MANAGER_BYTES_MAX);
        assert_ne!(long("one"), long("two"));
    }
}
