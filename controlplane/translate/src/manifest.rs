//! Text to objects: YAML and JSON documents, with the lines where their fields stand.
//!
//! Documents are split before they are parsed, so that one broken document does not harm the next. Nothing here touches
//! a file: names and texts come in, objects and problems go out.

mod decode;
mod flattened;
mod folder;
pub mod json;
mod kind;
mod margin;
mod names;
mod salvage;
mod schema;
mod yaml;

use std::collections::BTreeMap;

pub use flattened::{Flattened, UnflattenError, flattened, unflatten};
pub use folder::{Folder, Loaded};

use crate::objects::Object;
use crate::problem::Problem;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The objects that could be read, in the order of the file.
    pub documents: Vec<Document>,
    /// What could not be read, with places.
    pub problems: Vec<Problem>,
    /// Whether a document could not become an object, so that the file may lack objects which it had before.
    pub incomplete: bool,
}

/// One object of a file.
#[derive(Debug)]
pub struct Document {
    /// The object.
    pub object: Object,
    /// The file.
    pub file: String,
    /// Where the object begins, from 1.
    pub line: usize,
    /// Where its fields stand.
    pub field_lines: FieldLines,
    /// Whether it is wrong in a way that should not replace an earlier version (a Secret with placeholders).
    pub broken: bool,
}

/// Lines by field path: `spec.rules[0].http.paths[1].path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldLines(BTreeMap<String, usize>);

impl FieldLines {
    /// The line of a field; of the nearest field around it where it does not stand in the text.
    pub fn line(&self, field: &str) -> Option<usize> {
        let mut field = field;
        loop {
            if let Some(line) = self.0.get(field) {
                return Some(*line);
            }
            field = parent(field)?;
        }
    }
}

/// `a.b[0]` → `a.b` → `a`; keys in brackets may have dots.
fn parent(field: &str) -> Option<&str> {
    let end = match field.strip_suffix(']') {
        Some(inner) => inner.rfind('[')?,
        None => field.rfind('.')?,
    };
    Some(&field[..end])
}

/// Reads the documents of a file.
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for part in yaml::split(text) {
        decode::read(file, &part, &mut parsed);
    }
    parsed
}

/// Whether a value of a Secret is text that was left where base64 should stand: `<base64-cert>`.
pub(crate) fn is_placeholder(bytes: &[u8]) -> bool {
    bytes.starts_with(decode::PLACEHOLDER_MARK)
}
