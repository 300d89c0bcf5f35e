//! `POST /applied`: whether this process serves an Ingress as it is now, on every shard.
//!
//! Whoever asks brings the object as the API server has it, and it is read and hashed here as the watch reads it. So the answer
//! is about that very content, and never about a number that only this process counts: a process whose API server is another
//! one cannot say yes by mistake. Nor can one that lags behind where an object is again what it was: the watch must have come
//! as far as the version of the object, too.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringress_translate::manifest::json;
use ringress_translate::objects::Object;
use ringress_translate::references::secrets_of;
use ringress_translate::{ClassVerdict, Key, Level, Objects, Outcome, Problem, Reason};
use serde::{Deserialize, Serialize};

use super::{Admin, read, refused};
use crate::live::View;

pub(super) async fn applied(State(admin): State<Admin>, request: Request) -> Response {
    let body: Bytes = match read(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let text = String::from_utf8_lossy(&body);
    let object = match json::object("Ingress", &text) {
        Ok(object) => object,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem.field, &problem.message),
    };
    // The view before the shards: what they have is never older than what is compared.
    let Some(view) = admin.live.view() else {
        let shards = vec![0; admin.live.ports.len()];
        return Json(Applied::waiting(0, shards, "nothing is served yet".to_owned())).into_response();
    };
    let shards = admin.live.ports.iter().map(|port| port.status().generation()).collect();
    let is_heard = match &admin.live.progress {
        Some(progress) => {
            let Versioned { metadata } = serde_json::from_str(&text).unwrap_or_default();
            let reached = progress.with(&view.reached.load());
            reached.has_heard("ingresses", &object.key().namespace, &metadata.resource_version)
        }
        // What a folder holds has no versions.
        None => true,
    };
    Json(Applied::of(object, is_heard, &view, shards)).into_response()
}

/// The version of an object, which is no part of what we keep of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Versioned {
    metadata: Version,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

/// What is said of an Ingress.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Applied {
    state: Progress,
    /// Of the process; what was compared.
    generation: u64,
    /// What new requests get, by shard.
    shards: Vec<u64>,
    /// What it waits for, or why it is refused; empty where it is applied.
    why: String,
    /// What is wrong with the object, served or not.
    problems: Vec<Wrong>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    /// Served as it is, by every shard.
    Applied,
    /// Not yet.
    Waiting,
    /// Seen, and not served as it is: waiting does not help.
    Refused,
    /// Seen, and of another class: somebody else's.
    NotOurs,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wrong {
    level: &'static str,
    reason: &'static str,
    field: String,
    message: String,
}

impl Applied {
    fn waiting(generation: u64, shards: Vec<u64>, why: String) -> Self {
        Self { state: Progress::Waiting, generation, shards, why, problems: Vec::new() }
    }

    fn of(object: Object, is_heard: bool, view: &View, shards: Vec<u64>) -> Self {
        let generation = view.snapshot.generation;
        let (key, reference) = (object.key(), object.reference());
        let mut wanted = Objects::default();
        wanted.insert(object);
        let version = |objects: &Objects| objects.ingresses.get(&key).map(|stored| stored.version);
        let about: Vec<&Problem> =
            view.problems.iter().filter(|problem| problem.object == reference).collect();
        match version(&view.objects) {
            None => return Self::waiting(generation, shards, "the object has not been seen".to_owned()),
            found if found != version(&wanted) => {
                return Self::waiting(
                    generation,
                    shards,
                    "another version of the object is served".to_owned(),
                );
            }
            _ if !is_heard => {
                let why = "the watch of Ingresses has not come as far as this version of the object";
                return Self::waiting(generation, shards, why.to_owned());
            }
            _ => {}
        }
        let (mut state, mut why) = judge(&about, class(&key, view), generation, &shards);
        if let (Progress::Applied, Some(nothing)) = (state, takes_nothing(&key, view)) {
            (state, why) = (Progress::Refused, format!("nothing of it is served: {nothing}"));
        }
        let mut problems: Vec<Wrong> = about.into_iter().map(Wrong::from).collect();
        problems.extend(last_good_certificates(&key, view));
        Self { state, generation, shards, why, problems }
    }
}

/// Secrets of the object whose last good version is shown: that stands on them alone, and whoever asks about the Ingress
/// should hear of it.
fn last_good_certificates(key: &Key, view: &View) -> Vec<Wrong> {
    let named = view.objects.ingresses.get(key).map(|stored| secrets_of(key, &stored.object));
    let named = named.unwrap_or_default();
    let is_kept = |problem: &&Problem| {
        problem.reason == Reason::Quarantined
            && &*problem.object.kind == "Secret"
            && named.contains(&Key::of(&problem.object))
    };
    let wrong = |problem: &Problem| Wrong {
        message: format!("{} {}: {}", problem.object, problem.field, problem.message),
        field: "spec.tls".to_owned(),
        ..Wrong::from(problem)
    };
    view.problems.iter().filter(is_kept).map(wrong).collect()
}

fn judge(
    about: &[&Problem],
    class: Option<&ClassVerdict>,
    generation: u64,
    shards: &[u64],
) -> (Progress, String) {
    if let Some(class) = class.filter(|class| !class.is_ours()) {
        return (Progress::NotOurs, class.to_string());
    }
    if let Some(problem) = about.iter().find(refuses) {
        let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
        return (Progress::Refused, format!("{}: {field}{}", problem.reason, problem.message));
    }
    let late = shards.iter().position(|shard| *shard < generation);
    match late {
        Some(shard) => {
            (Progress::Waiting, format!("shard {shard} serves generation {} of {generation}", shards[shard]))
        }
        None => (Progress::Applied, String::new()),
    }
}

/// Whether the object, or a part of it, is not served as it is for a reason inside itself. What it refers to may come later,
/// and the object does not change by that.
fn refuses(problem: &&&Problem) -> bool {
    match problem.reason {
        Reason::Quarantined | Reason::NothingToServe => true,
        Reason::Undecodable
        | Reason::InvalidHost
        | Reason::InvalidPath
        | Reason::InvalidPathType
        | Reason::InvalidBackend
        | Reason::UnsupportedBackend
        | Reason::InvalidAnnotation
        | Reason::UnsupportedAnnotation => problem.level == Level::Error,
        Reason::NoClass | Reason::ClassNotFound | Reason::ClassNotOwned => true,
        _ => false,
    }
}

/// Why nothing of an object takes any request, whatever others have: it is of a sort that is not served.
fn takes_nothing<'v>(key: &Key, view: &'v View) -> Option<&'v str> {
    let mut claims = view.translation.claims.of(key).map(|claim| match &claim.outcome {
        Outcome::Invalid(why) => Some(&**why),
        _ => None,
    });
    let first = claims.next()??;
    claims.all(|why| why.is_some()).then_some(first)
}

/// Whether the object is ours, as its claims have it; `None` where it claims nothing.
fn class<'v>(key: &Key, view: &'v View) -> Option<&'v ClassVerdict> {
    view.translation.claims.of(key).next().map(|claim| &claim.class)
}

impl From<&Problem> for Wrong {
    fn from(problem: &Problem) -> Self {
        Self {
            level: problem.level.as_str(),
            reason: problem.reason.as_str(),
            field: problem.field.clone(),
            message: problem.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringress_shared::origin::ObjectRef;

    use super::*;

    fn problem(reason: Reason, level: Level) -> Problem {
        Problem {
            object: ObjectRef::new("Ingress", "shop", "web"),
            level,
            reason,
            rule: "rule",
            field: "spec".to_owned(),
            message: "why".to_owned(),
            place: None,
        }
    }

    fn check(problems: &[Problem], class: Option<ClassVerdict>, shards: &[u64], expected: (Progress, &str)) {
        let about: Vec<&Problem> = problems.iter().collect();
        let (state, why) = judge(&about, class.as_ref(), 7, shards);
        assert_eq!((state, &*why), expected, "{problems:?} {shards:?}");
    }

    #[test]
    fn only_what_is_wrong_in_the_object_itself_refuses_it() {
        let (applied, live) = ((Progress::Applied, ""), [7, 8]);
        for (reason, level, is_refused) in [
            (Reason::Quarantined, Level::Warning, true),
            (Reason::NothingToServe, Level::Error, true),
            (Reason::InvalidPath, Level::Error, true),
            (Reason::InvalidPath, Level::Warning, false),
            (Reason::UnsupportedAnnotation, Level::Error, true),
            (Reason::UnsupportedAnnotation, Level::Warning, false),
            (Reason::Undecodable, Level::Warning, false),
            (Reason::BackendNotFound, Level::Error, false),
            (Reason::SecretNotFound, Level::Error, false),
            (Reason::Shadowed, Level::Warning, false),
        ] {
            let why = format!("{reason}: spec: why");
            let expected = if is_refused { (Progress::Refused, &*why) } else { applied };
            check(&[problem(reason, level)], None, &live, expected);
        }
        let foreign = ClassVerdict::NotFound("x".to_owned());
        check(&[], Some(foreign), &live, (Progress::NotOurs, "class x does not exist"));
        check(&[], Some(ClassVerdict::Named("x".to_owned())), &live, applied);
    }

    #[test]
    fn every_shard_must_have_the_generation() {
        let waiting = (Progress::Waiting, "shard 1 serves generation 6 of 7");
        check(&[], None, &[7, 6], waiting);
        check(&[], None, &[7, 7], (Progress::Applied, ""));
    }
}
