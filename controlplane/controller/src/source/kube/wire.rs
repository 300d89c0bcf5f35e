//! The API server's JSON: pages of a list, lines of a watch.
//!
//! Only the frame is decoded strictly. Each object inside is a text of its own and becomes an object or a problem by itself,
//! so that one undecodable object never costs its page or its stream (pitfall 8).

use std::borrow::Cow;

use ringress_translate::Problem;
use ringress_translate::manifest::json;
use ringress_translate::objects::{Key, Object};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::plan::Kind;
use super::reached;

/// One object of a page or a line.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) content: Content,
}

/// What is known of an object.
#[derive(Debug)]
pub(super) enum Content {
    Read(Box<Object>),
    /// It could not be read.
    Unread(Box<Problem>),
    /// It could not be read, and asks for a protection: as much of it as closes what it protects.
    Salvaged(Box<Object>, Box<Problem>),
    /// Only that it exists, and has changed.
    Named,
}

/// How much of each object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Named,
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    /// The newest version among its objects; 0 where they have none.
    pub(super) newest: u64,
    pub(super) resource_version: String,
    /// Asks for the next page; `None`: this was the last.
    pub(super) next: Option<String>,
}

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Line {
    Changed(Item),
    Deleted(Key),
    /// Only the resource version moved.
    Bookmark,
    /// The server ends the watch.
    Refused(Status),
    /// A type that we do not know: left out.
    Unknown,
}

/// Why the server refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
    details: Option<Details>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
    #[serde(rename = "retryAfterSeconds")]
    retry_after_seconds: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

impl Status {
    /// Whether the resource version is of no use any more: too old, or of a future that a restored server has not reached.
    pub(super) fn is_expired(&self) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        self.code == 410
            || self.reason == "Expired"
            || self.reason == "Gone"
            || causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
    }

    /// Seconds that the server asks us to wait.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        let asked = self.details.as_ref().map(|details| details.retry_after_seconds);
        asked.filter(|seconds| *seconds > 0)
    }
}

/// Reads a page.
///
/// # Errors
/// The frame is not that of a list: what a list lacks is taken out, so an answer that only looks like one must not pass.
pub(super) fn page(kind: Kind, form: Form, body: &[u8]) -> Result<Page, serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw<'b> {
        #[serde(borrow)]
        kind: Cow<'b, str>,
        metadata: Metadata,
        #[serde(borrow)]
        items: Option<Vec<&'b RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
        #[serde(default)]
        r#continue: String,
    }
    let raw: Raw<'_> = serde_json::from_slice(body)?;
    if !raw.kind.ends_with("List") {
        return Err(de::Error::custom(format_args!("it is of kind {:?}", raw.kind)));
    }
    let items = raw.items.unwrap_or_default();
    // From the texts: what is kept of an object has no version.
    let versions = items.iter().filter_map(|item| resource_version(item.get()));
    Ok(Page {
        newest: versions.map(|version| reached::number(&version)).max().unwrap_or(0),
        items: items.iter().map(|item| item_as(kind, form, item.get())).collect(),
        resource_version: raw.metadata.resource_version,
        next: Some(raw.metadata.r#continue).filter(|token| !token.is_empty()),
    })
}

/// Reads a line, with the resource version that it moves the watch to.
///
/// # Errors
/// The frame is not that of a watch event.
pub(super) fn line(
    kind: Kind,
    form: Form,
    bytes: &[u8],
) -> Result<(Line, Option<String>), serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw<'b> {
        #[serde(borrow)]
        r#type: Cow<'b, str>,
        #[serde(borrow)]
        object: &'b RawValue,
    }
    let raw: Raw<'_> = serde_json::from_slice(bytes)?;
    let object = raw.object.get();
    let line = match &*raw.r#type {
        "ADDED" | "MODIFIED" => Line::Changed(item_as(kind, form, object)),
        "DELETED" => Line::Deleted(Key::of(&json::reference(kind.as_str(), object))),
        "BOOKMARK" => Line::Bookmark,
        "ERROR" => {
            let status = serde_json::from_str(object).unwrap_or_default();
            return Ok((Line::Refused(status), None));
        }
        _ => Line::Unknown,
    };
    Ok((line, resource_version(object)))
}

fn item_as(kind: Kind, form: Form, text: &str) -> Item {
    match form {
        Form::Whole => item_of(kind, text),
        Form::Named => Item { key: Key::of(&json::reference(kind.as_str(), text)), content: Content::Named },
    }
}

/// Reads one object.
pub(super) fn item_of(kind: Kind, text: &str) -> Item {
    match json::object(kind.as_str(), text) {
        Ok(object) => Item { key: object.key(), content: Content::Read(Box::new(object)) },
        Err(problem) => Item {
            key: Key::of(&problem.object),
            content: match json::salvaged(kind.as_str(), text) {
                Some(object) => Content::Salvaged(Box::new(object), problem),
                None => Content::Unread(problem),
            },
        },
    }
}

fn resource_version(object: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
    }
    serde_json::from_str(object).ok().map(|head: Head| head.metadata.resource_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_undecodable_object_costs_only_itself() {
        let body = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"c"},"items":[
            {"metadata":{"namespace":"a","name":"x"},"spec":{"ports":"many"}},
            {"metadata":{"namespace":"a","name":"y"},"spec":{}}, 17]}"#;
        let page = page(Kind::Service, Form::Whole, body).unwrap();
        assert_eq!((&*page.resource_version, page.next.as_deref()), ("7", Some("c")));
        let good: Vec<bool> =
            page.items.iter().map(|item| matches!(item.content, Content::Read(_))).collect();
        assert_eq!(good, [false, true, false]);
        assert_eq!(page.items[0].key, Key::new("a", "x"));
    }

    #[test]
    fn a_page_tells_the_newest_version_of_its_objects() {
        let body = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"70"},"items":[
            {"metadata":{"namespace":"a","name":"x","resourceVersion":"9"},"spec":{}},
            {"metadata":{"namespace":"a","name":"y","resourceVersion":"12"},"spec":{"ports":"many"}},
            {"metadata":{"namespace":"a","name":"z","resourceVersion":"7"}}, 17]}"#;
        for (kind, form) in [(Kind::Service, Form::Whole), (Kind::Secret, Form::Named)] {
            assert_eq!(page(kind, form, body).unwrap().newest, 12, "{form:?}");
        }
        let none = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"70"},"items":[]}"#;
        assert_eq!(page(Kind::Service, Form::Whole, none).unwrap().newest, 0);
    }

    #[test]
    fn an_empty_list_may_be_null() {
        let body = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":null}"#;
        let page = page(Kind::Service, Form::Whole, body).unwrap();
        assert!(page.items.is_empty() && page.next.is_none());
    }

    #[test]
    fn what_is_no_list_is_not_taken_for_an_empty_one() {
        for body in [
            "{}",
            r#"{"items":[]}"#,
            r#"{"kind":"ServiceList","items":[]}"#,
            r#"{"kind":"ServiceList","metadata":{},"items":[]}"#,
            r#"{"kind":"Status","metadata":{"resourceVersion":"7"},"code":200}"#,
        ] {
            assert!(page(Kind::Service, Form::Whole, body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn lines_are_told_apart() {
        let object = r#"{"metadata":{"namespace":"a","name":"x","resourceVersion":"9"}}"#;
        let read = |kind: &str, object: &str| {
            line(Kind::Service, Form::Whole, format!(r#"{{"type":"{kind}","object":{object}}}"#).as_bytes())
                .unwrap()
        };
        assert!(matches!(read("ADDED", object), (Line::Changed(_), Some(version)) if version == "9"));
        assert!(matches!(read("DELETED", object), (Line::Deleted(key), _) if key == Key::new("a", "x")));
        let mark = r#"{"kind":"Service","metadata":{"resourceVersion":"12"}}"#;
        assert!(matches!(read("BOOKMARK", mark), (Line::Bookmark, Some(version)) if version == "12"));
        assert!(matches!(read("NEWS", object), (Line::Unknown, _)));
        let gone = r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;
        assert!(matches!(read("ERROR", gone), (Line::Refused(status), None) if status.is_expired()));
        let future = r#"{"code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
        assert!(matches!(read("ERROR", future), (Line::Refused(status), None) if status.is_expired()));
        let cut = line(Kind::Service, Form::Whole, br#"{"type":"ADDED","obj"#);
        assert!(cut.is_err(), "a line that was cut");
    }

    #[test]
    fn of_names_nothing_else_is_read() {
        let event = r#"{"type":"ADDED","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",
            "metadata":{"namespace":"a","name":"x","resourceVersion":"9"},"data":7}}"#;
        let (read, version) = line(Kind::Secret, Form::Named, event.as_bytes()).unwrap();
        let Line::Changed(Item { key, content: Content::Named }) = read else { panic!("{read:?}") };
        assert_eq!((key, version.as_deref()), (Key::new("a", "x"), Some("9")));
    }
}
