//! What a change did to the list of problems: what is wrong now and was not, what is put right.
//!
//! The log of problems stands here alone, so that a filter can name it by its module: `dev` shows problems on its screen.

use std::collections::BTreeSet;

use ringress_shared::origin::ObjectRef;
use ringress_shared::snapshot::Generation;
use ringress_translate::{Level, Objects, Problem, Reason};

/// Objects, and everything that is wrong with them or with their files.
#[derive(Clone, Copy)]
pub(crate) struct State<'s> {
    pub(crate) objects: &'s Objects,
    pub(crate) problems: &'s [Problem],
}

/// From one state to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shift {
    /// What is wrong now and was not.
    pub(crate) appeared: Vec<Problem>,
    /// What was wrong and is not, of objects that are still there and not well yet, and of files.
    pub(crate) solved: Vec<Problem>,
    /// Objects that had problems, are still there, and have none.
    pub(crate) recovered: Vec<ObjectRef>,
}

impl Shift {
    pub(crate) fn between(before: State<'_>, now: State<'_>) -> Self {
        let gone = differing(before.problems, now.problems).filter(matters);
        let ill: BTreeSet<&ObjectRef> =
            now.problems.iter().filter(matters).map(|problem| &problem.object).collect();
        let mut shift =
            Self { appeared: differing(now.problems, before.problems).cloned().collect(), ..Self::default() };
        let mut well = BTreeSet::new();
        for problem in gone {
            let object = &problem.object;
            match (ill.contains(object), now.objects.contains(object)) {
                (false, true) => drop(well.insert(object.clone())),
                // Who deletes an object need not hear that nothing is wrong with it.
                (false, false) if before.objects.contains(object) => {}
                (true, _) | (false, false) => shift.solved.push(problem.clone()),
            }
        }
        shift.recovered = well.into_iter().collect();
        shift
    }

    /// Adds what happened next; `problems` is what is wrong after both.
    pub(crate) fn followed_by(&mut self, next: Self, problems: &[Problem]) {
        let Self { appeared, solved, recovered } = next;
        self.appeared.retain(|problem| problems.contains(problem));
        self.appeared.extend(appeared);
        self.solved.retain(|problem| !problems.contains(problem));
        self.solved.extend(solved);
        self.recovered.extend(recovered);
        let ill: BTreeSet<&ObjectRef> =
            problems.iter().filter(matters).map(|problem| &problem.object).collect();
        self.recovered.retain(|object| !ill.contains(object));
    }

    pub(crate) fn log(&self, generation: Generation) {
        self.appeared.iter().for_each(log_problem);
        for Problem { object, field, reason, message, .. } in &self.solved {
            tracing::info!(%object, field, %reason, problem = message, generation, "problem is solved");
        }
        for object in &self.recovered {
            tracing::info!(%object, generation, "object is good again");
        }
    }
}

fn log_problem(problem: &Problem) {
    let Problem { object, level, reason, rule, field, message, place } = problem;
    let place = place.as_ref().map(tracing::field::display);
    // A line of JSON has a level and a message of its own, and no object may have a key twice.
    let (severity, problem) = (level.as_str(), message);
    match level {
        Level::Error | Level::Warning => {
            tracing::warn!(%object, field, %reason, severity, rule, problem, place, "object has a problem");
        }
        Level::Info => {
            tracing::debug!(%object, field, %reason, severity, rule, problem, place, "object has a remark")
        }
    }
}

/// Those of `these` that are not among `others`; the line does not count, for it moves with every edit above.
fn differing<'p>(these: &'p [Problem], others: &[Problem]) -> impl Iterator<Item = &'p Problem> {
    fn what(problem: &Problem) -> (&ObjectRef, Reason, &str, &str) {
        (&problem.object, problem.reason, &problem.field, &problem.message)
    }
    let others: BTreeSet<_> = others.iter().map(what).collect();
    let differs: Vec<&Problem> = these.iter().filter(|problem| !others.contains(&what(problem))).collect();
    differs.into_iter()
}

/// A remark is neither an illness nor a recovery.
fn matters(problem: &&Problem) -> bool {
    problem.level != Level::Info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::Captured;

    use ringress_translate::Place;
    use ringress_translate::manifest::Folder;
    use tracing::level_filters::LevelFilter;

    fn service(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"
        )
    }

    fn objects(names: &[&str]) -> Objects {
        let files = names.iter().map(|name| (format!("{name}.yaml"), service(name).into()));
        Folder::new().update(files.collect()).objects
    }

    fn wrong(name: &str, why: &str) -> Problem {
        Problem::undecodable(&ObjectRef::new("Service", "default", name), "spec", why)
    }

    fn check(before: (&[&str], &[Problem]), now: (&[&str], &[Problem]), expected: (&[Problem], &[&str])) {
        let (objects_before, objects_now) = (objects(before.0), objects(now.0));
        let shift = Shift::between(
            State { objects: &objects_before, problems: before.1 },
            State { objects: &objects_now, problems: now.1 },
        );
        let recovered: Vec<_> = shift.recovered.iter().map(|object| &*object.name).collect();
        assert_eq!((&*shift.solved, &*recovered), expected);
    }

    #[test]
    fn an_object_recovers_when_its_last_problem_goes_and_not_before() {
        let (one, two) = (wrong("a", "one"), wrong("a", "two"));
        check((&["a"], &[one.clone(), two.clone()]), (&["a"], &[]), (&[], &["a"]));
        check((&["a"], &[one.clone(), two.clone()]), (&["a"], &[two]), (std::slice::from_ref(&one), &[]));
        check((&[], std::slice::from_ref(&one)), (&["a"], &[]), (&[], &["a"]));
    }

    #[test]
    fn a_deleted_object_does_not_recover() {
        check((&["a"], &[wrong("a", "one")]), (&[], &[]), (&[], &[]));
    }

    #[test]
    fn what_was_wrong_with_a_file_is_solved() {
        let problem = Problem::undecodable(&ObjectRef::new("File", "", "a.yaml"), "", "why not");
        check((&[], std::slice::from_ref(&problem)), (&[], &[]), (std::slice::from_ref(&problem), &[]));
    }

    #[test]
    fn remarks_and_moved_lines_are_no_news() {
        let remark = Problem { level: Level::Info, ..wrong("a", "remark") };
        check((&["a"], &[remark]), (&["a"], &[]), (&[], &[]));
        let at = |line| wrong("a", "one").with_place(Place { file: "a.yaml".into(), line });
        check((&["a"], &[at(1)]), (&["a"], &[at(2)]), (&[], &[]));
    }

    #[test]
    fn a_logged_line_has_no_key_twice() {
        let out = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(out.clone())
            .json()
            .flatten_event(true)
            .finish();
        let problem = wrong("a", "why not");
        let remark = Problem { level: Level::Info, ..problem.clone() };
        let shift = Shift {
            appeared: vec![problem.clone(), remark],
            recovered: vec![problem.object.clone()],
            solved: vec![problem],
        };
        tracing::subscriber::with_default(subscriber, || shift.log(7));
        let text = out.text();
        let keys: &[&str] = &["level", "message", "severity", "problem", "object", "field", "reason", "rule"];
        for (line, severity) in text.lines().zip(["error", "info"]) {
            for key in keys {
                assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{key} in {line}");
            }
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["severity"], severity);
            assert_eq!(line["problem"], "cannot be read: why not");
        }
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
        let expected =
            ["object has a problem", "object has a remark", "problem is solved", "object is good again"];
        assert_eq!(said, expected);
        assert!(lines[2..].iter().all(|line| line["generation"] == 7), "{text}");
    }
}
