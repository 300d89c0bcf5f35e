//! Finds the end of a head in a growing buffer, looking at every byte about once however it arrives.
//!
//! It refuses early what can no longer become a head: otherwise a client that ends its lines in LF alone would hold its
//! connection until the deadline.

use memchr::{memchr, memchr2_iter};
use ringress_shared::listener::HeadLimits;

use super::head_bytes_max;
use crate::http::error::HeadError;

/// The search for the blank line. One per head; [`HeadScanner::default`] starts the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadScanner {
    /// No LF stands before this offset that was not looked at.
    seen: usize,
    /// Where the line that is still open begins.
    line_start: usize,
    /// Lines that are complete, without a leading empty one.
    lines: u32,
    /// One empty line came before the first.
    skipped: bool,
}

impl HeadScanner {
    /// Looks at what came since the last call. `buffered` starts where it started in the first call; it only grows.
    /// Returns the length of the head, blank line included, once it is complete; bytes after it are not looked at.
    ///
    /// # Errors
    /// As soon as no bytes that follow could make this a head within the limits.
    pub fn scan(&mut self, buffered: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        let came = self.seen;
        while let Some(found) = memchr(b'\n', &buffered[self.seen..]) {
            let line_feed = self.seen + found;
            if self.end_line(buffered, line_feed, limits)? {
                return Ok(Some(line_feed + 1));
            }
            self.seen = line_feed + 1;
            self.line_start = self.seen;
        }
        // A whole head is looked at again by its parser; only what is still open has to be looked at here. The byte
        // before may be a CR whose LF should have come.
        check_bytes(&buffered[came.saturating_sub(1)..])?;
        self.check_open_line(buffered, limits)?;
        self.seen = buffered.len();
        Ok(None)
    }

    /// Takes a whole line into account; true for the blank line that ends the head.
    fn end_line(
        &mut self,
        buffered: &[u8],
        line_feed: usize,
        limits: &HeadLimits,
    ) -> Result<bool, HeadError> {
        if line_feed == self.line_start || buffered[line_feed - 1] != b'\r' {
            return Err(HeadError::BareLineFeed);
        }
        let len = line_feed - 1 - self.line_start;
        if len == 0 && self.lines == 0 {
            // RFC 9112 §2.2 asks to skip at least one; more are an attempt at something.
            return if std::mem::replace(&mut self.skipped, true) {
                Err(HeadError::EmptyLine)
            } else {
                Ok(false)
            };
        }
        self.check_sizes(len, line_feed + 1, limits)?;
        if len > 0 {
            self.lines += 1;
        }
        Ok(len == 0)
    }

    fn check_open_line(&self, buffered: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let line = &buffered[self.line_start..];
        let len = line.len() - usize::from(line.ends_with(b"\r"));
        self.check_sizes(len, buffered.len(), limits)?;
        // The blank line is still to come.
        if buffered.len() - self.leading() >= head_bytes_max(limits) {
            return Err(HeadError::HeadTooLarge);
        }
        Ok(())
    }

    /// Compares a line of `len` bytes, and a head that reaches to `end`, with the limits.
    fn check_sizes(&self, len: usize, end: usize, limits: &HeadLimits) -> Result<(), HeadError> {
        if self.lines == 0 && len > limits.request_line_bytes_max as usize {
            return Err(HeadError::RequestLineTooLong);
        }
        if self.lines > 0 && len > limits.field_bytes_max as usize {
            return Err(HeadError::FieldTooLarge);
        }
        if len > 0 && self.lines > u32::from(limits.fields_max) {
            return Err(HeadError::TooManyFields);
        }
        if end - self.leading() > head_bytes_max(limits) {
            return Err(HeadError::HeadTooLarge);
        }
        Ok(())
    }

    fn leading(&self) -> usize {
        if self.skipped { 2 } else { 0 }
    }
}

/// Refuses NUL, and CR without LF. A CR at the very end may yet get its LF.
fn check_bytes(bytes: &[u8]) -> Result<(), HeadError> {
    for at in memchr2_iter(b'\r', 0, bytes) {
        match bytes[at..] {
            [0, ..] => return Err(HeadError::Nul),
            [_, next, ..] if next != b'\n' => return Err(HeadError::BareCarriageReturn),
            _ => {}
        }
    }
    Ok(())
}
