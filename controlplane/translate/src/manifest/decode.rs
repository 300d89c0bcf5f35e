//! One document to objects: lists are expanded, kinds are told apart, errors name field and line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringress_shared::origin::ObjectRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::flattened::restored;
use super::kind::{self, Verdict};
use super::yaml::{self, DocumentText, Node, SyntaxError, Tree, join};
use super::{Document, Flattened, Parsed, flattened, names, salvage};
use crate::objects::Object;
use crate::problem::{Place, Problem};

/// Stands in a Secret where base64 should and something else does. No PEM begins like this.
pub(super) const PLACEHOLDER_MARK: &[u8] = b"\0not base64";

/// Reads one document into `parsed`.
pub(super) fn read(file: &str, part: &DocumentText, parsed: &mut Parsed) {
    let loaded = match flattened(&part.text) {
        Some(flat) => Err(lost_indentation(file, part, &flat)),
        None => yaml::load(part).map_err(|error| syntax(file, part, &error)),
    };
    match loaded {
        Ok(node) => read_node(file, &node, parsed),
        Err(problem) => {
            parsed.incomplete = true;
            parsed.problems.push(problem);
        }
    }
}

fn lost_indentation(file: &str, part: &DocumentText, flat: &Flattened) -> Problem {
    let obstacle = restored(&part.text, part.line).err().map(|error| error.to_string());
    let line = part.line + flat.line - 1;
    Problem::flattened(&flat.object, obstacle.as_deref()).with_place(Place { file: file.to_owned(), line })
}

fn syntax(file: &str, part: &DocumentText, error: &SyntaxError) -> Problem {
    let object = ObjectRef::new("File", "", file);
    // What becomes readable without a margin has one, whatever the parser stumbled over.
    let problem = match restored(&part.text, part.line) {
        Ok(_) => Problem::margin(&object),
        Err(_) => Problem::undecodable(&object, "", &error.why),
    };
    problem.with_place(Place { file: file.to_owned(), line: error.line })
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
        Err(Failure { problems, incomplete }) => {
            parsed.incomplete |= incomplete;
            parsed.problems.extend(problems);
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
    problems: Vec<Problem>,
    /// Whether an object of ours may be missing now.
    incomplete: bool,
}

fn decode(file: &str, node: &Node) -> Result<Decoded, Failure> {
    let lines = node.field_lines();
    let placed = |problem: Problem| {
        let line = lines.line(&problem.field).unwrap_or(node.line);
        problem.with_place(Place { file: file.to_owned(), line })
    };
    let fail = |problem: Problem| Failure { problems: vec![placed(problem)], incomplete: true };
    let object = reference(file, node);
    let (kind, version) =
        kind_and_version(node).map_err(|(field, why)| fail(Problem::undecodable(&object, field, why)))?;
    if let Some((problem, incomplete)) = unread(&object, kind, version) {
        return Err(Failure { problems: vec![placed(problem)], incomplete });
    }
    let misplaced: Vec<_> = misplaced(&object, kind, node).map(placed).collect();
    if !misplaced.is_empty() {
        return Err(Failure { problems: misplaced, incomplete: true });
    }
    let mut value = node.to_value();
    let placeholders = if kind == "Secret" { replace_placeholders(&mut value) } else { Vec::new() };
    let (decoded, unknown, undecodable) = match object_of(kind, &value).and_then(without_unknown_of_rules) {
        Ok((decoded, unknown)) => (decoded, unknown, None),
        Err((field, why)) => {
            let problem = Problem::undecodable(&object, &field, &why);
            match salvaged(kind, &value) {
                Some(decoded) => (decoded, Vec::new(), Some(problem)),
                None => return Err(fail(problem)),
            }
        }
    };
    if decoded.key().name.is_empty() {
        let why = "the object has no name; write metadata.name";
        return Err(fail(Problem::undecodable(&object, "metadata.name", why)));
    }
    let reference = decoded.reference();
    if let Some((field, why)) = names::refused(&reference) {
        // A name that may hold anything is not told as the name of an object.
        return Err(fail(Problem::undecodable(&ObjectRef::new("File", "", file), field, &why)));
    }
    let broken = !placeholders.is_empty();
    let placeholders = placeholders.iter().map(|key| Problem::secret_placeholder(&reference, key));
    let unknown = unknown.iter().map(|field| Problem::unknown_field(&reference, field));
    let problems = undecodable.into_iter().chain(placeholders).chain(unknown).map(placed).collect();
    let line = node.line;
    Ok(Decoded {
        document: Document { object: decoded, file: file.to_owned(), line, field_lines: lines, broken },
        problems,
    })
}

/// A rule of an Ingress has two fields. With any other in the place of `host`, it would take every host.
fn without_unknown_of_rules(
    (object, unknown): (Object, Vec<String>),
) -> Result<(Object, Vec<String>), (String, String)> {
    let is_of_rule = |field: &&String| {
        let inside = field.strip_prefix("spec.rules[").and_then(|rest| rest.split_once("]."));
        inside.is_some_and(|(_, name)| !name.contains(['.', '[']))
    };
    match unknown.iter().find(is_of_rule) {
        Some(field) if matches!(object, Object::Ingress(_)) => {
            let why = "a rule has no such field; it has host and http (kubectl refuses it, too)";
            Err((field.clone(), why.to_owned()))
        }
        _ => Ok((object, unknown)),
    }
}

/// A protected Ingress as far as it can be read.
fn salvaged(kind: &str, value: &Value) -> Option<Object> {
    let readable = salvage::ingress(value).filter(|_| kind == "Ingress")?;
    object_of(kind, &readable).ok().map(|(object, _)| object)
}

/// Why a document of that kind and version is not read, and whether an object of ours may be missing for that.
fn unread(object: &ObjectRef, kind: &str, version: &str) -> Option<(Problem, bool)> {
    match kind::judge(kind, version) {
        Verdict::Ours => None,
        Verdict::Foreign => Some((Problem::unknown_kind(object, kind, version), false)),
        Verdict::OtherVersion { wanted } => {
            Some((Problem::unknown_version(object, kind, version, wanted), true))
        }
        Verdict::Misspelt { meant, wanted } => {
            Some((Problem::misspelt_kind(object, kind, meant, wanted), true))
        }
    }
}

/// Fields of an Ingress that stand beside the one they belong under. An API server that validates strictly refuses such
/// an object; decoding it without them would open what they close.
fn misplaced(object: &ObjectRef, kind: &str, node: &Node) -> impl Iterator<Item = Problem> {
    let found = HOMES.iter().filter(move |(field, _)| kind == "Ingress" && node.field(field).is_some());
    found.map(|(field, home)| Problem::misplaced_field(object, field, home))
}

const HOMES: [(&str, &str); 5] = [
    ("ingressClassName", "spec"),
    ("defaultBackend", "spec"),
    ("tls", "spec"),
    ("rules", "spec"),
    ("annotations", "metadata"),
];

/// The object as far as the document names it.
fn reference(file: &str, node: &Node) -> ObjectRef {
    let text = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
    let metadata = node.field("metadata");
    let kind = text(node.field("kind"));
    let name = text(metadata.and_then(|metadata| metadata.field("name")));
    let namespace = text(metadata.and_then(|metadata| metadata.field("namespace")));
    let is_printable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
    if kind.is_empty() || name.is_empty() || ![&kind, &name, &namespace].into_iter().all(is_printable) {
        return ObjectRef::new("File", "", file);
    }
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
