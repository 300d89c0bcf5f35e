//! Values of annotations.

/// A truth as Go's `strconv.ParseBool` reads it, which is what every controller of this field accepts.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What [`truth`] takes, for messages.
pub(super) const TRUTH: &str = "\"true\" or \"false\"";

/// The greatest number of bytes.
pub(super) const BYTES_MAX: u64 = u64::MAX;

/// A number of bytes from 1 to [`BYTES_MAX`], with an optional k, m or g (powers of 1024).
pub(super) fn bytes(text: &str) -> Option<u64> {
    let unit = text.chars().last()?.to_ascii_lowercase();
    let shift = match unit {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truths_follow_go() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(truth(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(truth(text), Some(false), "{text}");
        }
        for text in ["yes", "on", "tRUE", "", "2", " true"] {
            assert_eq!(truth(text), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("8k", Some(8 << 10)),
            ("8K", Some(8 << 10)),
            ("2m", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("0", None),
            ("k", None),
            ("-1", None),
            ("+1", None),
            ("1.5m", None),
            ("8é", None),
            ("99999999999999999999", None),
            ("18446744073709551615", Some(BYTES_MAX)),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
