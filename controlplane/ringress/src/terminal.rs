//! Printing for people: stdout that may be closed, columns, and emphasis only where somebody can see it.
//!
//! Texts of manifests are anybody's: [`escaped`] comes before every line that a terminal gets of them.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::args::{self, Output};
use crate::yaml;

/// Prints to stdout. A reader that has gone (`| head`) is no reason to fail.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A value for programs; `None` where the answer is for people.
///
/// # Errors
/// The value cannot be encoded.
pub(crate) fn structured(output: Output, value: &impl Serialize) -> anyhow::Result<Option<String>> {
    Ok(match output {
        Output::Json => Some(format!("{}\n", serde_json::to_string_pretty(value)?)),
        Output::Yaml => Some(yaml::text(&serde_json::to_value(value)?)),
        Output::Text | Output::Wide | Output::Name => None,
    })
}

/// On one line, and without anything that a terminal would obey or show in another order.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return text.into();
    }
    let shown = |c: char| match is_unprintable(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect::<String>().into()
}

fn is_unprintable(c: char) -> bool {
    // Line and paragraph separators; marks and overrides of direction.
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders
}

/// As a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.-_~%@,+=".contains(c);
    match text.starts_with(|first: char| first != '~') && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// How emphasis is written: as escape sequences, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    escapes: bool,
}

impl Style {
    /// Emphasis on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        Self { escapes: io::stdout().is_terminal() && !args::is_color_refused() }
    }

    /// No emphasis.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { escapes: false }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn doubtful(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        let text = escaped(text);
        if self.escapes { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into_owned() }
    }
}

/// Lays rows out in columns, two blanks between them; the last column is not padded.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], indent: &str) -> String {
    aligned(rows, indent)
}

fn aligned<R: AsRef<[String]>>(rows: &[R], indent: &str) -> String {
    let count = rows.first().map_or(0, |row| row.as_ref().len());
    let width =
        |column: usize| rows.iter().map(|row| row.as_ref()[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (cell, width) in row.as_ref().iter().zip(&widths) {
            let padding = width - cell.chars().count() + 2;
            line.push_str(cell);
            line.push_str(&" ".repeat(padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Rows under a head, as kubectl shows them; texts of others are escaped.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let escape = |cells: Vec<String>| cells.iter().map(|cell| escaped(cell).into_owned()).collect();
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows.into_iter().map(escape)).collect();
    aligned(&rows, "")
}

/// `1 thing`, `2 things`, `3 Ingresses`.
pub(crate) fn several(count: usize, one: &str) -> String {
    match (count, one.ends_with('s')) {
        (1, _) => format!("1 {one}"),
        (_, true) => format!("{count} {one}es"),
        (_, false) => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        for (text, shown) in [
            ("Ingress shop/web: grün", "Ingress shop/web: grün"),
            ("a\x1b[2Jb", r"a\u{1b}[2Jb"),
            ("a\nerror  b\r\tc", r"a\nerror  b\r\tc"),
            ("a\u{9b}31m", r"a\u{9b}31m"),
            ("a\u{202e}b\u{2066}", r"a\u{202e}b\u{2066}"),
        ] {
            assert_eq!(escaped(text), shown);
            assert_eq!(Style { escapes: false }.bad(text), shown);
            assert_eq!(Style { escapes: true }.bad(text), format!("\x1b[31m{shown}\x1b[0m"));
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "bbb".to_owned()], ["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(columns(&rows, " "), " a    bbb\n ccc  d\n");
        assert_eq!(columns::<2>(&[], ""), "");
        let rows = [vec!["a".to_owned(), "x\ny".to_owned()]];
        assert_eq!(table(&["NAME", "WHAT"], rows), "NAME  WHAT\na     x\\ny\n");
    }
}
