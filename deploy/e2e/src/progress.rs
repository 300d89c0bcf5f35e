//! What a person sees while things take time: one line that is rewritten on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A thing that takes time.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    told: Option<Instant>,
    terminal: bool,
}

/// How often a log is told; a terminal sees every change.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

impl Progress {
    pub(crate) fn begin(what: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let progress = Self { what: what.to_owned(), began: Instant::now(), told: None, terminal };
        if !terminal {
            eprintln!("{what} …");
        }
        progress
    }

    /// Says how far it is.
    pub(crate) fn at(&mut self, detail: &str) {
        let since = self.told.unwrap_or(self.began).elapsed();
        if self.terminal {
            if since > Duration::from_millis(100) {
                self.told = Some(Instant::now());
                let line = format!("{} … {detail} ({} s)", self.what, self.began.elapsed().as_secs());
                let _ = write!(std::io::stderr(), "\r\x1b[K{}", line.chars().take(110).collect::<String>());
            }
        } else if since > LOG_INTERVAL {
            self.told = Some(Instant::now());
            eprintln!("  {detail} ({} s)", self.began.elapsed().as_secs());
        }
    }

    /// Says that it is done, and how long it took.
    pub(crate) fn done(self) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{start}{}: {:.1} s", self.what, self.began.elapsed().as_secs_f64());
    }
}
