//! A margin that a page put before the lines of a text: the same blanks before all of them, or before all but the first,
//! which was copied from its first letter on.

/// The text without the margin that all of its lines have; lines keep their numbers.
pub(super) fn without(text: &str) -> Option<String> {
    cut(text, 0)
}

/// The text without the margin that all lines have but the first, which begins a manifest.
pub(super) fn without_hanging(text: &str) -> Option<String> {
    let mut end = 0;
    let first = text.split_inclusive('\n').find(|line| {
        end += line.len();
        has_content(line)
    })?;
    let begins = first.starts_with("apiVersion: ") || first.starts_with("kind: ");
    begins.then(|| cut(text, end)).flatten()
}

/// Takes the margin of the lines from that byte on away, if there is one.
fn cut(text: &str, from: usize) -> Option<String> {
    let (first, rest) = text.split_at(from);
    let margin = margin(rest)?;
    let mut out = String::with_capacity(text.len());
    out.push_str(first);
    for line in rest.split_inclusive('\n') {
        out.push_str(line.strip_prefix(margin).unwrap_or_else(|| line.trim_start_matches(is_blank)));
    }
    Some(out)
}

/// The blanks that all lines with content begin with.
fn margin(text: &str) -> Option<&str> {
    let common = text.lines().filter(|line| has_content(line)).map(blanks).reduce(common_start)?;
    (!common.is_empty()).then_some(common)
}

/// Comments may stand left of a margin.
fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

fn blanks(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(is_blank).len()]
}

fn common_start<'t>(a: &'t str, b: &str) -> &'t str {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8());
    &a[..same.sum()]
}

/// Tabs, and the spaces that pages use to keep columns, count too.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{a0}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_of_all_lines_is_taken_away() {
        for (text, expected) in [
            ("a:\n  b: 1\n", None),
            ("  a:\n    b: 1\n\n  c: 2", Some("a:\n  b: 1\n\nc: 2")),
            ("\ta:\n\t  b: 1\n", Some("a:\n  b: 1\n")),
            ("\u{a0}\u{a0}a: 1\n", Some("a: 1\n")),
            ("# left\n  a: 1\n # between\n", Some("# left\na: 1\n# between\n")),
            (" a: 1\n\tb: 1\n", None),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(without(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_margin_of_all_lines_but_the_first_is_taken_away() {
        for (text, expected) in [
            ("kind: A\n  b: 2\n    c: 3\n", Some("kind: A\nb: 2\n  c: 3\n")),
            ("# head\napiVersion: v1\n  b: 2\n", Some("# head\napiVersion: v1\nb: 2\n")),
            ("kind: A\nb: 2\n", None),
            ("kind: A", None),
            ("a: 1\n  b: 2\n", None),
            ("  kind: A\n    b: 2\n", None),
        ] {
            assert_eq!(without_hanging(text).as_deref(), expected, "{text:?}");
        }
    }
}
