//! `ringress certs`: which certificate is shown for which host, until when, and which are missing.

use std::process::ExitCode;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::args::{Output, Tell};
use crate::ask::{self, Listed, Selection, Voice};
use crate::terminal::{Style, escaped, table};

/// Lists them; 1 where one is missing, has ended or is only the last good one, 3 where a ready replica cannot be asked.
///
/// # Errors
/// No replica can be asked.
pub(crate) fn run(tell: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let (lists, conclusion) = ask::list::<List>(tell, "/certificates").await?;
        let is_wrong = lists.iter().any(List::is_wrong);
        Ok(if is_wrong { ExitCode::FAILURE } else { conclusion })
    })
}

/// What a process says of its certificates.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) missing: Vec<Missing>,
}

impl Page {
    /// What is of these namespaces; the generated certificate is of none, and always meant.
    pub(crate) fn of(mut self, selection: &Selection) -> Self {
        self.certificates.retain(|found| selection.takes(found.namespace.as_deref().unwrap_or_default()));
        self.missing.retain(|missing| selection.takes(&missing.namespace));
        self
    }
}

/// A certificate for one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) host: String,
    /// `null` for the generated default certificate.
    pub(crate) namespace: Option<String>,
    pub(crate) secret: Option<String>,
    names: Vec<String>,
    issuer: String,
    not_before: String,
    pub(crate) not_after: String,
    pub(crate) not_after_s: i64,
    shown_since: Option<String>,
    fingerprint: String,
    /// What is wrong with the newest version, where this is the last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_good: Option<String>,
}

/// A certificate that is named and not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    field: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What some replicas show; its JSON shape is stable.
#[derive(Debug, Serialize)]
struct List {
    replicas: Vec<String>,
    certificates: Vec<Certificate>,
    missing: Vec<Missing>,
}

impl List {
    fn is_wrong(&self) -> bool {
        !self.missing.is_empty() || self.certificates.iter().any(Certificate::is_wrong)
    }
}

impl Listed for List {
    fn of(voice: Voice, selection: &Selection) -> serde_json::Result<Self> {
        let page: Page = serde_json::from_value(voice.first())?;
        let Page { certificates, missing } = page.of(selection);
        Ok(Self { replicas: voice.replicas, certificates, missing })
    }

    fn text(&self, output: Output, is_one_of_many: bool) -> String {
        if output == Output::Name {
            return self.certificates.iter().map(|found| format!("{}\n", found.host)).collect();
        }
        let is_wide = output == Output::Wide;
        let mut head = vec!["HOST", "SECRET", "ENDS", "DAYS", "ISSUER", "SHOWN SINCE"];
        if is_wide {
            head.extend(["NAMES", "FINGERPRINT"]);
        }
        let mut text = if is_one_of_many { format!("{}\n", self.replicas.join(", ")) } else { String::new() };
        text.push_str(&table(&head, self.certificates.iter().map(|found| found.cells(now(), is_wide))));
        let style = Style::of_stdout();
        for found in &self.certificates {
            if let Some(why) = &found.last_good {
                let said = format!("Secret {} {why}; a restart ends that", found.whose());
                let host = escaped(&found.host);
                text.push_str(&format!("{}  {host}  {}\n", style.bad("last good"), escaped(&said)));
            }
        }
        for Missing { kind, namespace, name, field, hosts, reason, message } in &self.missing {
            let said = format!("{kind} {namespace}/{name} {field}: {reason}: {message}");
            let hosts = if hosts.is_empty() { "-".to_owned() } else { hosts.join(", ") };
            let state = if reason == NAMES_OTHERS { "wrong name" } else { "missing" };
            text.push_str(&format!("{}  {}  {}\n", style.bad(state), escaped(&hosts), escaped(&said)));
        }
        text
    }
}

impl Certificate {
    fn is_wrong(&self) -> bool {
        self.days_left(now()) < 0 || self.last_good.is_some()
    }

    /// Whole days until it ends, below 0 where it has.
    pub(crate) fn days_left(&self, now: i64) -> i64 {
        (self.not_after_s - now).div_euclid(24 * 3600)
    }

    /// The Secret, or what stands in for one.
    pub(crate) fn whose(&self) -> String {
        match (&self.namespace, &self.secret) {
            (Some(namespace), Some(secret)) => format!("{namespace}/{secret}"),
            _ => "(generated)".to_owned(),
        }
    }

    fn cells(&self, now: i64, is_wide: bool) -> Vec<String> {
        let since = self.shown_since.clone().unwrap_or_else(|| "-".to_owned());
        let (ends, days) = (self.not_after.clone(), self.days_left(now).to_string());
        let mut cells = vec![self.host.clone(), self.whose(), ends, days, self.issuer.clone(), since];
        if is_wide {
            cells.extend([self.names.join(","), self.fingerprint.clone()]);
        }
        cells
    }
}

/// The reason where there is a certificate, for other hosts.
const NAMES_OTHERS: &str = "CertificateHostMismatch";

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(selection: &Selection) -> List {
        let certificate = |host: &str, namespace: Option<&str>| {
            json!({
                "host": host, "namespace": namespace, "secret": namespace.map(|_| "tls"), "names": [host], "issuer": "CN=x",
                "not_before": "", "not_after": "2100-01-01T00:00:00Z", "not_after_s": 4_102_444_800_i64,
                "shown_since": null, "fingerprint": "ab",
            })
        };
        let missing = json!({
            "kind": "Ingress", "namespace": "shop", "name": "web", "field": "spec.tls[0].secretName", "hosts": ["a.test"],
            "reason": "SecretNotFound", "message": "it does not exist",
        });
        let certificates =
            [certificate("*", None), certificate("a.test", Some("shop")), certificate("b", Some("b"))];
        let says = json!({"generation": 1, "certificates": certificates, "missing": [missing]});
        List::of(Voice { replicas: vec!["r/a".to_owned()], says: vec![says] }, selection).unwrap()
    }

    #[test]
    fn a_namespace_leaves_the_others_out() {
        let shop = list(&Selection::Namespace("shop".to_owned()));
        assert_eq!(shop.text(Output::Name, false), "*\na.test\n");
        let text = shop.text(Output::Text, true);
        assert!(
            text.starts_with("r/a\nHOST") && text.contains("(generated)") && text.contains("shop/tls"),
            "{text}"
        );
        let missing =
            "missing  a.test  Ingress shop/web spec.tls[0].secretName: SecretNotFound: it does not exist\n";
        assert!(text.ends_with(missing), "{text}");
        assert!(shop.is_wrong());
        let other = list(&Selection::Namespace("b".to_owned()));
        assert!(!other.is_wrong() && other.text(Output::Name, false) == "*\nb\n");
    }

    #[test]
    fn what_is_shown_in_place_of_something_else_is_marked() {
        let mut list = list(&Selection::Namespace("shop".to_owned()));
        list.missing[0].reason = NAMES_OTHERS.to_owned();
        let text = list.text(Output::Text, false);
        assert!(text.contains("wrong name  a.test  Ingress shop/web"), "{text}");
        list.missing.clear();
        assert!(!list.is_wrong());
        list.certificates[1].last_good = Some("data[\"tls.crt\"]: it is no PEM".to_owned());
        let text = list.text(Output::Text, false);
        assert!(list.is_wrong() && text.contains("last good  a.test  Secret shop/tls data"), "{text}");
    }

    #[test]
    fn days_are_whole_and_fall_below_nothing_at_the_end() {
        let found = &list(&Selection::All).certificates[0];
        for (now, days) in [(-24 * 3600, 1), (-1, 0), (0, 0), (1, -1)] {
            assert_eq!(found.days_left(found.not_after_s + now), days, "{now}");
        }
    }
}
