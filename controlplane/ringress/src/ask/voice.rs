//! Replicas that say the same are one voice: pure.

use serde_json::{Map, Value};

/// What some replicas say with one voice.
#[derive(Debug, PartialEq)]
pub(crate) struct Voice {
    pub(crate) replicas: Vec<String>,
    /// What each of them says; equal but for what each counts.
    pub(crate) says: Vec<Value>,
}

impl Voice {
    /// As the first of them says it.
    pub(crate) fn first(&self) -> Value {
        self.says.first().cloned().unwrap_or_default()
    }
}

/// Groups answers that are equal but for what each replica counts or makes for itself.
pub(crate) fn voices(answers: impl IntoIterator<Item = (String, Value)>) -> Vec<Voice> {
    let mut voices: Vec<(Value, Voice)> = Vec::new();
    for (replica, says) in answers {
        let common = common(&says);
        match voices.iter_mut().find(|(known, _)| *known == common) {
            Some((_, voice)) => {
                voice.replicas.push(replica);
                voice.says.push(says);
            }
            None => voices.push((common, Voice { replicas: vec![replica], says: vec![says] })),
        }
    }
    voices.into_iter().map(|(_, voice)| voice).collect()
}

fn common(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_generated = members.get("secret").is_some_and(Value::is_null);
            let own = if is_generated { &OWN[..] } else { &OWN[..COUNTED] };
            let kept = members.iter().filter(|(name, _)| !own.contains(&name.as_str()));
            Value::Object(kept.map(|(name, member)| (name.clone(), common(member))).collect::<Map<_, _>>())
        }
        Value::Array(members) => Value::Array(members.iter().map(common).collect()),
        other => other.clone(),
    }
}

/// What differs between replicas that serve the same: what each counts, and the default certificate that each makes.
const OWN: [&str; 8] = [
    "generation",
    "shown_since",
    "shards",
    "silent",
    "fingerprint",
    "not_before",
    "not_after",
    "not_after_s",
];

/// How many of these are counted.
const COUNTED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_each_counts_for_itself_makes_no_difference() {
        let says = |generation: u64, since: &str, host: &str| json!({"generation": generation, "certificates": [{"host": host, "shown_since": since}]});
        let all = [
            ("a".to_owned(), says(1, "x", "h")),
            ("b".to_owned(), says(2, "y", "other")),
            ("c".to_owned(), says(3, "z", "h")),
        ];
        let found = voices(all);
        assert_eq!(found.iter().map(|voice| voice.replicas.join("+")).collect::<Vec<_>>(), ["a+c", "b"]);
        assert_eq!(found[0].says.len(), 2, "what each counts is kept");
    }

    #[test]
    fn each_replica_makes_a_default_certificate_of_its_own() {
        let says =
            |print: &str, secret: Value| json!({"certificates": [{"secret": secret, "fingerprint": print}]});
        let count = |secret: Value| {
            let both = [("a".to_owned(), says("1", secret.clone())), ("b".to_owned(), says("2", secret))];
            voices(both).len()
        };
        assert_eq!((count(Value::Null), count(json!("tls"))), (1, 2));
    }
}
