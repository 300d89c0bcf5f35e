//! Sends plain-text clients to https: 308 with the same host, path and query.

/// The https redirect of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HttpsRedirect {
    /// The redirect status: 308 keeps method and body.
    pub status: u16,
    /// The port that clients see; left out of the location when it is 443.
    pub port: u16,
}
