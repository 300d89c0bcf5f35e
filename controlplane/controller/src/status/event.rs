//! What an Event says: pure, from problems and from changes that are live.
//!
//! An Event's name is a hash of what it is about, so that saying it again, also by another leader or after a restart, makes
//! no second one: a warning is about its text, `Applied` is about the version of the object.

use std::hash::{DefaultHasher, Hash, Hasher};

use ringress_shared::origin::ObjectRef;
use ringress_translate::objects::Key;
use ringress_translate::{Level, Objects, Problem};
use serde_json::{Value, json};

use super::users::Use;

/// One thing to say about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) object: ObjectRef,
    pub(super) uid: String,
    /// `Normal` or `Warning`.
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) note: String,
    /// What it is about, beside the object and the reason: no two Events are about the same.
    pub(super) about: u64,
}

/// The warning that a problem is worth; what is wrong with files and flags has no object to say it at.
pub(super) fn warning(problem: &Problem, objects: &Objects) -> Option<Event> {
    if problem.level == Level::Info {
        return None;
    }
    let uid = uid(&problem.object, objects)?;
    let note = match problem.field.is_empty() {
        true => problem.message.clone(),
        false => format!("{}: {}", problem.field, problem.message),
    };
    let note = cut(note, NOTE_BYTES_MAX);
    Some(Event {
        object: problem.object.clone(),
        uid,
        kind: "Warning",
        reason: problem.reason.as_str().to_owned(),
        about: hash(&note),
        note,
    })
}

/// The warning at a user of a broken Secret; how many others use it makes no other Event of it.
pub(super) fn warning_at(user: &Use, objects: &Objects) -> Option<Event> {
    let (event, others) = (warning(&user.problem, objects)?, user.note());
    let note = cut(event.note, NOTE_BYTES_MAX - others.len()) + &others;
    Some(Event { note, ..event })
}

/// That a version of an Ingress is live.
pub(super) fn applied(key: &Key, uid: &str, version: impl Hash, note: String) -> Event {
    Event {
        object: key.reference("Ingress"),
        uid: uid.to_owned(),
        kind: "Normal",
        reason: APPLIED.to_owned(),
        about: hash(version),
        note: cut(note, NOTE_BYTES_MAX),
    }
}

impl Event {
    /// Whether it says that a version is live.
    pub(super) fn is_applied(&self) -> bool {
        self.reason == APPLIED
    }
}

fn uid(object: &ObjectRef, objects: &Objects) -> Option<String> {
    let key = Key::of(object);
    let uid = match &*object.kind {
        "Ingress" => &objects.ingresses.get(&key)?.object.metadata.uid,
        "Service" => &objects.services.get(&key)?.object.metadata.uid,
        "Secret" => &objects.secrets.get(&key)?.object.metadata.uid,
        "EndpointSlice" => &objects.endpoint_slices.get(&key)?.object.metadata.uid,
        "IngressClass" => &objects.ingress_classes.get(&key)?.object.metadata.uid,
        _ => return None,
    };
    uid.clone()
}

const APPLIED: &str = "Applied";

/// The API refuses longer notes.
fn cut(mut note: String, bytes_max: usize) -> String {
    if note.len() > bytes_max {
        let end = (0..=bytes_max - 3).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    note
}

impl Event {
    /// Whether it is about an object without a namespace, and so stands where we may have no rights.
    pub(super) fn is_cluster_wide(&self) -> bool {
        self.object.namespace.is_empty()
    }

    /// The namespace that it stands in: cluster-wide objects have theirs in `default`.
    pub(super) fn namespace(&self) -> &str {
        if self.is_cluster_wide() { "default" } else { &self.object.namespace }
    }

    /// Its name: the same for the same thing said of the same object.
    pub(super) fn name(&self) -> String {
        let name = hash((&self.object.kind, &self.uid, &self.reason, self.about));
        let stem: String = self.object.name.chars().take(200).collect();
        format!("{}.{name:016x}", stem.trim_end_matches(['.', '-']))
    }

    /// The same, where it is no repetition though it was said before: an object that is again what it once was.
    pub(super) fn anew(self) -> Self {
        Self { about: hash((self.about, &self.note)), ..self }
    }

    /// As the API wants it. `stamp` is the wall clock as RFC 3339 with microseconds.
    pub(super) fn body(&self, reporter: &str, stamp: &str) -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": self.name(), "namespace": self.namespace()},
            "eventTime": stamp, "reportingController": CONTROLLER, "reportingInstance": reporter,
            "action": "Serve", "reason": self.reason, "note": self.note, "type": self.kind,
            "regarding": {
                "apiVersion": api_version(&self.object.kind), "kind": &*self.object.kind,
                "namespace": &*self.object.namespace, "name": &*self.object.name, "uid": self.uid,
            },
        })
    }
}

/// What raises the count of an Event that is there.
pub(super) fn again(count: u32, stamp: &str) -> Value {
    json!({"series": {"count": count.max(2), "lastObservedTime": stamp}})
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The API's limit for notes.
const NOTE_BYTES_MAX: usize = 1024;

/// Who reports.
const CONTROLLER: &str = "ringress.dev/ingress-controller";

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::json::object;
    use ringress_translate::{LastGood, Memo, Reason, Settings, translate};

    fn objects() -> Objects {
        let mut objects = Objects::default();
        let text = r#"{"metadata":{"namespace":"a","name":"one","uid":"u-one"},"spec":{}}"#;
        objects.insert(object("Ingress", text).unwrap());
        objects
    }

    #[test]
    fn a_problem_is_said_at_its_object() {
        let problem = Problem::undecodable(&ObjectRef::new("Ingress", "a", "one"), "spec.rules", "why");
        let event = warning(&problem, &objects()).unwrap();
        assert_eq!((&*event.uid, event.kind, &*event.reason), ("u-one", "Warning", "Undecodable"));
        assert_eq!(event.note, "spec.rules: cannot be read: why");
        let remark = Problem { level: Level::Info, ..problem.clone() };
        assert_eq!(warning(&remark, &objects()), None, "a remark is no warning");
        let nobody = Problem::undecodable(&ObjectRef::new("File", "", "x.yaml"), "", "why");
        assert_eq!(warning(&nobody, &objects()), None, "a file has no Events");
    }

    /// The words that people filter, alert and write scripts by.
    fn word(reason: Reason) -> &'static str {
        match reason {
            Reason::ClassNotOwned => "ClassNotOwned",
            Reason::ClassNotFound => "ClassNotFound",
            Reason::NoClass => "NoClass",
            Reason::SeveralDefaultClasses => "SeveralDefaultClasses",
            Reason::InvalidHost => "InvalidHost",
            Reason::InvalidPath => "InvalidPath",
            Reason::InvalidPathType => "InvalidPathType",
            Reason::NothingToServe => "NothingToServe",
            Reason::InvalidBackend => "InvalidBackend",
            Reason::UnsupportedBackend => "UnsupportedBackend",
            Reason::BackendNotFound => "BackendNotFound",
            Reason::PortNotFound => "PortNotFound",
            Reason::NoReadyEndpoints => "NoReadyEndpoints",
            Reason::EndpointRefused => "EndpointRefused",
            Reason::ExternalNameRefused => "ExternalNameRefused",
            Reason::NameNotResolved => "NameNotResolved",
            Reason::Shadowed => "Shadowed",
            Reason::Quarantined => "Quarantined",
            Reason::SecretNotFound => "SecretNotFound",
            Reason::SecretWithheld => "SecretWithheld",
            Reason::CertificateInvalid => "CertificateInvalid",
            Reason::CertificateHostMismatch => "CertificateHostMismatch",
            Reason::CertificateExpired => "CertificateExpired",
            Reason::TlsHostMismatch => "TlsHostMismatch",
            Reason::InvalidAnnotation => "InvalidAnnotation",
            Reason::UnknownAnnotation => "UnknownAnnotation",
            Reason::UnsupportedAnnotation => "UnsupportedAnnotation",
            Reason::UnresolvableHost => "UnresolvableHost",
            Reason::UnsupportedSetting => "UnsupportedSetting",
            Reason::Undecodable => "Undecodable",
            Reason::Flattened => "Flattened",
            Reason::UnknownKind => "UnknownKind",
            Reason::DuplicateObject => "DuplicateObject",
        }
    }

    /// What is said of the Ingress `web` after these versions of it, in a cluster with the Service `idle`, which has nobody
    /// behind it, an Ingress `first` that has a.test/ and a Secret `empty`.
    fn reasons(versions: &[&str]) -> Vec<String> {
        let around = [
            (
                "IngressClass",
                r#"{"metadata":{"name":"ringress","uid":"c"},"spec":{"controller":"ringress.dev/ingress-controller"}}"#,
            ),
            (
                "Service",
                r#"{"metadata":{"namespace":"a","name":"idle","uid":"s"},"spec":{"ports":[{"port":80}]}}"#,
            ),
            (
                "Secret",
                r#"{"metadata":{"namespace":"a","name":"empty","uid":"t"},"type":"kubernetes.io/tls","data":{}}"#,
            ),
            (
                "Ingress",
                r#"{"metadata":{"namespace":"a","name":"first","uid":"f","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"ingressClassName":"ringress","rules":[{"host":"a.test","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"idle","port":{"number":80}}}}]}}]}}"#,
            ),
        ];
        let mut objects = Objects::default();
        for (kind, text) in around {
            objects.insert(object(kind, text).unwrap());
        }
        let (settings, mut last_good, mut said) = (Settings::default(), LastGood::default(), Vec::new());
        for version in versions {
            objects.insert(object("Ingress", version).unwrap());
            let translation = translate(&objects, &settings, &last_good, &mut Memo::default());
            let problems: Vec<Problem> = translation.problems.iter().cloned().collect();
            problems.iter().for_each(|problem| assert_eq!(problem.reason.as_str(), word(problem.reason)));
            let events = problems.iter().filter_map(|problem| warning(problem, &objects));
            said = events.filter(|event| event.uid == "w").map(|event| event.reason).collect();
            last_good = translation.last_good;
        }
        said
    }

    /// An Ingress `web` with this spec and these annotations.
    fn web(spec: &str, annotations: &str) -> String {
        format!(
            r#"{{"metadata":{{"namespace":"a","name":"web","uid":"w","annotations":{{{annotations}}},"creationTimestamp":"2021-01-01T00:00:00Z"}},"spec":{{{spec}}}}}"#
        )
    }

    /// One rule of our class.
    fn rule(host: &str, path_type: &str, backend: &str) -> String {
        format!(
            r#""ingressClassName":"ringress","rules":[{{"host":"{host}","http":{{"paths":[{{"path":"/","pathType":"{path_type}","backend":{backend}}}]}}}}]"#
        )
    }

    #[test]
    fn every_kind_of_wrong_has_its_reason() {
        let to = |name: &str, port: u16| {
            format!(r#"{{"service":{{"name":"{name}","port":{{"number":{port}}}}}}}"#)
        };
        let fine = rule("b.test", "Prefix", &to("idle", 80));
        let tls = |secret: &str| format!(r#"{fine},"tls":[{{"hosts":["b.test"],"secretName":"{secret}"}}]"#);
        let resource = r#"{"resource":{"apiGroup":"x","kind":"Bucket","name":"b"}}"#;
        for (spec, annotations, reason) in [
            (rule("b.test", "Prefix", &to("nobody", 80)), "", "BackendNotFound"),
            (rule("b.test", "Prefix", &to("idle", 81)), "", "PortNotFound"),
            (fine.clone(), "", "NoReadyEndpoints"),
            (rule("a.test", "Prefix", &to("idle", 80)), "", "Shadowed"),
            (rule("no host", "Prefix", &to("idle", 80)), "", "InvalidHost"),
            (rule("b.test", "Sideways", &to("idle", 80)), "", "InvalidPathType"),
            (rule("b.test", "Prefix", "{}"), "", "InvalidBackend"),
            (rule("b.test", "Prefix", resource), "", "UnsupportedBackend"),
            (fine.replace("\"/\"", "\"no-slash\""), "", "InvalidPath"),
            (fine.replace("\"ringress\"", "\"nobody\""), "", "ClassNotFound"),
            (fine.replace("\"ingressClassName\":\"ringress\",", ""), "", "NoClass"),
            (r#""ingressClassName":"ringress""#.to_owned(), "", "NothingToServe"),
            (tls("nobody"), "", "SecretNotFound"),
            (tls("empty"), "", "CertificateInvalid"),
            (tls("nobody").replace("[\"b.test\"]", "[\"c.test\"]"), "", "TlsHostMismatch"),
            (fine.clone(), r#""ringress.dev/ssl-redirct":"false""#, "UnknownAnnotation"),
            (fine.clone(), r#""ringress.dev/ssl-redirect":"perhaps""#, "InvalidAnnotation"),
            (fine.clone(), r#""nginx.ingress.kubernetes.io/auth-url":"http://x""#, "UnsupportedAnnotation"),
        ] {
            let said = reasons(&[&web(&spec, annotations)]);
            assert!(said.iter().any(|said| said == reason), "{reason} is not among {said:?}: {spec}");
        }
        let wrong = web(&rule("b.test", "Sideways", &to("idle", 80)), "");
        let said = reasons(&[&web(&fine, ""), &wrong]);
        assert!(said.iter().any(|said| said == "Quarantined"), "{said:?}");
        let applied = applied(&Key::new("a", "web"), "w", 1, String::new());
        assert_eq!((&*applied.reason, applied.kind), ("Applied", "Normal"));
    }

    #[test]
    fn what_is_about_the_same_has_the_same_name() {
        let event = |uid: &str, version: u64, note: &str| {
            applied(&Key::new("a", "one"), uid, version, note.to_owned())
        };
        let one = event("1", 7, "after 4 ms");
        assert_eq!(one.name(), event("1", 7, "by another leader").name());
        assert_ne!(one.name(), event("2", 7, "after 4 ms").name());
        assert_ne!(one.name(), event("1", 8, "after 4 ms").name());
        assert_ne!(one.name(), one.clone().anew().name());
        assert!(one.name().starts_with("one."));
        let warn =
            |why| warning(&Problem::undecodable(&ObjectRef::new("Ingress", "a", "one"), "", why), &objects());
        assert_ne!(warn("x").unwrap().name(), warn("y").unwrap().name());
    }

    #[test]
    fn a_note_fits_the_api() {
        assert!(cut("ä".repeat(2000), NOTE_BYTES_MAX).len() <= NOTE_BYTES_MAX);
        assert_eq!(cut("short".to_owned(), NOTE_BYTES_MAX), "short");
    }

    #[test]
    fn a_broken_secret_is_said_at_a_user_in_one_event_however_many_others_there_are() {
        let problem = Problem::undecodable(&ObjectRef::new("Ingress", "a", "one"), "spec.tls", "why");
        let said = |problem: &Problem, others: usize| {
            warning_at(&Use { problem: problem.clone(), others }, &objects()).unwrap()
        };
        let (one, many) = (said(&problem, 1), said(&problem, 2999));
        assert!(one.note.ends_with("why (1 other Ingress uses it)"), "{}", one.note);
        assert!(many.note.ends_with("why (2999 other Ingresses use it)"), "{}", many.note);
        assert_eq!(one.name(), many.name());
        let long = Problem { message: "x".repeat(2000), ..problem };
        let note = said(&long, 2999).note;
        assert!(note.len() <= NOTE_BYTES_MAX && note.ends_with("… (2999 other Ingresses use it)"), "{note}");
    }
}
