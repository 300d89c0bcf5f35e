//! Manifests whose indentation was lost on a web page: recognised, and restored by schema.
//!
//! Without indentation a line says what it is only by its key. So the lines are walked in order beside the schema of the
//! kind: each belongs to the innermost open mapping or list that can take it, and what stands deeper is closed.
//!
//! ```text
//! paths:              rules ─ item ─ http ─ paths                        open
//! - path: /v2         paths takes "- path", and opens an item
//! backend:            the item takes it
//! - host: b.example   paths takes no "host", rules does: everything below rules is closed
//! ```

use std::collections::BTreeSet;

use ringress_shared::origin::ObjectRef;

use super::margin;
use super::schema::{self, Schema};
use super::yaml::{self, DocumentText, SyntaxError};

/// A manifest without indentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flattened {
    /// Kind and name, as far as they can be told.
    pub object: ObjectRef,
    /// The first line that should be indented, from 1.
    pub line: usize,
}

/// Why a manifest cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnflattenError {
    /// A line that no field around it can take: text of the page, or a field that the kind does not have.
    #[error("line {line}: {text:?} fits nowhere in this {kind}; remove it if it is text of the page")]
    NoPlace {
        /// The line, from 1.
        line: usize,
        /// Its text.
        text: String,
        /// The kind.
        kind: String,
    },
    /// The indentation of a kind was lost whose fields are not known here.
    #[error(
        "line {line}: the fields of {kind} are not known, so its lost indentation cannot be told; indent it by hand"
    )]
    UnknownKind {
        /// The first line that should be indented, from 1.
        line: usize,
        /// The kind.
        kind: String,
    },
    /// Some lines are indented still, and nobody can tell which of them rightly.
    #[error(
        "line {line}: only a part of this {kind} is indented; indent it by hand, or take all indentation away first"
    )]
    LostInPart {
        /// The first line that should be indented, from 1.
        line: usize,
        /// The kind.
        kind: String,
    },
    /// No YAML or JSON, whatever its indentation.
    #[error("line {line}: {why}")]
    Broken {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
}

impl From<SyntaxError> for UnflattenError {
    fn from(SyntaxError { line, why }: SyntaxError) -> Self {
        Self::Broken { line, why }
    }
}

/// Recognises a text of which at least one document lost its indentation, with or without a margin; gives the first.
pub fn flattened(text: &str) -> Option<Flattened> {
    let unmargined = margin::without(text);
    yaml::split(unmargined.as_deref().unwrap_or(text)).iter().find_map(|part| {
        let unmargined = margin::without(&part.text);
        let lost = Lost::find(unmargined.as_deref().unwrap_or(&part.text))?;
        Some(Flattened { object: lost.object, line: part.line + lost.line - 1 })
    })
}

/// A document that lost its indentation.
struct Lost<'t> {
    object: ObjectRef,
    kind: &'t str,
    line: usize,
    /// Whether a line is indented still.
    in_part: bool,
}

impl<'t> Lost<'t> {
    fn find(document: &'t str) -> Option<Self> {
        let lines = document.lines().enumerate();
        let lines: Vec<(usize, Line<'t>)> =
            lines.filter_map(|(number, line)| Some((number + 1, Line::read(line)?))).collect();
        let at_the_top = |line: &Line<'_>| !line.indented && !line.item;
        let kind = lines.iter().find(|(_, line)| at_the_top(line) && line.key == Some("kind"))?.1.value;
        let kind = kind.trim_matches(['"', '\'']);
        let in_part = lines.iter().any(|(_, line)| line.indented);
        let schema = schema::of(kind).filter(|_| !in_part);
        // A key without a value, and after it one that belongs below it: it must have stood deeper.
        let nested = lines.windows(2).find(|pair| {
            let (opener, next) = (&pair[0].1, &pair[1].1);
            let is_open = !opener.indented && opener.value.is_empty() && at_the_top(next);
            let (Some(opener), Some(next), true) = (opener.key, next.key, is_open) else { return false };
            let of_metadata = opener == "metadata" && OF_METADATA.contains(&next);
            of_metadata || schema.is_some_and(|schema| schema.field(next).is_none())
        })?;
        Some(Self { object: object_of(kind, &lines), kind, line: nested[1].0, in_part })
    }
}

/// What stands under `metadata` of every kind, and at the top of none.
const OF_METADATA: [&str; 5] = ["name", "namespace", "generateName", "labels", "annotations"];

fn object_of(kind: &str, lines: &[(usize, Line<'_>)]) -> ObjectRef {
    let metadata = lines.iter().skip_while(|(_, line)| line.key != Some("metadata"));
    let metadata = metadata.take_while(|(_, line)| !matches!(line.key, Some("spec" | "data" | "rules")));
    let value = |wanted: &str| {
        let mut lines = metadata.clone().filter(|(_, line)| line.key == Some(wanted));
        lines.next().map(|(_, line)| line.value.trim_matches(['"', '\'']))
    };
    ObjectRef::new(kind, value("namespace").unwrap_or("default"), value("name").unwrap_or_default())
}

/// Restores lost indentation and takes a margin away that makes a text unreadable; documents that are well stay as they
/// are, so doing it twice changes nothing. What is given back is YAML or JSON.
///
/// # Errors
/// See [`UnflattenError`]; nothing is guessed.
pub fn unflatten(text: &str) -> Result<String, UnflattenError> {
    restored(text, 1)
}

/// [`unflatten`] for a text that begins at that line of its file.
pub(super) fn restored(text: &str, first_line: usize) -> Result<String, UnflattenError> {
    let restored = documents(text, first_line, MARGINS_MAX)?;
    // Every line kept its number.
    loads(&restored, first_line)?;
    Ok(restored)
}

/// Margins inside each other that are looked for: of the text, and of a document in it.
const MARGINS_MAX: usize = 2;

fn documents(text: &str, first_line: usize, margins: usize) -> Result<String, UnflattenError> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut text_of_document = String::new();
    let mut line_of_document = first_line;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if yaml::separator(line).is_some() {
            out.push_str(&document(&text_of_document, line_of_document, margins)?);
            out.push_str(line);
            text_of_document.clear();
            line_of_document = first_line + number + 1;
        } else {
            text_of_document.push_str(line);
        }
    }
    out.push_str(&document(&text_of_document, line_of_document, margins)?);
    Ok(out)
}

fn document(text: &str, first_line: usize, margins: usize) -> Result<String, UnflattenError> {
    let unmargined = margin::without(text).filter(|_| margins > 0);
    if let Some(unmargined) = unmargined.as_deref().filter(|text| flattened(text).is_some()) {
        return documents(unmargined, first_line, margins - 1);
    }
    if let Some(lost) = Lost::find(text) {
        return indented(text, &lost, first_line);
    }
    let Err(error) = loads(text, first_line) else { return Ok(text.to_owned()) };
    // It may be the margin that is wrong: before separators, or of tabs.
    if let Some(unmargined) = unmargined {
        return documents(&unmargined, first_line, margins - 1);
    }
    let hanging = margin::without_hanging(text).filter(|_| margins > 0);
    let hanging = hanging.and_then(|text| documents(&text, first_line, margins - 1).ok());
    hanging.ok_or(error)
}

fn loads(text: &str, first_line: usize) -> Result<(), UnflattenError> {
    for part in yaml::split(text) {
        yaml::load(&DocumentText { line: part.line + first_line - 1, ..part })?;
    }
    Ok(())
}

fn indented(text: &str, lost: &Lost<'_>, first_line: usize) -> Result<String, UnflattenError> {
    let (line, kind) = (first_line + lost.line - 1, lost.kind.to_owned());
    let Some(schema) = schema::of(lost.kind) else { return Err(UnflattenError::UnknownKind { line, kind }) };
    if lost.in_part {
        return Err(UnflattenError::LostInPart { line, kind });
    }
    let mut writer = Writer::new(schema);
    for (number, raw) in text.lines().enumerate() {
        match Line::read(raw) {
            None => writer.aside(raw),
            Some(line) => writer.line(&line).map_err(|NoPlace| UnflattenError::NoPlace {
                line: first_line + number,
                text: line.text.to_owned(),
                kind: kind.clone(),
            })?,
        }
    }
    writer.flush_asides(0);
    Ok(writer.out)
}

/// A line that says something.
#[derive(Debug, Clone)]
struct Line<'t> {
    indented: bool,
    /// Begins with `- `.
    item: bool,
    /// Without the `- `.
    text: &'t str,
    key: Option<&'t str>,
    /// What follows the key, without a comment.
    value: &'t str,
}

impl<'t> Line<'t> {
    /// `None` for blank lines and comments.
    fn read(raw: &'t str) -> Option<Self> {
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return None;
        }
        let item = trimmed == "-" || trimmed.starts_with("- ");
        let text = if item { trimmed[1..].trim_start() } else { trimmed };
        let (key, value) = split_key(text);
        Some(Self { indented: raw.starts_with([' ', '\t']), item, text, key, value })
    }
}

/// `key: value` → key and value; a text without a key is all value.
fn split_key(text: &str) -> (Option<&str>, &str) {
    let plain = text.starts_with(['"', '\'', '{', '[']);
    let split = text.split_once(": ").or_else(|| Some((text.strip_suffix(':')?, "")));
    match split.filter(|(key, _)| !plain && !key.contains(' ')) {
        Some((key, value)) => (Some(key), without_comment(value)),
        None => (None, without_comment(text)),
    }
}

fn without_comment(value: &str) -> &str {
    let value = value.trim();
    if value.starts_with('#') {
        return "";
    }
    if value.starts_with(['"', '\'']) {
        return value;
    }
    value.split(" #").next().unwrap_or_default().trim()
}

/// An open mapping or list.
#[derive(Debug)]
struct Frame {
    schema: &'static Schema,
    /// Columns before its keys or dashes.
    indent: usize,
    seen: BTreeSet<String>,
}

#[derive(Debug)]
struct Writer {
    out: String,
    frames: Vec<Frame>,
    /// Blank lines and comments that wait for the line they stand before.
    asides: Vec<String>,
    /// Columns of the lines of an open block scalar.
    block: Option<usize>,
}

struct NoPlace;

impl Writer {
    fn new(schema: &'static Schema) -> Self {
        let top = Frame { schema, indent: 0, seen: BTreeSet::new() };
        Self { out: String::new(), frames: vec![top], asides: Vec::new(), block: None }
    }

    fn aside(&mut self, raw: &str) {
        self.asides.push(raw.trim().to_owned());
    }

    fn flush_asides(&mut self, indent: usize) {
        for aside in std::mem::take(&mut self.asides) {
            let columns = if aside.is_empty() { 0 } else { indent };
            self.write(columns, &aside);
        }
    }

    fn write(&mut self, indent: usize, text: &str) {
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), NoPlace> {
        let place = (0..self.frames.len()).rev().find(|depth| self.takes(*depth, line));
        match (place, self.block) {
            (Some(depth), _) => {
                self.block = None;
                self.put(depth, line);
                Ok(())
            }
            (None, Some(indent)) => {
                self.flush_asides(indent);
                let dash = if line.item { "- " } else { "" };
                self.write(indent, &format!("{dash}{}", line.text));
                Ok(())
            }
            (None, None) => Err(NoPlace),
        }
    }

    /// Whether the frame at that depth can take the line.
    fn takes(&self, depth: usize, line: &Line<'_>) -> bool {
        let frame = &self.frames[depth];
        match (frame.schema, line.item) {
            (Schema::List(Schema::Scalar), true) => line.key.is_none(),
            (Schema::List(element @ Schema::Mapping(_)), true) => match line.key {
                Some(key) => element.field(key).is_some_and(|field| fits(field, line.value)),
                None => line.value.starts_with('{'),
            },
            (Schema::Mapping(_), false) => line.key.is_some_and(|key| {
                !frame.seen.contains(key)
                    && !schema::excluded(frame.schema, key, &frame.seen)
                    && frame.schema.field(key).is_some_and(|field| fits(field, line.value))
            }),
            // Any key may stand here, so what a mapping around it is still waiting for goes there.
            (Schema::Texts, false) => line.key.is_some_and(|key| {
                !frame.seen.contains(key) && !(0..depth).any(|outer| self.takes(outer, line))
            }),
            _ => false,
        }
    }

    fn put(&mut self, depth: usize, line: &Line<'_>) {
        self.frames.truncate(depth + 1);
        let indent = self.frames[depth].indent;
        self.flush_asides(indent);
        let dash = if line.item { "- " } else { "" };
        self.write(indent, &format!("{dash}{}", line.text));
        // Only a key has something under it: a text, and a mapping in braces, is whole on its line.
        let Some(key) = line.key else { return };
        let mut columns = indent;
        if let (true, Schema::List(element)) = (line.item, self.frames[depth].schema) {
            columns += 2;
            self.frames.push(Frame { schema: element, indent: columns, seen: BTreeSet::new() });
        }
        let Some(frame) = self.frames.last_mut() else { return };
        frame.seen.insert(key.to_owned());
        let field = frame.schema.field(key);
        if line.value.starts_with(['|', '>']) {
            self.block = Some(columns + 2);
        } else if let Some(schema) = field.filter(|field| line.value.is_empty() && field.is_container()) {
            self.frames.push(Frame { schema, indent: columns + 2, seen: BTreeSet::new() });
        }
    }
}

/// Whether a field of that schema can have that value on its line.
fn fits(field: &Schema, value: &str) -> bool {
    let flow = value.starts_with(['{', '[', '*', '&']);
    match field.is_container() {
        true => value.is_empty() || flow,
        false => !value.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flat: &str, expected: &str) {
        assert!(flattened(flat).is_some(), "not recognised:\n{flat}");
        let restored = unflatten(flat).unwrap();
        assert_eq!(restored, expected);
        assert_eq!(unflatten(&restored).unwrap(), restored, "not idempotent");
        assert_eq!(flattened(&restored), None);
    }

    #[test]
    fn an_ingress_is_restored() {
        check(
            "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
name: app
annotations:
# why
nginx.ingress.kubernetes.io/rewrite-target: /
spec:
tls:
- hosts:
- api.example.com
- \"*.example.com\"
secretName: cert # the pair
rules:
- host: api.example.com
http:
paths:
- path: /v1
pathType: Prefix
backend:
service:
name: v1
port:
number: 80
- path: /v2
pathType: Prefix
backend:
service:
port:
number: 80
name: v2

- host: b.example.com
http:
paths:
- backend:
service:
name: b
port:
name: http
",
            "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: app
  annotations:
    # why
    nginx.ingress.kubernetes.io/rewrite-target: /
spec:
  tls:
    - hosts:
        - api.example.com
        - \"*.example.com\"
      secretName: cert # the pair
  rules:
    - host: api.example.com
      http:
        paths:
          - path: /v1
            pathType: Prefix
            backend:
              service:
                name: v1
                port:
                  number: 80
          - path: /v2
            pathType: Prefix
            backend:
              service:
                port:
                  number: 80
                name: v2

    - host: b.example.com
      http:
        paths:
          - backend:
              service:
                name: b
                port:
                  name: http
",
        );
    }

    #[test]
    fn several_documents_are_restored_one_by_one() {
        check(
            "\
apiVersion: v1
kind: Secret
metadata:
name: cert
type: kubernetes.io/tls
stringData:
tls.crt: |
-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
tls.key: x
---
apiVersion: v1
kind: Service
metadata:
  name: good
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
name: api
spec:
parentRefs:
- name: gateway
hostnames:
- api.example.com
rules:
- matches:
- path:
type: PathPrefix
value: /v1
backendRefs:
- name: api-v1
port: 80
",
            "\
apiVersion: v1
kind: Secret
metadata:
  name: cert
type: kubernetes.io/tls
stringData:
  tls.crt: |
    -----BEGIN CERTIFICATE-----
    AAAA
    -----END CERTIFICATE-----
  tls.key: x
---
apiVersion: v1
kind: Service
metadata:
  name: good
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: api
spec:
  parentRefs:
    - name: gateway
  hostnames:
    - api.example.com
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: /v1
      backendRefs:
        - name: api-v1
          port: 80
",
        );
    }

    #[test]
    fn good_manifests_stay_as_they_are() {
        for text in [
            "",
            "hello\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  key: |\n    text\n",
            "apiVersion: v1\nkind: Unknown\nmetadata: {name: a}\nname: a\n",
            "  kind: Service\n  metadata:\n    name: a\n",
            "%YAML 1.2\n---\na: 1\n...\n# end\n",
            "kind: Ingress\nspec:\n  rules: []",
        ] {
            assert_eq!(flattened(text), None, "{text}");
            assert_eq!(unflatten(text).unwrap(), text);
        }
    }

    #[test]
    fn a_line_that_fits_nowhere_is_named() {
        let text = "kind: Service\nmetadata:\nname: a\nThis creates a Service.\nspec:\nports:\n- port: 80\n";
        let error = unflatten(text).unwrap_err();
        assert!(error.to_string().starts_with("line 4: \"This creates a Service.\""), "{error}");
    }

    #[test]
    fn margins_are_taken_away_where_they_make_a_text_unreadable() {
        let flat = "kind: Service\nmetadata:\nname: a\nspec:\nports:\n- port: 80\n";
        let good = "kind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n    - port: 80\n";
        let margined = |text: &str, margin: &str| -> String {
            text.split_inclusive('\n').map(|line| format!("{margin}{line}")).collect()
        };
        for margin in ["  ", "\t", "\u{a0}"] {
            check(&margined(flat, margin), good);
            check(&margined(&format!("{flat}---\n{good}"), margin), &format!("{good}---\n{good}"));
        }
        let two = format!("{good}---\n{good}");
        for text in
            [margined(&two, "    "), margined(good, "\t"), margined(&two, "  ").trim_start().to_owned()]
        {
            assert_eq!(flattened(&text), None, "{text}");
            assert_eq!(unflatten(&text).unwrap(), if text.contains("---") { &two } else { good }, "{text}");
        }
        assert_eq!(unflatten(margined(flat, "  ").trim_start()).unwrap(), good);
    }

    #[test]
    fn what_cannot_be_restored_says_where_and_why() {
        for (text, recognised, expected) in [
            ("# a\n---\nkind: Deployment\nmetadata:\nname: a\n", true, "line 5: the fields of Deployment"),
            (
                "kind: Service\nmetadata:\nname: a\nspec:\n  type: x\n",
                true,
                "line 3: only a part of this Service",
            ),
            ("a: 1\n---\nkind: Ingress\n  metadata: [", false, "line 4: "),
            ("    b: [\n", false, "line "),
            ("{\n \"a\": }", false, "line 2: expected value"),
        ] {
            assert_eq!(flattened(text).is_some(), recognised, "{text}");
            let error = unflatten(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn margins_inside_margins_are_not_followed_for_ever() {
        let nested: String =
            (0..1_000).map(|depth| format!("{0}kind: [\n{0}---\n", " ".repeat(1_000 - depth))).collect();
        assert!(unflatten(&nested).is_err());
        let nested: String =
            (0..1_000).map(|depth| format!("{0}---\n{0}kind: [\n", " ".repeat(depth))).collect();
        assert!(unflatten(&nested).is_err());
    }

    #[test]
    fn object_and_line_are_told() {
        let found = flattened("# a\n---\nkind: Service\nmetadata:\nname: a\nspec:\nports:\n").unwrap();
        assert_eq!(found, Flattened { object: ObjectRef::new("Service", "default", "a"), line: 5 });
    }
}
