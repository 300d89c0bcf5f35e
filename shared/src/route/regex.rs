//! An expression over paths or values: compiled in the control plane, its working memory owned by each shard.

use std::fmt;
use std::sync::Arc;

use regex_automata::meta::{Cache, Regex};

/// A compiled expression. Equal when the source text and the case rule are equal.
#[derive(Clone)]
pub struct PathRegex {
    source: Arc<str>,
    case_insensitive: bool,
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
    /// Compiles `source`. Anchors are the caller's: `^` for a match from the start.
    ///
    /// # Errors
    /// Syntax errors, and programs over 1 MiB.
    pub fn compile(source: &str, case_insensitive: bool) -> Result<Self, RegexError> {
        let syntax =
            regex_automata::util::syntax::Config::new().case_insensitive(case_insensitive).utf8(false);
        let config = Regex::config().nfa_size_limit(Some(1 << 20)).utf8_empty(false);
        let program = Regex::builder()
            .syntax(syntax)
            .configure(config)
            .build(source)
            .map_err(|error| RegexError(error.to_string().into()))?;
        Ok(Self { source: source.into(), case_insensitive, program })
    }

    /// What begins with these path elements, as a prefix without trailing slashes does.
    ///
    /// # Errors
    /// A text so long that its program is over 1 MiB.
    pub fn elements(prefix: &str) -> Result<Self, RegexError> {
        Self::compile(&format!("^{}(?:/|$)", regex_syntax::escape(prefix)), false)
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
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

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.case_insensitive == other.case_insensitive
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathRegex({:?}, case_insensitive: {})", self.source, self.case_insensitive)
    }
}
