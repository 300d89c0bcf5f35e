//! Values as YAML: blocks for what has members, JSON for everything else, which YAML takes as it is.

use serde_json::Value;

/// A document that reads back as `value`.
pub(crate) fn text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => block(&mut text, value, 0),
        Value::Array(members) if !members.is_empty() => block(&mut text, value, 0),
        scalar => {
            text.push_str(&flat(scalar));
            text.push('\n');
        }
    }
    text
}

/// The members, one a line; the caller has written the indentation of the first.
fn block(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (number, (key, member)) in members.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { &indent });
                text.push_str(&plain(key));
                text.push(':');
                member_of_map(text, member, depth);
            }
        }
        Value::Array(members) => {
            for (number, member) in members.iter().enumerate() {
                text.push_str(if number == 0 { "" } else { &indent });
                text.push_str("- ");
                if has_members(member) {
                    block(text, member, depth + 1);
                } else {
                    text.push_str(&flat(member));
                    text.push('\n');
                }
            }
        }
        _ => {}
    }
}

fn member_of_map(text: &mut String, member: &Value, depth: usize) {
    match has_members(member) {
        true => {
            text.push('\n');
            text.push_str(&"  ".repeat(depth + 1));
            block(text, member, depth + 1);
        }
        false => {
            text.push(' ');
            text.push_str(&flat(member));
            text.push('\n');
        }
    }
}

fn has_members(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(members) => !members.is_empty(),
        _ => false,
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// Without quotes only where no reader could take it for anything else.
fn plain(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_word { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_indented_and_doubtful_words_are_quoted() {
        let value = json!({
            "empty": {}, "list": [1, {"a": "b", "c": [true, null]}, []], "no": "off", "port": "80",
            "text": "a: b # c\n", "word": "io_uring",
        });
        let expected = "empty: {}\nlist:\n  - 1\n  - a: b\n    c:\n      - true\n      - null\n  - []\n\"no\": \"off\"\n\
                        port: \"80\"\ntext: \"a: b # c\\n\"\nword: io_uring\n";
        assert_eq!(text(&value), expected);
        assert_eq!(text(&json!("x")), "x\n");
        assert_eq!(text(&json!([])), "[]\n");
    }
}
