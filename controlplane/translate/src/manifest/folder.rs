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
    /// The files that define each object, and those that only keep it from before they broke.
    holders: BTreeMap<ObjectRef, BTreeSet<String>>,
    /// The version of each object that counts.
    objects: Objects,
    /// Files with problems of their own.
    troubled: BTreeSet<String>,
    /// Objects that several files hold, or that only a broken file keeps.
    contested: BTreeSet<ObjectRef>,
}

/// What the files say now.
#[derive(Debug, Clone, Default)]
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

    /// Takes the whole folder, names relative to it, and says what it holds now. Files with the same text cost a comparison.
    pub fn update(&mut self, files: BTreeMap<String, Arc<str>>) -> Loaded {
        let gone =
            self.files.keys().filter(|name| !files.contains_key(*name)).map(|name| (name.clone(), None));
        let mut changes: BTreeMap<String, Option<Arc<str>>> = gone.collect();
        // Sources keep the pointer of a text that did not change.
        let same = |file: &File, text: &Arc<str>| Arc::ptr_eq(&file.text, text) || file.text == *text;
        let is_known =
            |name: &String, text: &Arc<str>| self.files.get(name).is_some_and(|file| same(file, text));
        let new = files.into_iter().filter(|(name, text)| !is_known(name, text));
        changes.extend(new.map(|(name, text)| (name, Some(text))));
        self.change(changes)
    }

    /// Takes what changed, `None` for a deleted file, and says what the folder holds now. Costs what changed, and a copy of
    /// the tables (pointers, no object).
    fn change(&mut self, changes: BTreeMap<String, Option<Arc<str>>>) -> Loaded {
        let mut touched = BTreeSet::new();
        for (name, text) in changes {
            let before = self.take_out(&name, &mut touched);
            if let Some(text) = text {
                let file = File::read(&name, text, before);
                self.put_in(name, file, &mut touched);
            }
        }
        for reference in touched {
            self.settle(reference);
        }
        Loaded { objects: self.objects.clone(), problems: self.problems() }
    }

    /// Where a field of an object stands; the nearest field around it, or the object's first line.
    pub fn place(&self, object: &ObjectRef, field: &str) -> Option<Place> {
        let (name, held) = self.holders(object).next()?;
        let line = held.field_lines.line(field).unwrap_or(held.line);
        Some(Place { file: name.clone(), line })
    }

    fn take_out(&mut self, name: &str, touched: &mut BTreeSet<ObjectRef>) -> Option<File> {
        let file = self.files.remove(name)?;
        self.troubled.remove(name);
        for reference in file.objects.keys() {
            if let Some(holders) = self.holders.get_mut(reference) {
                holders.remove(name);
            }
            touched.insert(reference.clone());
        }
        Some(file)
    }

    fn put_in(&mut self, name: String, file: File, touched: &mut BTreeSet<ObjectRef>) {
        if !file.problems.is_empty() {
            self.troubled.insert(name.clone());
        }
        for reference in file.objects.keys() {
            self.holders.entry(reference.clone()).or_default().insert(name.clone());
            touched.insert(reference.clone());
        }
        self.files.insert(name, file);
    }

    /// Decides anew which version of an object counts.
    fn settle(&mut self, reference: ObjectRef) {
        let Some((_, winner)) = self.winner(&reference) else {
            self.objects.remove(&reference);
            self.contested.remove(&reference);
            self.holders.remove(&reference);
            return;
        };
        let (object, is_kept) = (Arc::clone(&winner.object), winner.kept);
        self.objects.absorb(&object);
        match is_kept || self.holders(&reference).nth(1).is_some() {
            true => self.contested.insert(reference),
            false => self.contested.remove(&reference),
        };
    }

    /// Every file that holds an object, in the order of their names.
    fn holders(&self, reference: &ObjectRef) -> impl Iterator<Item = (&String, &Held)> {
        let names = self.holders.get(reference).into_iter().flatten();
        let reference = reference.clone();
        names.filter_map(move |name| Some((name, self.files.get(name)?.objects.get(&reference)?)))
    }

    /// The first file that defines an object; else the first that keeps it.
    fn winner(&self, reference: &ObjectRef) -> Option<(&String, &Held)> {
        let defining = self.holders(reference).find(|(_, held)| !held.kept);
        defining.or_else(|| self.holders(reference).next())
    }

    /// File by file: what could not be read, then what another file defines; after them what is only kept.
    fn problems(&self) -> Vec<Problem> {
        let mut by_file: BTreeMap<&String, Vec<Problem>> = BTreeMap::new();
        for name in &self.troubled {
            by_file.entry(name).or_default().extend(self.files[name].problems.iter().cloned());
        }
        let mut kept = BTreeMap::new();
        for reference in &self.contested {
            let Some((winner, winning)) = self.winner(reference) else { continue };
            if winning.kept {
                let place = Place { file: winner.clone(), line: winning.line };
                kept.insert((winner, reference), Problem::kept(reference, winner).with_place(place));
                continue;
            }
            let first = Place { file: winner.clone(), line: winning.line };
            for (name, held) in self.holders(reference).filter(|(name, held)| !held.kept && *name != winner) {
                let here = Place { file: name.clone(), line: held.line };
                let problem = Problem::duplicate_object(reference, &first).with_place(here);
                by_file.entry(name).or_default().push(problem);
            }
        }
        by_file.into_values().flatten().chain(kept.into_values()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the files say, computed from nothing but them.
    fn naive(folder: &Folder) -> BTreeMap<ObjectRef, (String, bool)> {
        let mut counts = BTreeMap::new();
        for kept in [false, true] {
            for (name, file) in &folder.files {
                for (reference, _) in file.objects.iter().filter(|(_, held)| held.kept == kept) {
                    counts.entry(reference.clone()).or_insert_with(|| (name.clone(), kept));
                }
            }
        }
        counts
    }

    fn text(services: &[u64], broken: bool) -> Arc<str> {
        let one = |name: &u64| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{name}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
            )
        };
        let tail = if broken { "kind: [\n" } else { "" };
        (services.iter().map(one).collect::<String>() + tail).into()
    }

    #[test]
    fn any_sequence_of_changes_gives_what_the_files_say() {
        let mut folder = Folder::new();
        // xorshift: small, seeded, the same everywhere.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = |end: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % end
        };
        for _ in 0..2_000 {
            let mut changes = BTreeMap::new();
            for _ in 0..=random(2) {
                let services: Vec<u64> = (0..random(4)).map(|_| random(6)).collect();
                let now = (random(4) > 0).then(|| text(&services, random(3) == 0));
                changes.insert(format!("{}.yaml", random(5)), now);
            }
            let loaded = folder.change(changes);
            let naive = naive(&folder);
            assert_eq!(loaded.objects.len(), naive.len());
            for (reference, (file, kept)) in naive {
                assert!(loaded.objects.contains(&reference), "{reference}");
                let (winner, held) = folder.winner(&reference).expect("somebody holds it");
                assert_eq!((winner, held.kept), (&file, kept), "{reference}");
                let told = loaded.problems.iter().any(|problem| {
                    problem.object == reference && problem.message.contains("stays as it was")
                });
                assert_eq!(told, kept, "{reference}: {:?}", loaded.problems);
            }
        }
    }
}
