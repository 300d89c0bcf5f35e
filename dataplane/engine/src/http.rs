//! What an HTTP message head means: its fields, its framing, and how it is written towards the other side.
//!
//! Nothing here knows how bytes arrive: [`crate::codec`] finds and parses heads, HTTP/2 will fill the same [`Head`].

pub mod error;
pub mod facts;
pub mod forward;
pub mod framing;
pub mod head;
pub mod hop;
pub mod known;
pub mod status;
pub mod uri;

pub use error::HeadError;
pub use facts::Facts;
pub use framing::{Framing, ResponseContext};
pub use head::{Field, Head, Span, Version};
pub use known::Known;
