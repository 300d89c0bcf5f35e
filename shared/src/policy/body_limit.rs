//! Refuses request bodies over a size: 413.

/// The largest request body that a rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyLimit {
    /// Bytes of content, without chunk framing.
    pub body_bytes_max: u64,
}
