//! One document to objects: lists are expanded, kinds are told apart, errors name field and line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringress_shared::origin::ObjectRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::yaml::{self, DocumentText, Node, Tree, join};
use super::{Document, Parsed, flattened};
use crate::objects::Object;
use crate::problem::{Place, Problem};

/// Stands in a Secret where base64 should and something else does. No PEM begins like this.
pub(super) const PLACEHOLDER_MARK: &[u8] = b"\0not base64";

/// Reads one document into `parsed`.
pub(super) fn read(file: &str, part: &DocumentText, parsed: &mut Parsed) {
    let place = |line: usize| Place { file: file.to_owned(), line };
    if let Some(flat) = flattened(&part.text) {
        let line = part.line + flat.line - 1;
        parsed.incomplete = true;
        parsed.problems.push(Problem::flattened(&flat.object).with_place(place(line)));
        return;
    }
    match yaml::load(part) {
        Ok(node) => read_node(file, &node, parsed),
        Err(error) => {
            parsed.incomplete = true;
            let object = ObjectRef::new("File", "", file);
            parsed.problems.push(Problem::undecodable(&object, "", &error.why).with_place(place(error.line)));
        }
    }
}

fn read_node(file: &str, node: &Node, parsed: &mut Parsed) {
    if matches!(node.tree, Tree::Scalar(Value::Null)) {
        return;
    }
    if let Some(Node { tree: Tree::Sequence(items), .. }) = list_items(node) {
        items.iter().for_each(|item| read_node(file, item, parsed));
        return;
    }
    match decode(file, node) {
        Ok(Decoded { document, problems }) => {
            parsed.problems.extend(problems);
            parsed.documents.push(document);
        }
        Err(Failure { problem, incomplete }) => {
            parsed.incomplete |= incomplete;
            parsed.problems.push(*problem);
        }
    }
}

/// The items of `kind: List`, `IngressList`, ….
fn list_items(node: &Node) -> Option<&Node> {
    let kind = node.field("kind")?.text()?;
    kind.ends_with("List").then(|| node.field("items")).flatten()
}

struct Decoded {
    document: Document,
    problems: Vec<Problem>,
}

struct Failure {
    problem: Box<Problem>,
    /// Whether an object of ours may be missing now.
    incomplete: bool,
}

fn decode(file: &str, node: &Node) -> Result<Decoded, Failure> {
    let lines = node.field_lines();
    let place = |field: &str| Place { file: file.to_owned(), line: lines.line(field).unwrap_or(node.line) };
    let fail = |problem: Problem, incomplete: bool| {
        let place = place(&problem.field);
        Failure { problem: Box::new(problem.with_place(place)), incomplete }
    };
    let object = reference(file, node);
    let (kind, version) = kind_and_version(node)
        .map_err(|(field, why)| fail(Problem::undecodable(&object, field, why), true))?;
    match wanted_version(kind) {
        None => return Err(fail(Problem::unknown_kind(&object, version), false)),
        Some(wanted) if wanted != version => {
            return Err(fail(Problem::unknown_version(&object, version, wanted), true));
        }
        Some(_) => {}
    }
    let mut value = node.to_value();
    let placeholders = if kind == "Secret" { replace_placeholders(&mut value) } else { Vec::new() };
    let (decoded, unknown) = object_of(kind, &value)
        .map_err(|(field, why)| fail(Problem::undecodable(&object, &field, &why), true))?;
    if decoded.key().name.is_empty() {
        let why = "the object has no name; write metadata.name";
        return Err(fail(Problem::undecodable(&object, "metadata.name", why), true));
    }
    let reference = decoded.reference();
    let broken = !placeholders.is_empty();
    let placeholders = placeholders.iter().map(|key| Problem::secret_placeholder(&reference, key));
    let unknown = unknown.iter().map(|field| Problem::unknown_field(&reference, field));
    let problems = placeholders.chain(unknown).map(|problem| {
        let place = place(&problem.field);
        problem.with_place(place)
    });
    let problems = problems.collect();
    let line = node.line;
    Ok(Decoded {
        document: Document { object: decoded, file: file.to_owned(), line, field_lines: lines, broken },
        problems,
    })
}

/// The object as far as the document names it.
fn reference(file: &str, node: &Node) -> ObjectRef {
    let text = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
    let metadata = node.field("metadata");
    let kind = text(node.field("kind"));
    let name = text(metadata.and_then(|metadata| metadata.field("name")));
    if kind.is_empty() || name.is_empty() {
        return ObjectRef::new("File", "", file);
    }
    let namespace = text(metadata.and_then(|metadata| metadata.field("namespace")));
    let cluster_wide = matches!(&*kind, "IngressClass" | "Namespace");
    let namespace = if namespace.is_empty() && !cluster_wide { "default".to_owned() } else { namespace };
    ObjectRef::new(&kind, &namespace, &name)
}

fn kind_and_version(node: &Node) -> Result<(&str, &str), (&'static str, &'static str)> {
    if !matches!(node.tree, Tree::Mapping(_)) {
        return Err(("", "the document is no object; it must begin with apiVersion and kind"));
    }
    let version = node.field("apiVersion").and_then(Node::text);
    let kind = node.field("kind").and_then(Node::text);
    match (kind, version) {
        (Some(kind), Some(version)) => Ok((kind, version)),
        (None, _) => Err(("kind", "the document has no kind")),
        (_, None) => Err(("apiVersion", "the document has no apiVersion")),
    }
}

fn wanted_version(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "Service" | "Endpoints" | "Secret" | "ConfigMap" | "Namespace" => "v1",
        _ => return None,
    })
}

/// The object and the fields of it that its kind does not have, or the wrong field and why.
fn object_of(kind: &str, value: &Value) -> Result<(Object, Vec<String>), (String, String)> {
    Ok(match kind {
        "Ingress" => typed(value, Object::Ingress)?,
        "IngressClass" => typed(value, Object::IngressClass)?,
        "Service" => typed(value, Object::Service)?,
        "EndpointSlice" => typed(value, Object::EndpointSlice)?,
        "Endpoints" => typed(value, Object::Endpoints)?,
        "Secret" => typed(value, Object::Secret)?,
        "ConfigMap" => typed(value, Object::ConfigMap)?,
        _ => typed(value, Object::Namespace)?,
    })
}

fn typed<T: DeserializeOwned + Serialize>(
    value: &Value,
    wrap: impl Fn(Box<T>) -> Object,
) -> Result<(Object, Vec<String>), (String, String)> {
    let object: T = serde_path_to_error::deserialize(value)
        .map_err(|error| (path_text(error.path()), advice(error.inner().to_string())))?;
    let mut unknown = Vec::new();
    if let Ok(known) = serde_json::to_value(&object) {
        unknown_fields("", value, &known, &mut unknown);
    }
    Ok((wrap(Box::new(object)), unknown))
}

fn path_text(path: &serde_path_to_error::Path) -> String {
    path.iter().fold(String::new(), |text, segment| match segment {
        Segment::Seq { index } => format!("{text}[{index}]"),
        Segment::Map { key } => join(&text, key),
        Segment::Enum { variant } => join(&text, variant),
        Segment::Unknown => text,
    })
}

/// The next step for the mistake that is made most: an unquoted number or truth where text must be.
fn advice(why: String) -> String {
    match why.ends_with("expected a string") {
        true => format!("{why}; put it in quotes"),
        false => why,
    }
}

/// Fields of `given` that did not survive decoding: the kind does not have them.
fn unknown_fields(path: &str, given: &Value, known: &Value, out: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = join(path, key);
                match known.get(key) {
                    Some(inner) => unknown_fields(&path, value, inner, out),
                    None if is_empty(value) => {}
                    None => out.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (value, inner)) in given.iter().zip(known).enumerate() {
                unknown_fields(&format!("{path}[{index}]"), value, inner, out);
            }
        }
        _ => {}
    }
}

/// Whether leaving a value out says the same.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Marks values under `data` that are not base64 and returns their keys; line breaks inside base64 are fine.
fn replace_placeholders(secret: &mut Value) -> Vec<String> {
    let Some(Value::Object(data)) = secret.get_mut("data") else { return Vec::new() };
    let mut placeholders = Vec::new();
    for (key, value) in data {
        let Value::String(text) = value else { continue };
        let packed: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        if STANDARD.decode(&packed).is_ok() {
            *text = packed;
        } else {
            *text = STANDARD.encode(PLACEHOLDER_MARK);
            placeholders.push(key.clone());
        }
    }
    placeholders
}
