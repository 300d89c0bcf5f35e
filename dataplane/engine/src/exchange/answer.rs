//! Answers of our own: a plain status, one line for people and the token of RFC 9209 that the log and the metric share.

/// An answer that ringress gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What `Proxy-Status`, the access log and the metric call it.
    pub token: Token,
    /// One line for people; names nothing internal.
    pub message: &'static str,
    /// The `Location` of a redirect.
    pub location: Option<Vec<u8>>,
    /// Whether the connection cannot go on after it.
    pub close: bool,
}

/// Error tokens of RFC 9209 §2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// No error: a redirect.
    None,
    /// No rule takes the request.
    DestinationNotFound,
    /// The rule has nobody to ask.
    DestinationUnavailable,
    /// The endpoint's address leads nowhere.
    DestinationUnroutable,
    /// Nobody listens.
    ConnectionRefused,
    /// We have no descriptor or port left.
    ConnectionLimit,
    /// Nobody took the connection in time.
    ConnectionTimeout,
    /// The connection ended without an answer.
    ConnectionTerminated,
    /// No answer in time.
    HttpResponseTimeout,
    /// The request breaks a rule of HTTP.
    HttpRequestError,
    /// The request body is too large.
    RequestBodyTooLarge,
    /// The request came back to us too often.
    ProxyLoopDetected,
    /// A configuration of ours cannot be applied.
    ProxyConfigurationError,
    /// A defect of ours.
    ProxyInternalError,
    /// A token that the codec chose.
    Other(&'static str),
}

impl Token {
    /// As the field spells it; empty for no error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationUnroutable => "destination_ip_unroutable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionLimit => "connection_limit_reached",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionTerminated => "connection_terminated",
            Self::HttpResponseTimeout => "http_response_timeout",
            // A body over the limit is a request error too: the registry has no finer token.
            Self::HttpRequestError | Self::RequestBodyTooLarge => "http_request_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
            Self::ProxyConfigurationError => "proxy_configuration_error",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::Other(token) => token,
        }
    }
}

impl Answer {
    /// An answer after which the connection goes on.
    pub fn new(status: u16, token: Token, message: &'static str) -> Self {
        Self { status, token, message, location: None, close: false }
    }

    /// An answer after which the connection must end.
    pub fn closing(status: u16, token: Token, message: &'static str) -> Self {
        Self { close: true, ..Self::new(status, token, message) }
    }

    /// A route that leads back to us. RFC 9209 §2.3.32 recommends 502; 508 tells it from an endpoint that fails.
    pub fn looping() -> Self {
        Self::new(
            508,
            Token::ProxyLoopDetected,
            "the request came through ringress too often: its route leads back here",
        )
    }

    /// Nobody to ask.
    pub fn unavailable(status: u16) -> Self {
        Self::new(status, Token::DestinationUnavailable, "no endpoint is available for this route")
    }
}
