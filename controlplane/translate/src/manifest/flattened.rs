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

use super::schema::{self, Schema};
use super::yaml;

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
}

/// Recognises a text of which at least one document lost its indentation; gives the first.
pub fn flattened(text: &str) -> Option<Flattened> {
    yaml::split(text).iter().find_map(|part| {
        let found = flattened_document(&part.text)?;
        Some(Flattened { line: part.line + found.line - 1, ..found })
    })
}

fn flattened_document(text: &str) -> Option<Flattened> {
    let lines: Vec<(usize, Line<'_>)> =
        text.lines().enumerate().filter_map(|(number, line)| Some((number + 1, Line::read(line)?))).collect();
    if lines.iter().any(|(_, line)| line.indented) {
        return None;
    }
    let kind = kind_of(text)?;
    let Schema::Mapping(top) = schema::of(kind)? else { return None };
    // A key without a value, and after it one that does not belong to the top: it must have stood deeper.
    let nested = lines.windows(2).find(|pair| {
        let (opener, next) = (&pair[0].1, &pair[1].1);
        let is_top = next.key.is_some_and(|key| top.iter().any(|(name, _)| *name == key));
        opener.key.is_some() && opener.value.is_empty() && !next.item && next.key.is_some() && !is_top
    })?;
    Some(Flattened { object: object_of(kind, &lines), line: nested[1].0 })
}

fn object_of(kind: &str, lines: &[(usize, Line<'_>)]) -> ObjectRef {
    let metadata = lines.iter().skip_while(|(_, line)| line.key != Some("metadata"));
    let metadata = metadata.take_while(|(_, line)| !matches!(line.key, Some("spec" | "data" | "rules")));
    let value = |wanted: &str| {
        let mut lines = metadata.clone().filter(|(_, line)| line.key == Some(wanted));
        lines.next().map(|(_, line)| line.value.trim_matches(['"', '\'']))
    };
    ObjectRef::new(kind, value("namespace").unwrap_or("default"), value("name").unwrap_or_default())
}

fn kind_of(text: &str) -> Option<&str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("kind:"))?;
    Some(line.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']))
}

/// Restores lost indentation; documents that have theirs are left as they are, so doing it twice changes nothing.
///
/// # Errors
/// See [`UnflattenError`]; nothing is guessed.
pub fn unflatten(text: &str) -> Result<String, UnflattenError> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut document = String::new();
    let mut first_line = 1;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if yaml::separator(line).is_some() {
            out.push_str(&unflatten_document(&document, first_line)?);
            out.push_str(line);
            document.clear();
            first_line = number + 2;
        } else {
            document.push_str(line);
        }
    }
    out.push_str(&unflatten_document(&document, first_line)?);
    Ok(out)
}

fn unflatten_document(text: &str, first_line: usize) -> Result<String, UnflattenError> {
    let kind = kind_of(text).filter(|_| flattened_document(text).is_some());
    let Some((kind, schema)) = kind.and_then(|kind| Some((kind, schema::of(kind)?))) else {
        return Ok(text.to_owned());
    };
    let mut writer = Writer::new(schema);
    for (number, raw) in text.lines().enumerate() {
        match Line::read(raw) {
            None => writer.aside(raw),
            Some(line) => writer.line(&line).map_err(|NoPlace| UnflattenError::NoPlace {
                line: first_line + number,
                text: line.text.to_owned(),
                kind: kind.to_owned(),
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
            "apiVersion: v1\nkind: Unknown\nmetadata:\nname: a\n",
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
    fn object_and_line_are_told() {
        let found = flattened("# a\n---\nkind: Service\nmetadata:\nname: a\nspec:\nports:\n").unwrap();
        assert_eq!(found, Flattened { object: ObjectRef::new("Service", "default", "a"), line: 5 });
    }
}
