//! `ringress backends`: the Services behind rules, and who is behind them.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{Output, Tell};
use crate::ask::{self, Gathered, Selection, Target, Voice};
use crate::terminal::{self, table};

/// Lists them; 3 where a ready replica cannot be asked.
///
/// # Errors
/// No replica can be asked.
pub(crate) fn run(Tell { asked, output }: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let target = Target::open(asked).await?;
        let gathered = Gathered::<Value>::ask(target.serving().await?, "/backends").await?;
        let conclusion = gathered.conclude();
        let answers = gathered.answers.into_iter().map(|(replica, says)| (replica.name, says));
        let lists = ask::voices(answers).into_iter().map(|voice| List::of(voice, target.selection()));
        let lists: Vec<List> = lists.collect::<Result<_, _>>()?;
        let text = || lists.iter().map(|list| list.text(output, lists.len() > 1)).collect::<String>();
        terminal::print(&terminal::structured(output, &lists)?.unwrap_or_else(text));
        Ok(conclusion)
    })
}

#[derive(Debug, Deserialize)]
struct Page {
    backends: Vec<Backend>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Backend {
    id: String,
    namespace: String,
    service: String,
    port: String,
    protocol: String,
    balance: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Endpoint {
    address: String,
    target: Option<String>,
    state: String,
    /// Whether requests go there.
    chosen: bool,
}

/// What some replicas balance over; its JSON shape is stable.
#[derive(Debug, Serialize)]
struct List {
    replicas: Vec<String>,
    backends: Vec<Backend>,
}

impl List {
    fn of(Voice { replicas, says }: Voice, selection: &Selection) -> serde_json::Result<Self> {
        let Page { mut backends } = serde_json::from_value(says)?;
        backends.retain(|backend| selection.takes(&backend.namespace));
        Ok(Self { replicas, backends })
    }

    fn text(&self, output: Output, is_one_of_many: bool) -> String {
        if output == Output::Name {
            let name = |backend: &Backend| format!("service/{}\n", backend.service);
            return self.backends.iter().map(name).collect();
        }
        let is_wide = output == Output::Wide;
        let mut head = vec!["NAMESPACE", "SERVICE", "PORT", "ENDPOINT", "POD", "STATE"];
        if is_wide {
            head.extend(["PROTOCOL", "BALANCE"]);
        }
        let title = if is_one_of_many { format!("{}\n", self.replicas.join(", ")) } else { String::new() };
        let rows = self.backends.iter().flat_map(|backend| backend.rows(is_wide));
        format!("{title}{}", table(&head, rows))
    }
}

impl Backend {
    /// One for each endpoint; one that says so where there is none.
    fn rows(&self, is_wide: bool) -> Vec<Vec<String>> {
        let row = |endpoint: &str, pod: &str, state: &str| {
            let mut cells: Vec<String> =
                [&*self.namespace, &self.service, &self.port, endpoint, pod, state].map(str::to_owned).into();
            if is_wide {
                cells.extend([self.protocol.clone(), self.balance.clone()]);
            }
            cells
        };
        if self.endpoints.is_empty() {
            return vec![row("-", "-", "none: requests are answered with 503")];
        }
        let of = |endpoint: &Endpoint| {
            let state = match (endpoint.chosen, &*endpoint.state) {
                (true, "ready" | "given") => endpoint.state.clone(),
                (true, state) => format!("{state}, in use"),
                (false, "ready") => "ready, not in use".to_owned(),
                (false, state) => state.to_owned(),
            };
            row(&endpoint.address, endpoint.target.as_deref().unwrap_or("-"), &state)
        };
        self.endpoints.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_endpoint_has_its_state_and_none_says_so() {
        let endpoint = |address: &str, state: &str, chosen: bool| json!({"address": address, "target": "pod", "state": state, "chosen": chosen});
        let backend = |namespace: &str, endpoints: Value| {
            json!({
                "id": "1", "namespace": namespace, "service": "web", "port": "80", "protocol": "Http1", "balance": "RoundRobin",
                "endpoints": endpoints,
            })
        };
        let says = json!({"backends": [
            backend("a", json!([
                endpoint("10.0.0.1:80", "ready", true),
                endpoint("10.0.0.2:80", "terminating", true),
                endpoint("10.0.0.3", "not ready", false),
            ])),
            backend("b", json!([])),
        ]});
        let voice = |says: &Value| Voice { replicas: Vec::new(), says: says.clone() };
        let all = List::of(voice(&says), &Selection::All).unwrap();
        let text = all.text(Output::Text, false);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[1][3..], ["10.0.0.1:80", "pod", "ready"]);
        assert_eq!(lines[2][3..], ["10.0.0.2:80", "pod", "terminating, in use"]);
        assert_eq!(lines[3][3..], ["10.0.0.3", "pod", "not ready"]);
        assert_eq!(lines[4][3..], ["-", "-", "none: requests are answered with 503"]);
        let one = List::of(voice(&says), &Selection::Namespace("b".to_owned())).unwrap();
        assert_eq!(one.text(Output::Name, false), "service/web\n");
    }
}
