//! `ringress backends`: the Services behind rules, who is behind them, and what the shards know of those.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::args::{Output, Tell};
use crate::ask::{self, Listed, Selection, Voice};
use crate::terminal::{Style, escaped, table};

/// Lists them; 3 where a ready replica cannot be asked.
///
/// # Errors
/// No replica can be asked.
pub(crate) fn run(tell: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async { Ok(ask::list::<List>(tell, "/backends").await?.1) })
}

#[derive(Debug, Deserialize)]
struct Page {
    /// Shards that did not tell in time.
    #[serde(default)]
    silent: Vec<usize>,
    backends: Vec<Backend>,
    #[serde(default)]
    missing: Vec<Missing>,
}

/// A Service, or a port of one, that a rule names in vain.
#[derive(Debug, Serialize, Deserialize)]
struct Missing {
    kind: String,
    namespace: String,
    name: String,
    field: String,
    reason: String,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Backend {
    id: String,
    namespace: String,
    service: String,
    port: String,
    protocol: String,
    balance: String,
    /// What is not there of what rules name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent: Option<String>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Endpoint {
    address: String,
    target: Option<String>,
    state: String,
    /// Whether requests go there.
    chosen: bool,
    /// Where it is in use, fails or is left out.
    #[serde(default)]
    shards: Vec<Load>,
}

/// What one shard of one replica knows of an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Load {
    #[serde(default)]
    replica: String,
    shard: usize,
    in_flight: u32,
    /// In a row.
    failures: u32,
    /// `null`: it is not left out.
    ejected_s: Option<f64>,
}

/// What some replicas balance over; its JSON shape is stable.
#[derive(Debug, Serialize)]
struct List {
    replicas: Vec<String>,
    /// Shards that did not tell what they know of endpoints.
    silent: Vec<Silent>,
    backends: Vec<Backend>,
    missing: Vec<Missing>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Silent {
    replica: String,
    shard: usize,
}

impl Listed for List {
    fn of(Voice { replicas, says }: Voice, selection: &Selection) -> serde_json::Result<Self> {
        let mut backends: Vec<Backend> = Vec::new();
        let mut missing: Vec<Missing> = Vec::new();
        let mut silent = Vec::new();
        let mut loads: BTreeMap<(String, String), Vec<Load>> = BTreeMap::new();
        for (replica, page) in replicas.iter().zip(says) {
            let mut page: Page = serde_json::from_value(page)?;
            silent.extend(page.silent.into_iter().map(|shard| Silent { replica: replica.clone(), shard }));
            for backend in &mut page.backends {
                for endpoint in &mut backend.endpoints {
                    let own = endpoint.shards.drain(..).map(|load| Load { replica: replica.clone(), ..load });
                    loads.entry((backend.id.clone(), endpoint.address.clone())).or_default().extend(own);
                }
            }
            // They say the same of these: that is what makes them one voice.
            missing = page.missing;
            if backends.is_empty() {
                backends = page.backends;
            }
        }
        missing.retain(|missing| selection.takes(&missing.namespace));
        backends.retain(|backend| selection.takes(&backend.namespace));
        for backend in &mut backends {
            for endpoint in &mut backend.endpoints {
                let known = loads.remove(&(backend.id.clone(), endpoint.address.clone()));
                endpoint.shards = known.unwrap_or_default();
            }
        }
        Ok(Self { replicas, silent, backends, missing })
    }

    fn text(&self, output: Output, is_one_of_many: bool) -> String {
        if output == Output::Name {
            let name = |backend: &Backend| format!("service/{}\n", backend.service);
            return self.backends.iter().map(name).collect();
        }
        let is_wide = output == Output::Wide;
        let mut head = vec!["NAMESPACE", "SERVICE", "PORT", "ENDPOINT", "POD", "IN FLIGHT", "STATE"];
        if is_wide {
            head.extend(["PROTOCOL", "BALANCE"]);
        }
        let title = if is_one_of_many { format!("{}\n", self.replicas.join(", ")) } else { String::new() };
        let rows = self.backends.iter().flat_map(|backend| backend.rows(is_wide));
        let silent = self.silent.iter().map(|Silent { replica, shard }| {
            format!("shard {shard} of {replica} does not tell: what it has in flight or leaves out is missing above\n")
        });
        let style = Style::of_stdout();
        let missing = self.missing.iter().map(|Missing { kind, namespace, name, field, reason, message }| {
            let said = format!("{kind} {namespace}/{name} {field}: {reason}: {message}");
            format!("{}  {}\n", style.bad("missing"), escaped(&said))
        });
        let table = table(&head, rows);
        format!("{title}{table}{}{}", missing.collect::<String>(), silent.collect::<String>())
    }
}

impl Backend {
    /// One for each endpoint; one that says so where there is none.
    fn rows(&self, is_wide: bool) -> Vec<Vec<String>> {
        let row = |endpoint: &str, pod: &str, in_flight: &str, state: &str| {
            let cells = [&*self.namespace, &self.service, &self.port, endpoint, pod, in_flight, state];
            let mut cells: Vec<String> = cells.map(str::to_owned).into();
            if is_wide {
                cells.extend([self.protocol.clone(), self.balance.clone()]);
            }
            cells
        };
        if self.endpoints.is_empty() {
            let why = self.absent.as_deref().unwrap_or("none");
            return vec![row("-", "-", "-", &format!("{why}: requests are answered with 503"))];
        }
        let of = |endpoint: &Endpoint| {
            let in_flight: u32 = endpoint.shards.iter().map(|load| load.in_flight).sum();
            let in_flight = if endpoint.chosen { in_flight.to_string() } else { "-".to_owned() };
            row(
                &endpoint.address,
                endpoint.target.as_deref().unwrap_or("-"),
                &in_flight,
                &endpoint.described(),
            )
        };
        self.endpoints.iter().map(of).collect()
    }
}

impl Endpoint {
    /// Its state, and who has trouble with it.
    fn described(&self) -> String {
        let mut parts = vec![match (self.chosen, &*self.state) {
            (true, "ready" | "given") => self.state.clone(),
            (true, state) => format!("{state}, in use"),
            (false, "ready") => "ready, not in use".to_owned(),
            (false, state) => state.to_owned(),
        }];
        let named = |shards: Vec<&Load>| {
            let names = shards.iter().map(|load| match load.replica.is_empty() {
                true => load.shard.to_string(),
                false => format!("{}/{}", load.replica, load.shard),
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let (out, here): (Vec<_>, Vec<_>) = self.shards.iter().partition(|load| load.ejected_s.is_some());
        let failing: Vec<&Load> = here.into_iter().filter(|load| load.failures > 0).collect();
        if !out.is_empty() {
            let longest = out.iter().filter_map(|load| load.ejected_s).fold(0.0, f64::max);
            parts.push(format!("left out by shard {} for {longest:.1} s", named(out)));
        }
        if !failing.is_empty() {
            parts.push(format!("fails on shard {}", named(failing)));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoint(address: &str, state: &str, chosen: bool, shards: &Value) -> Value {
        json!({"address": address, "target": "pod", "state": state, "chosen": chosen, "shards": shards})
    }

    fn backend(namespace: &str, endpoints: &[Value]) -> Value {
        json!({
            "id": namespace, "namespace": namespace, "service": "web", "port": "80", "protocol": "Http1",
            "balance": "RoundRobin", "endpoints": endpoints,
        })
    }

    fn cells(list: &List) -> Vec<Vec<String>> {
        let text = list.text(Output::Text, false);
        let cells = |line: &str| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        text.lines().map(cells).collect()
    }

    #[test]
    fn every_endpoint_has_its_state_and_none_says_so() {
        let idle = json!([]);
        let mut without_port = backend("c", &[]);
        without_port["absent"] = json!("no such port");
        let says = json!({"backends": [
            backend("a", &[
                endpoint("10.0.0.1:80", "ready", true, &idle),
                endpoint("10.0.0.2:80", "terminating", true, &idle),
                endpoint("10.0.0.3", "not ready", false, &idle),
            ]),
            backend("b", &[]),
            without_port,
        ]});
        let voice = |says: &Value| Voice { replicas: vec!["r/a".to_owned()], says: vec![says.clone()] };
        let lines = cells(&List::of(voice(&says), &Selection::All).unwrap());
        assert_eq!(lines[1][3..], ["10.0.0.1:80", "pod", "0", "ready"]);
        assert_eq!(lines[2][3..], ["10.0.0.2:80", "pod", "0", "terminating, in use"]);
        assert_eq!(lines[3][3..], ["10.0.0.3", "pod", "-", "not ready"]);
        assert_eq!(lines[4][3..], ["-", "-", "-", "none: requests are answered with 503"]);
        assert_eq!(lines[5][3..], ["-", "-", "-", "no such port: requests are answered with 503"]);
        let one = List::of(voice(&says), &Selection::Namespace("b".to_owned())).unwrap();
        assert_eq!(one.text(Output::Name, false), "service/web\n");
    }

    #[test]
    fn what_rules_name_in_vain_is_named() {
        let missing = json!([{
            "kind": "Ingress", "namespace": "a", "name": "web", "field": "spec.rules[0].http.paths[0]",
            "reason": "PortNotFound", "message": "Service a/web has no port 81",
        }]);
        let says = json!({"backends": [], "missing": missing});
        let voice = || Voice { replicas: vec!["r/a".to_owned()], says: vec![says.clone()] };
        let text = List::of(voice(), &Selection::All).unwrap().text(Output::Text, false);
        let line = "missing  Ingress a/web spec.rules[0].http.paths[0]: PortNotFound: Service a/web has no port 81\n";
        assert!(text.ends_with(line), "{text}");
        let other = List::of(voice(), &Selection::Namespace("b".to_owned())).unwrap();
        assert!(!other.text(Output::Text, false).contains("missing"));
    }

    #[test]
    fn what_the_shards_of_all_replicas_know_stands_in_one_row() {
        let load = |shard: usize, in_flight: u32, failures: u32, ejected: Option<f64>| json!({"shard": shard, "in_flight": in_flight, "failures": failures, "ejected_s": ejected});
        let says = |loads: Value, silent: Value| json!({"silent": silent, "backends": [backend("a", &[endpoint("10.0.0.1:80", "ready", true, &loads)])]});
        let one = says(json!([load(0, 2, 0, None), load(1, 1, 0, Some(3.25))]), json!([]));
        let two = says(json!([load(1, 4, 2, None)]), json!([0]));
        let voice = Voice { replicas: vec!["r/a".to_owned(), "r/b".to_owned()], says: vec![one, two] };
        let list = List::of(voice, &Selection::All).unwrap();
        let lines = cells(&list);
        let state = "ready; left out by shard r/a/1 for 3.2 s; fails on shard r/b/1";
        assert_eq!(lines[1][3..], ["10.0.0.1:80", "pod", "7", state]);
        assert!(lines[2][0].starts_with("shard 0 of r/b does not tell"), "{lines:?}");
        let json = serde_json::to_value(&list).unwrap();
        let load = &json["backends"][0]["endpoints"][0]["shards"][2];
        assert_eq!(
            (&load["replica"], &load["shard"], &load["in_flight"]),
            (&json!("r/b"), &json!(1), &json!(4))
        );
    }
}
