//! An expression over paths or values: compiled in the control plane, its working memory owned by each shard.

use std::fmt;
use std::sync::Arc;

use regex_automata::meta::{Cache, Regex};

/// A compiled expression. Equal when the source text, the case rule and the length are equal.
#[derive(Clone)]
pub struct PathRegex {
    source: Arc<str>,
    case_insensitive: bool,
    length: usize,
    program: Regex,
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegexError(Box<str>);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PathRegex {
    /// Compiles `source`, over bytes: a normalised path is ASCII. Anchors are the caller's: `^` for a match from the start.
    ///
    /// # Errors
    /// Syntax errors, what only backtracking engines know (lookaround, backreferences), and programs over 64 KiB.
    pub fn compile(source: &str, case_insensitive: bool) -> Result<Self, RegexError> {
        let syntax = regex_automata::util::syntax::Config::new()
            .case_insensitive(case_insensitive)
            .unicode(false)
            .utf8(false);
        let config = Regex::config().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).utf8_empty(false);
        let program = Regex::builder()
            .syntax(syntax)
            .configure(config)
            .build(source)
            .map_err(|error| RegexError(error.to_string().into()))?;
        let length = source.strip_prefix('^').unwrap_or(source).len();
        Ok(Self { source: source.into(), case_insensitive, length, program })
    }

    /// The same in the place of a text of that many bytes, which it counts as where lengths decide.
    pub fn in_place_of(self, length: usize) -> Self {
        Self { length, ..self }
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The length in bytes of the text that it was written as: without the anchor at its start, unless it stands in the
    /// place of another one.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether it finds something; takes working memory from a shared pool, so it is not for the hot path.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.program.is_match(bytes)
    }

    pub(super) fn program(&self) -> &Regex {
        &self.program
    }

    pub(super) fn create_cache(&self) -> Cache {
        self.program.create_cache()
    }

    /// Tells programs apart in a shard's caches: the same text with the same case rule may share working memory only
    /// through the same program, so the address of the shared text is the key.
    pub(super) fn key(&self) -> usize {
        Arc::as_ptr(&self.source).cast::<u8>() as usize
    }
}

/// Objects are written by many people, and each may bring expressions: none may cost much.
const PROGRAM_BYTES_MAX: usize = 1 << 16;

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.case_insensitive == other.case_insensitive
            && self.length == other.length
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathRegex({:?}, case_insensitive: {})", self.source, self.case_insensitive)
    }
}
