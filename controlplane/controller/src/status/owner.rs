//! Whose a status is. Pure.
//!
//! The API server notes at every field who wrote it last (`metadata.managedFields`). Our writes carry a name that all replicas of
//! one election share and nobody else has, so what they wrote can be told from what others wrote when none of them is left: by
//! then no Service says which address it was, and no IngressClass which Ingresses.

use serde_json::Value;

use crate::source::kube::plan::escape;

/// The name under which the replicas of one election write statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner(String);

impl Owner {
    /// Those that elect a leader by this Lease. Names are cut to what the API takes, from the front: what tells two elections
    /// apart stands at the end.
    pub(super) fn new(namespace: &str, election_id: &str) -> Self {
        let name = format!("{namespace}/{election_id}");
        let length = MANAGER_BYTES_MAX - PREFIX.len();
        let start = (name.len().saturating_sub(length)..name.len()).find(|at| name.is_char_boundary(*at));
        Self(format!("{PREFIX}{}", &name[start.unwrap_or(0)..]))
    }

    /// The part of a query that signs a write.
    pub(super) fn query(&self) -> String {
        format!("fieldManager={}", escape(&self.0))
    }

    /// Whether the addresses in the status of an Ingress are the last that we wrote.
    pub(super) fn wrote_addresses(&self, ingress: &Value) -> bool {
        let entries = ingress["metadata"]["managedFields"].as_array();
        entries.into_iter().flatten().any(|entry| {
            entry["manager"] == self.0
                && entry["subresource"] == "status"
                && entry["fieldsV1"].pointer("/f:status/f:loadBalancer/f:ingress").is_some()
        })
    }
}

const PREFIX: &str = "ringress/";

/// The limit of the API.
const MANAGER_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_ours_where_we_wrote_them_last() {
        let owner = Owner::new("ingress", "ringress-leader");
        let check = |manager: &str, subresource: &str, fields: Value, expected: bool| {
            let entry = json!({"manager": manager, "subresource": subresource, "fieldsV1": fields});
            let spec = json!({"manager": "kubectl", "fieldsV1": {"f:spec": {}}});
            let ingress = json!({"metadata": {"managedFields": [spec, entry]}});
            assert_eq!(owner.wrote_addresses(&ingress), expected, "{ingress}");
        };
        let addresses = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        check("ringress/ingress/ringress-leader", "status", addresses.clone(), true);
        check("ringress/other/ringress-leader", "status", addresses.clone(), false);
        check("nginx-ingress-controller", "status", addresses.clone(), false);
        check("ringress/ingress/ringress-leader", "", addresses, false);
        check("ringress/ingress/ringress-leader", "status", json!({"f:status": {}}), false);
        assert!(!owner.wrote_addresses(&json!({"metadata": {}})));
    }

    #[test]
    fn a_name_fits_the_api_and_goes_into_a_query() {
        assert_eq!(Owner::new("a", "b").query(), "fieldManager=ringress%2Fa%2Fb");
        let long = |end: &str| Owner::new(&"n".repeat(63), &format!("{}{end}", "e".repeat(250)));
        assert_eq!(long("one").0.len(), MANAGER_BYTES_MAX);
        assert_ne!(long("one"), long("two"));
    }
}
