//! Splits a text into documents and parses one into a tree that knows its lines.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use super::FieldLines;

/// One document of a file.
#[derive(Debug)]
pub(super) struct DocumentText {
    /// Its text.
    pub(super) text: String,
    /// The line of the file at which it begins, from 1.
    pub(super) line: usize,
}

/// A value that knows its line in the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) tree: Tree,
}

#[derive(Debug)]
pub(super) enum Tree {
    Scalar(Value),
    Sequence(Vec<Node>),
    /// Key, its line, the value under it.
    Mapping(Vec<(String, usize, Node)>),
}

/// Why a document is no tree.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// The line of the file.
    pub(super) line: usize,
    pub(super) why: String,
}

/// The documents of a text. `---` and `...` at the start of a line separate documents; no scalar can hold them there.
pub(super) fn split(text: &str) -> Vec<DocumentText> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json(text) {
        return vec![DocumentText { text: text.to_owned(), line: 1 }];
    }
    let mut parts = vec![DocumentText { text: String::new(), line: 1 }];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match separator(line) {
            // The rest of the line belongs to the document; blanks keep its columns.
            Some(rest) => parts.push(DocumentText { text: format!("   {rest}"), line: number + 1 }),
            None => parts.last_mut().expect("one part at least").text.push_str(line),
        }
    }
    parts.retain(|part| part.text.lines().any(has_content));
    parts
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// What follows `---` or `...` on a line that separates documents.
pub(super) fn separator(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."))?;
    rest.is_empty().then_some(rest).or_else(|| rest.starts_with([' ', '\t', '\r', '\n']).then_some(rest))
}

/// Whether a line is more than blank, a comment or a directive.
fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
}

/// Nesting of a document at most; deeper ones would exhaust the stack.
const DEPTH_MAX: usize = 64;

/// The tree of a document.
pub(super) fn load(part: &DocumentText) -> Result<Node, SyntaxError> {
    if is_json(&part.text) {
        return load_json(part);
    }
    if nesting(&part.text) > DEPTH_MAX {
        return Err(SyntaxError { line: part.line, why: format!("nested deeper than {DEPTH_MAX} levels") });
    }
    let documents = MarkedYaml::load_from_str(&part.text).map_err(|error| SyntaxError {
        line: part.line + error.marker().line().saturating_sub(1),
        why: error.info().to_owned(),
    })?;
    match documents.first() {
        Some(document) => convert(document, part.line - 1, 0),
        None => Ok(Node { line: part.line, tree: Tree::Scalar(Value::Null) }),
    }
}

/// An upper bound of how deep brackets and indentation nest, found without recursion.
fn nesting(text: &str) -> usize {
    let mut open = 0usize;
    let mut deepest = 0usize;
    for line in text.lines() {
        let dashes = line.trim_start().split(' ').take_while(|word| *word == "-").count();
        deepest = deepest.max(open + dashes);
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => continue,
            }
            deepest = deepest.max(open);
        }
    }
    deepest
}

/// JSON has an error of its own for each mistake, and lines where it is YAML too.
fn load_json(part: &DocumentText) -> Result<Node, SyntaxError> {
    let value: Value = serde_json::from_str(&part.text).map_err(|error| SyntaxError {
        line: part.line + error.line().saturating_sub(1),
        why: error.to_string(),
    })?;
    let marked = MarkedYaml::load_from_str(&part.text).ok();
    let with_lines = marked.as_ref().and_then(|documents| documents.first());
    Ok(with_lines
        .and_then(|document| convert(document, part.line - 1, 0).ok())
        .unwrap_or_else(|| without_lines(value, part.line)))
}

fn without_lines(value: Value, line: usize) -> Node {
    let tree = match value {
        Value::Array(items) => {
            Tree::Sequence(items.into_iter().map(|item| without_lines(item, line)).collect())
        }
        Value::Object(fields) => Tree::Mapping(
            fields.into_iter().map(|(key, value)| (key, line, without_lines(value, line))).collect(),
        ),
        scalar => Tree::Scalar(scalar),
    };
    Node { line, tree }
}

fn convert(yaml: &MarkedYaml<'_>, offset: usize, depth: usize) -> Result<Node, SyntaxError> {
    let line = offset + yaml.span.start.line();
    let fail = |why: &str| Err(SyntaxError { line, why: why.to_owned() });
    if depth > DEPTH_MAX {
        return fail("nested too deeply");
    }
    let tree = match &yaml.data {
        YamlData::Value(scalar) => Tree::Scalar(json_scalar(scalar)),
        YamlData::Representation(text, _, _) => Tree::Scalar(Value::String(text.to_string())),
        YamlData::Sequence(items) => Tree::Sequence(
            items.iter().map(|item| convert(item, offset, depth + 1)).collect::<Result<_, _>>()?,
        ),
        YamlData::Mapping(fields) => {
            let mut entries = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                let Some(text) = key_text(key) else { return fail("a key of a mapping must be plain text") };
                entries.push((text, offset + key.span.start.line(), convert(value, offset, depth + 1)?));
            }
            Tree::Mapping(entries)
        }
        YamlData::Tagged(_, inner) => return convert(inner, offset, depth + 1),
        YamlData::Alias(_) => return fail("an alias stands before its anchor"),
        YamlData::BadValue => return fail("a value does not fit its tag"),
    };
    Ok(Node { line, tree })
}

fn key_text(key: &MarkedYaml<'_>) -> Option<String> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(truth)) => Some(truth.to_string()),
        YamlData::Representation(text, _, _) => Some(text.to_string()),
        _ => None,
    }
}

fn json_scalar(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(truth) => Value::Bool(*truth),
        Scalar::Integer(number) => Value::Number((*number).into()),
        Scalar::FloatingPoint(number) => {
            Number::from_f64(number.into_inner()).map_or(Value::Null, Value::Number)
        }
        Scalar::String(text) => Value::String(text.to_string()),
    }
}

impl Node {
    /// The value without lines.
    pub(super) fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::Sequence(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Tree::Mapping(fields) => {
                let fields = fields.iter().map(|(key, _, value)| (key.clone(), value.to_value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// The value under a key.
    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Mapping(fields) => fields.iter().find(|(key, _, _)| key == name).map(|(_, _, value)| value),
            Tree::Scalar(_) | Tree::Sequence(_) => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The lines of all fields below.
    pub(super) fn field_lines(&self) -> FieldLines {
        let mut lines = FieldLines::default();
        self.collect_lines("", &mut lines);
        lines
    }

    fn collect_lines(&self, path: &str, lines: &mut FieldLines) {
        match &self.tree {
            Tree::Scalar(_) => {}
            Tree::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    lines.0.insert(path.clone(), item.line);
                    item.collect_lines(&path, lines);
                }
            }
            Tree::Mapping(fields) => {
                for (key, line, value) in fields {
                    let path = join(path, key);
                    lines.0.insert(path.clone(), *line);
                    value.collect_lines(&path, lines);
                }
            }
        }
    }
}

/// `spec` + `rules` → `spec.rules`; keys with other than word characters stand in brackets.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_keep_their_lines() {
        let text = "# head\n---\na: 1\n---\n# nothing\n--- # second\nb:\n  - c: 2\n...\n";
        let parts = split(text);
        assert_eq!(parts.iter().map(|part| part.line).collect::<Vec<_>>(), [2, 6]);
        let node = load(&parts[1]).unwrap();
        assert_eq!(node.field_lines().line("b[0].c"), Some(8));
        assert_eq!(node.field_lines().line("b[0].missing"), Some(8));
        assert_eq!(node.field_lines().line("missing"), None);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in
            [("a: 1\nb: [1\n", 3), ("a: 1\na: 2\n", 2), ("{\n\"a\": }", 2), ("a:\n\tb: 1\n", 2)]
        {
            let error = load(&split(text)[0]).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {}", error.why);
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), format!("{{\"a\":{}", "[".repeat(100_000))] {
            assert!(load(&DocumentText { text, line: 1 }).is_err());
        }
    }

    #[test]
    fn json_keeps_its_lines() {
        let node = load(&split("{\n  \"spec\": {\n    \"a.b\": 1\n  }\n}\n")[0]).unwrap();
        assert_eq!(node.field_lines().line("spec[a.b]"), Some(3));
    }
}
