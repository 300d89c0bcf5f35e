//! The state of a folder of manifests: which file gave which object, and what stays when a file breaks.
//!
//! A document that does not parse: the good documents of the file count, the objects that the file had before and now
//! lacks keep their last version. A deleted file deletes. Of two files that define one object the first by name wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::origin::ObjectRef;

use super::{FieldLines, Parsed, parse};
use crate::objects::{Object, Objects};
use crate::problem::{Place, Problem};

/// A folder as it was last read.
#[derive(Debug, Default)]
pub struct Folder {
    files: BTreeMap<String, File>,
}

/// What the files say now.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The objects.
    pub objects: Objects,
    /// What could not be read, with places.
    pub problems: Vec<Problem>,
}

#[derive(Debug)]
struct File {
    text: Arc<str>,
    objects: BTreeMap<ObjectRef, Held>,
    problems: Vec<Problem>,
}

#[derive(Debug, Clone)]
struct Held {
    object: Arc<Hashed>,
    line: usize,
    field_lines: Arc<FieldLines>,
    broken: bool,
    /// Left over from before the file broke: it counts only where no file defines the object.
    kept: bool,
}

/// One object in a table of its own, so that its version is computed once.
type Hashed = Objects;

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the whole folder, names relative to it, and says what it holds now. Files with the same text cost nothing.
    pub fn update(&mut self, files: BTreeMap<String, Arc<str>>) -> Loaded {
        self.files.retain(|name, _| files.contains_key(name));
        for (name, text) in files {
            let before = self.files.remove(&name);
            let file = match before {
                Some(before) if before.text == text => before,
                before => File::read(&name, text, before),
            };
            self.files.insert(name, file);
        }
        self.load()
    }

    /// Where a field of an object stands; the nearest field around it, or the object's first line.
    pub fn place(&self, object: &ObjectRef, field: &str) -> Option<Place> {
        self.files.iter().find_map(|(name, file)| {
            let held = file.objects.get(object)?;
            let line = held.field_lines.line(field).unwrap_or(held.line);
            Some(Place { file: name.clone(), line })
        })
    }

    fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        for (name, file) in &self.files {
            loaded.problems.extend(file.problems.iter().cloned());
            for (reference, held) in file.objects.iter().filter(|(_, held)| !held.kept) {
                if loaded.objects.contains(reference) {
                    loaded.problems.push(self.duplicate(reference, name, held));
                } else {
                    loaded.objects.absorb(&held.object);
                }
            }
        }
        for (name, file) in &self.files {
            for (reference, held) in file.objects.iter().filter(|(_, held)| held.kept) {
                if !loaded.objects.contains(reference) {
                    let place = Place { file: name.clone(), line: held.line };
                    loaded.problems.push(Problem::kept(reference, name).with_place(place));
                    loaded.objects.absorb(&held.object);
                }
            }
        }
        loaded
    }

    fn duplicate(&self, reference: &ObjectRef, file: &str, held: &Held) -> Problem {
        let defines =
            |file: &File| file.objects.get(reference).filter(|held| !held.kept).map(|held| held.line);
        let first = self.files.iter().find_map(|(name, file)| Some((name, defines(file)?)));
        let (first, line) = first.map_or((file, held.line), |(name, line)| (name.as_str(), line));
        let first = Place { file: first.to_owned(), line };
        let here = Place { file: file.to_owned(), line: held.line };
        Problem::duplicate_object(reference, &first).with_place(here)
    }
}

impl File {
    fn read(name: &str, text: Arc<str>, before: Option<Self>) -> Self {
        let Parsed { documents, problems, incomplete } = parse(name, &text);
        let mut file = Self { text, objects: BTreeMap::new(), problems };
        let mut before = before.map(|before| before.objects).unwrap_or_default();
        for document in documents {
            let reference = document.object.reference();
            if let Some(winner) = file.objects.get(&reference) {
                let place = |line| Place { file: name.to_owned(), line };
                let problem = Problem::duplicate_object(&reference, &place(winner.line));
                file.problems.push(problem.with_place(place(document.line)));
                continue;
            }
            let field_lines = Arc::new(document.field_lines);
            let earlier = before.remove(&reference).filter(|earlier| document.broken && !earlier.broken);
            let held = match earlier {
                Some(earlier) => Held { line: document.line, field_lines, kept: false, ..earlier },
                None => Held {
                    object: hashed(document.object),
                    line: document.line,
                    field_lines,
                    broken: document.broken,
                    kept: false,
                },
            };
            file.objects.insert(reference, held);
        }
        let defined: BTreeSet<ObjectRef> = file.objects.keys().cloned().collect();
        if incomplete {
            let left = before.into_iter().map(|(reference, held)| (reference, Held { kept: true, ..held }));
            file.objects.extend(left.filter(|(reference, _)| !defined.contains(reference)));
        }
        file
    }
}

fn hashed(object: Object) -> Arc<Hashed> {
    let mut single = Objects::default();
    single.insert(object);
    Arc::new(single)
}
