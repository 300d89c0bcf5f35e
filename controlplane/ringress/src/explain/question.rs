//! What is asked: a URL as a client would send it, turned into the request head that a shard would read.
//!
//! The head goes through the codec of the shards, so that what they refuse is refused here with the same words.

use ringress_controller::Refused;
use ringress_engine::codec::h1;
use ringress_engine::http::{Head, HeadError};
use ringress_shared::listener::HeadLimits;
use serde::{Deserialize, Serialize};

/// A request to explain; also the body of `POST /explain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// `http://host[:port]/path?query`, or `https://…`.
    pub(crate) url: String,
    /// `GET` where nothing is said.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Name and value; a Host replaces the one of the URL.
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    /// Whether only what becomes of the request is asked for, and not why: no checklist, no rules that lose, no problems.
    #[serde(default, rename = "brief", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_brief: bool,
}

fn get() -> String {
    "GET".to_owned()
}

/// A URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) is_https: bool,
    /// Host with port, as it stands in the Host field.
    pub(crate) authority: String,
    /// `None` where the URL has no port.
    pub(crate) port: Option<u16>,
    /// Path and query, untouched.
    pub(crate) target: String,
}

impl Question {
    /// The question that a JSON value asks.
    ///
    /// # Errors
    /// The field that is wrong or missing.
    pub(crate) fn read(value: &serde_json::Value) -> Result<Self, Refused> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            // A field that is not there has no path of its own.
            let is_missing = path == "." && value.is_object() && value.get("url").is_none();
            let field = match (&*path, is_missing) {
                (_, true) => "url",
                (".", false) => "body",
                (path, false) => path,
            };
            refused(field, &format!("{}; write {EXAMPLE}", error.inner()))
        })
    }

    /// The URL in its parts.
    ///
    /// # Errors
    /// What a client could not send, in words.
    pub(crate) fn url(&self) -> Result<Url, Refused> {
        Url::parse(&self.url).map_err(|why| refused("url", &why))
    }

    /// The head that a client would send, before any shard looks at it.
    ///
    /// # Errors
    /// A method or field that would break the head apart.
    pub(crate) fn head_bytes(&self, url: &Url) -> Result<Vec<u8>, Refused> {
        self.refuse_line_ends()?;
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, url.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", url.authority));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Ok(head.into_bytes())
    }

    /// They would break the head apart.
    fn refuse_line_ends(&self) -> Result<(), Refused> {
        let has_line_end = |text: &str| text.contains(['\r', '\n']);
        if has_line_end(&self.method) {
            return Err(refused("method", "the method has a line end"));
        }
        match self.headers.iter().position(|(name, value)| has_line_end(name) || has_line_end(value)) {
            Some(number) => Err(refused(&format!("headers[{number}]"), "the field has a line end")),
            None => Ok(()),
        }
    }
}

fn refused(field: &str, message: &str) -> Refused {
    Refused { field: field.to_owned(), message: message.to_owned() }
}

const EXAMPLE: &str = r#"{"url": "http://web.local/", "method": "GET", "headers": [["Cookie", "a=b"]]}"#;

/// Reads a head as a shard does.
///
/// # Errors
/// What the shard would answer without looking for a rule.
pub(crate) fn read_head(bytes: &[u8], limits: &HeadLimits) -> Result<Head, HeadError> {
    let mut head = Head::new();
    h1::parse_request(bytes, limits, &mut head)?;
    Ok(head)
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(bad) = text.chars().find(|c| c.is_ascii_control() || *c == ' ') {
            return Err(format!("the URL has {bad:?}; encode it as %{:02X}", bad as u32));
        }
        let (is_https, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("scheme {scheme} is neither http nor https")),
            None => (false, text),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err("the URL names no host; write http://web.local/".to_owned());
        }
        if authority.contains('@') {
            return Err("the URL has a user name; give -H 'Authorization: …' instead".to_owned());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { is_https, port: port_of(authority)?, authority: authority.to_owned(), target })
    }
}

fn port_of(authority: &str) -> Result<Option<u16>, String> {
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_address..].rsplit_once(':') {
        None => Ok(None),
        Some((_, port)) => port.parse().map(Some).map_err(|_| format!("{port:?} is no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(url: &str) -> Question {
        Question { url: url.into(), method: get(), headers: Vec::new(), is_brief: false }
    }

    #[test]
    fn urls_keep_their_path_as_it_is() {
        let rows = [
            ("http://web.local", (false, "web.local", None, "/")),
            ("web.local/a", (false, "web.local", None, "/a")),
            ("https://Web.local:8443/a/../%2f?x=1#y", (true, "Web.local:8443", Some(8443), "/a/../%2f?x=1")),
            ("http://[::1]:80/", (false, "[::1]:80", Some(80), "/")),
            ("http://[::1]", (false, "[::1]", None, "/")),
            ("http://h?q", (false, "h", None, "/?q")),
        ];
        for (text, (is_https, authority, port, target)) in rows {
            let expected = Url { is_https, authority: authority.into(), port, target: target.into() };
            assert_eq!(Url::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_client_sends_is_refused_with_the_reason() {
        for (text, word) in [
            ("ftp://h/", "ftp"),
            ("http:///x", "no host"),
            ("http://u@h/", "user name"),
            ("http://h/a b", "%20"),
            ("http://h/a\r\nX: y", "%0D"),
            ("http://h:x/", "no port"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_given_host_replaces_the_one_of_the_url() {
        let mut question = ask("http://localhost:8080/x");
        question.headers = vec![("host".into(), "web.local".into())];
        let head = question.head_bytes(&question.url().unwrap()).unwrap();
        assert_eq!(head, b"GET /x HTTP/1.1\r\nhost: web.local\r\n\r\n");
    }

    #[test]
    fn fields_cannot_smuggle_lines() {
        for (name, value) in [("A", "b\r\nC: d"), ("A\nB", "c"), ("A", "b\r")] {
            let mut question = ask("http://h/");
            question.headers = vec![(name.into(), value.into())];
            assert!(question.head_bytes(&question.url().unwrap()).is_err(), "{name:?}: {value:?}");
        }
        let mut question = ask("http://h/");
        question.method = "GET / HTTP/1.1\r\nX: y\r\n\r\nGET".into();
        assert!(question.head_bytes(&question.url().unwrap()).is_err());
    }

    #[test]
    fn a_wrong_question_names_its_field() {
        use serde_json::json;
        for (value, field) in [
            (json!({}), "url"),
            (json!({"url": 1}), "url"),
            (json!({"url": "http://h/", "method": 1}), "method"),
            (json!({"url": "http://h/", "headers": [["A", "b"], ["A"]]}), "headers[1]"),
            (json!({"url": "http://h/", "headers": {"A": "b"}}), "headers"),
            (json!({"url": "http://h/", "verb": "GET"}), "verb"),
            (json!([]), "body"),
            (json!("http://h/"), "body"),
        ] {
            let refused = Question::read(&value).unwrap_err();
            assert_eq!(refused.field, field, "{value}: {refused:?}");
            assert!(refused.message.contains("; write {"), "{value}: {refused:?}");
        }
        let question = json!({"url": "http://h/"});
        assert_eq!(Question::read(&question), Ok(ask("http://h/")));
        let mut question = ask("http://h/");
        question.headers = vec![("A".into(), "b".into()), ("C".into(), "d\r\nE: f".into())];
        assert_eq!(question.head_bytes(&question.url().unwrap()).unwrap_err().field, "headers[1]");
        assert_eq!(ask("ftp://h/").url().unwrap_err().field, "url");
    }

    #[test]
    fn the_codec_of_the_shards_reads_the_head() {
        let question = ask("http://web.local/a?b");
        let bytes = question.head_bytes(&question.url().unwrap()).unwrap();
        let head = read_head(&bytes, &HeadLimits::default()).unwrap();
        assert_eq!(head.path(), b"/a");
        assert_eq!(head.authority(), b"web.local");
        assert!(read_head(b"GET / HTTP/1.1\r\n\r\n", &HeadLimits::default()).is_err());
    }
}
