//! Everything that goes to stdout, through one thread.
//!
//! ```text
//! shards ── access-log lines ─► bounded channel ─┐
//! control plane ── tracing ──► bounded channel ──┴─► writer thread ─► stdout
//! ```
//!
//! A reader of stdout that is slow, stuck or gone must never hold up a request or the control plane: whoever has a line
//! and finds the channel full drops it and counts. Nobody but the writer thread touches stdout while serving.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Batches that wait for the writer; a shard hands over up to some kilobytes in one.
const WAITING_MAX: usize = 4096;
/// How long the end of the process waits for a reader to take what is left.
const FAREWELL: Duration = Duration::from_millis(500);

/// The way to stdout for everybody but the writer thread.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    sender: Sender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    /// Marks that the writer has passed.
    passed: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn to_stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = bounded(WAITING_MAX);
        let lines = Self { sender, dropped: Arc::default(), passed: Arc::default() };
        let passed = Arc::clone(&lines.passed);
        std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || write_all(receiver, out, &passed))?;
        Ok(lines)
    }

    /// For shards: batches of whole lines. The shard counts what it cannot hand over.
    pub(crate) fn sender(&self) -> Sender<Vec<u8>> {
        self.sender.clone()
    }

    /// Hands whole lines over, or drops and counts them.
    pub(crate) fn send(&self, lines: Vec<u8>) {
        match self.sender.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many batches of the control plane were dropped.
    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything handed over before is written, but not long: the reader may be stuck. Says whether it is.
    pub(crate) fn flush(&self) -> bool {
        let deadline = Instant::now() + FAREWELL;
        let passed = self.passed.load(Ordering::Acquire);
        if self.sender.send_timeout(MARK, FAREWELL).is_err() {
            return false;
        }
        while self.passed.load(Ordering::Acquire) == passed {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

/// Asks the writer to say that it has come this far; no line is empty.
const MARK: Vec<u8> = Vec::new();

/// Writes until every sender is gone. An error (a closed reader) costs the lines, never the thread: senders go on.
fn write_all(receiver: Receiver<Vec<u8>>, mut out: impl Write, passed: &AtomicU64) {
    for lines in receiver {
        if lines.is_empty() {
            passed.fetch_add(1, Ordering::Release);
        } else {
            let _ = out.write_all(&lines).and_then(|()| out.flush());
        }
    }
}

/// Logs events of the control plane as lines on stdout: text on a terminal, JSON otherwise.
pub(crate) fn log_to(lines: &Lines, level: &str) {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(level)).with_writer(lines.clone());
    if io::stdout().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
}

/// Logs warnings to stderr: stdout belongs to the screen of the verb.
pub(crate) fn log_to_stderr(level: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, bytes: Vec::with_capacity(256) }
    }
}

/// One event on its way: collected, and handed over whole.
pub(crate) struct Line<'l> {
    lines: &'l Lines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.lines.send(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that is gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    /// A reader that takes nothing until it is released.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order() {
        let out = Shared::default();
        let lines = Lines::to(out.clone()).unwrap();
        for number in 0..100 {
            lines.send(format!("{number}\n").into_bytes());
        }
        assert!(lines.flush());
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn a_closed_reader_stops_nobody() {
        let lines = Lines::to(Closed).unwrap();
        for _ in 0..3 {
            lines.send(b"x\n".to_vec());
            assert!(lines.flush(), "the writer goes on taking lines");
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (release, gate) = bounded(0);
        let lines = Lines::to(Stuck(gate)).unwrap();
        let started = Instant::now();
        for _ in 0..WAITING_MAX + 100 {
            lines.send(b"x\n".to_vec());
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!((98..=100).contains(&lines.dropped()), "{}", lines.dropped());
        drop(release);
    }
}
