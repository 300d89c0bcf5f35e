//! From what replicas say to one answer for each object: pure.

use std::collections::BTreeMap;

use ringress_translate::Key;
use serde::{Deserialize, Serialize};

use crate::terminal::{Style, escaped};

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Live as it is, on every shard.
    Applied,
    /// Not yet.
    Waiting,
    /// Seen, and not served as it is: waiting does not help.
    Refused,
    /// Seen, and of another class.
    NotOurs,
}

/// What one replica says of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    #[serde(default)]
    pub(super) replica: String,
    state: State,
    generation: u64,
    shards: Vec<u64>,
    why: String,
    problems: Vec<Wrong>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wrong {
    level: String,
    reason: String,
    field: String,
    message: String,
}

impl Told {
    pub(super) fn refused(why: String) -> Self {
        Self::of(State::Refused, why)
    }

    fn of(state: State, why: String) -> Self {
        Self { replica: String::new(), state, generation: 0, shards: Vec::new(), why, problems: Vec::new() }
    }
}

/// What all replicas said at one time.
#[derive(Debug, Default)]
pub(super) struct Look {
    told: BTreeMap<Key, Vec<Told>>,
    /// Why nobody could be asked.
    nobody: Option<String>,
}

/// The answer about one object; its JSON shape is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: State,
    /// What it waits for, or why it is refused; empty where it is live.
    why: String,
    replicas: Vec<Told>,
}

impl Verdict {
    /// Whether waiting does not help.
    fn is_hopeless(&self) -> bool {
        matches!(self.state, State::Refused | State::NotOurs)
    }
}

impl Look {
    /// Nobody could be asked.
    pub(super) fn nobody(why: String) -> Self {
        Self { nobody: Some(why), ..Self::default() }
    }

    /// Takes in what one replica says.
    pub(super) fn add(&mut self, answers: Vec<(Key, Told)>) {
        for (key, told) in answers {
            self.told.entry(key).or_default().push(told);
        }
    }

    /// Takes in that a ready replica says nothing: it may serve anything.
    pub(super) fn silent<'k>(&mut self, replica: String, why: String, keys: impl Iterator<Item = &'k Key>) {
        for key in keys {
            let told = Told { replica: replica.clone(), ..Told::of(State::Waiting, why.clone()) };
            self.told.entry(key.clone()).or_default().push(told);
        }
    }

    /// What that makes of an object. One refusal decides; "not ours" only where nobody says anything else, since several
    /// controllers with classes of their own may run side by side.
    pub(super) fn verdict(&self, key: &Key) -> Verdict {
        let told = self.told.get(key).map(Vec::as_slice).unwrap_or_default();
        let ours: Vec<&Told> = told.iter().filter(|told| told.state != State::NotOurs).collect();
        let first = |state| ours.iter().find(|told| told.state == state);
        let (state, why) = match (first(State::Refused), first(State::Waiting)) {
            (Some(refused), _) => (State::Refused, said_by(refused)),
            (None, Some(waiting)) => (State::Waiting, said_by(waiting)),
            (None, None) if !ours.is_empty() => (State::Applied, String::new()),
            (None, None) => match (told.first(), &self.nobody) {
                (Some(not_ours), _) => (State::NotOurs, said_by(not_ours)),
                (None, Some(nobody)) => (State::Waiting, nobody.clone()),
                (None, None) => (State::Waiting, "no replica was asked".to_owned()),
            },
        };
        Verdict {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            state,
            why,
            replicas: told.to_vec(),
        }
    }
}

/// What is left to wait for; `None` where everything is settled, or one refusal settles it.
pub(super) fn waits_for(verdicts: &[Verdict]) -> Option<String> {
    let waiting = verdicts.iter().find(|verdict| verdict.state == State::Waiting)?;
    let Verdict { namespace, name, why, .. } = waiting;
    let is_hopeless = verdicts.iter().any(Verdict::is_hopeless);
    (!is_hopeless).then(|| format!("ingress {namespace}/{name}: {why}"))
}

fn said_by(told: &Told) -> String {
    match told.replica.is_empty() {
        true => told.why.clone(),
        false => format!("{}: {}", told.replica, told.why),
    }
}

/// One line for each object, and one for each thing that is wrong with it although it is live.
pub(super) fn text(verdicts: &[Verdict], seconds: f64, style: Style) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let Verdict { namespace, name, state, why, replicas } = verdict;
        let object = format!("ingress {namespace}/{name}");
        let line = match state {
            State::Applied => {
                let ours: Vec<_> = replicas.iter().filter(|told| told.state == State::Applied).collect();
                let shards: usize = ours.iter().map(|told| told.shards.len()).sum();
                let on = format!("live on {shards} shards of {} in {seconds:.2} s", count(ours.len()));
                style.good(&format!("{object} is {on}"))
            }
            State::Waiting => style.bad(&format!("{object} is not live after {seconds:.0} s: {why}")),
            State::Refused => style.bad(&format!("{object} is refused: {why}")),
            State::NotOurs => style.bad(&format!("{object} is not served here: {why}")),
        };
        text.push_str(&format!("{line}\n"));
        if *state == State::Applied {
            text.push_str(&wrongs(replicas, style));
        }
    }
    text
}

fn count(replicas: usize) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

/// Once each, whoever says it.
fn wrongs(replicas: &[Told], style: Style) -> String {
    let mut all: Vec<&Wrong> = Vec::new();
    for wrong in replicas.iter().flat_map(|told| &told.problems) {
        if wrong.level != "info" && !all.contains(&wrong) {
            all.push(wrong);
        }
    }
    let line = |wrong: &Wrong| {
        let said = format!("{}: {}: {}", wrong.reason, wrong.field, wrong.message);
        format!("  {}  {}\n", style.doubtful(&wrong.level), escaped(&said))
    };
    all.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(replica: &str, state: State, why: &str) -> Told {
        let shards = if state == State::Applied { vec![3, 3] } else { Vec::new() };
        Told { replica: replica.to_owned(), shards, ..Told::of(state, why.to_owned()) }
    }

    fn verdict(told: &[Told]) -> Verdict {
        let key = Key::new("shop", "web");
        let mut look = Look::default();
        told.iter().for_each(|told| look.add(vec![(key.clone(), told.clone())]));
        look.verdict(&key)
    }

    #[test]
    fn everybody_must_have_it_and_one_refusal_decides() {
        let applied = told("a", State::Applied, "");
        let waiting = told("b", State::Waiting, "another version");
        let refused = told("c", State::Refused, "InvalidHost");
        let foreign = told("d", State::NotOurs, "class x");
        for (all, state, why) in [
            (vec![applied.clone()], State::Applied, ""),
            (vec![applied.clone(), waiting.clone()], State::Waiting, "b: another version"),
            (vec![waiting.clone(), refused.clone()], State::Refused, "c: InvalidHost"),
            (vec![applied.clone(), foreign.clone()], State::Applied, ""),
            (vec![waiting, foreign.clone()], State::Waiting, "b: another version"),
            (vec![foreign], State::NotOurs, "d: class x"),
            (vec![], State::Waiting, "no replica was asked"),
        ] {
            let verdict = verdict(&all);
            assert_eq!((verdict.state, &*verdict.why), (state, why), "{all:?}");
            assert_eq!(verdict.is_hopeless(), matches!(state, State::Refused | State::NotOurs));
        }
    }

    #[test]
    fn one_refusal_ends_the_wait_for_all() {
        let waiting = verdict(&[told("b", State::Waiting, "another version")]);
        let applied = verdict(&[told("a", State::Applied, "")]);
        let refused = verdict(&[told("c", State::Refused, "InvalidHost")]);
        let of = |all: &[&Verdict]| waits_for(&all.iter().map(|one| (*one).clone()).collect::<Vec<_>>());
        assert_eq!(of(&[&applied, &waiting]).as_deref(), Some("ingress shop/web: b: another version"));
        assert_eq!(of(&[&waiting, &refused]), None);
        assert_eq!(of(&[&applied]), None);
    }

    #[test]
    fn a_ready_replica_that_is_silent_holds_the_answer_back() {
        let key = Key::new("shop", "web");
        let mut look = Look::default();
        look.add(vec![(key.clone(), told("a", State::Applied, ""))]);
        look.silent("b".to_owned(), "no connection".to_owned(), [&key].into_iter());
        assert_eq!(look.verdict(&key).state, State::Waiting);
        assert_eq!(look.verdict(&key).why, "b: no connection");
        assert_eq!(Look::nobody("no replica is ready".to_owned()).verdict(&key).why, "no replica is ready");
    }

    #[test]
    fn what_is_live_and_wrong_says_so() {
        let wrong = Wrong {
            level: "error".to_owned(),
            reason: "BackendNotFound".to_owned(),
            field: "spec.rules[0]".to_owned(),
            message: "it\nis missing".to_owned(),
        };
        let both =
            ["a", "b"].map(|name| Told { problems: vec![wrong.clone()], ..told(name, State::Applied, "") });
        let text = text(&[verdict(&both)], 0.123, Style::plain());
        assert_eq!(
            text,
            "ingress shop/web is live on 4 shards of 2 replicas in 0.12 s\n  \
             error  BackendNotFound: spec.rules[0]: it\\nis missing\n"
        );
    }
}
