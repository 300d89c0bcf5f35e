//! Everything that can be wrong with a head, by clause, with the status and the token a peer may see.
//!
//! A head is never repaired: each of these ends the connection after the answer.

use std::fmt;

/// Why a head is refused. A request answers [`HeadError::status`]; a response with any of these is a 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// The request line is not `method SP target SP version` (RFC 9112 §3).
    RequestLine,
    /// An empty line where the first line should be; before a request, one is skipped (RFC 9112 §2.2).
    EmptyLine,
    /// The first line is longer than the limit (RFC 9110 §15.5.15).
    RequestLineTooLong,
    /// The version is well formed and neither 1.0 nor 1.1 (RFC 9110 §15.6.6).
    Version,
    /// The status line is not `version SP 3DIGIT [SP reason]` (RFC 9112 §4).
    StatusLine,
    /// The target has a byte or a form that RFC 9112 §3.2 does not allow for its method.
    Target,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// One field line is longer than the limit.
    FieldTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// A line ends in LF without CR, which RFC 9112 §2.2 lets a recipient accept: we do not.
    BareLineFeed,
    /// A CR without LF (RFC 9112 §2.2).
    BareCarriageReturn,
    /// A NUL byte (RFC 9110 §5.5).
    Nul,
    /// A field name is empty, no token, folded or followed by a space (RFC 9112 §5.1, §5.2).
    FieldName,
    /// A field value holds a control byte (RFC 9110 §5.5).
    FieldValue,
    /// The bytes do not end with the blank line of the head.
    Incomplete,
    /// An HTTP/1.1 request without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host (RFC 9112 §3.2).
    HostRepeated,
    /// The host is empty, no name or address, or its port is out of range.
    HostInvalid,
    /// Host differs from the authority of an absolute target.
    HostMismatch,
    /// More than one Content-Length, or a list in one (RFC 9112 §6.3 rule 5).
    ContentLengthRepeated,
    /// Content-Length is not plain digits below 2^63.
    ContentLengthInvalid,
    /// Content-Length beside Transfer-Encoding (RFC 9112 §6.3 rule 3).
    LengthAndCoding,
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    TransferCodingUnknown,
    /// Transfer-Encoding is empty, repeated, parametrised, or does not end in chunked.
    TransferCodingInvalid,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1).
    TransferCodingVersion,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// More Connection options than anyone needs.
    ConnectionOptions,
    /// A 101 that nobody asked for, or one that names no protocol (RFC 9110 §15.2.2).
    UnexpectedUpgrade,
    /// An interim response that announces a body (RFC 9110 §15.2).
    InterimWithBody,
}

impl HeadError {
    /// The status that a client whose request is like this gets.
    pub fn status(self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge | Self::FieldTooLarge | Self::TooManyFields => 431,
            Self::TransferCodingUnknown => 501,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The RFC 9209 error token for a request like this.
    pub fn token(self) -> &'static str {
        "http_request_error"
    }

    /// The RFC 9209 error token for a response like this.
    pub fn response_token(self) -> &'static str {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => "http_response_header_section_size",
            Self::FieldTooLarge => "http_response_header_size",
            Self::TransferCodingUnknown | Self::TransferCodingInvalid | Self::TransferCodingVersion => {
                "http_response_transfer_coding"
            }
            Self::UnexpectedUpgrade => "http_upgrade_failed",
            Self::Incomplete => "http_response_incomplete",
            _ => "http_protocol_error",
        }
    }

    /// One line for people; never quotes what was sent.
    pub fn message(self) -> &'static str {
        match self {
            Self::RequestLine => "malformed request line",
            Self::EmptyLine => "empty line before the header section",
            Self::RequestLineTooLong => "request line too long",
            Self::Version => "HTTP version not supported",
            Self::StatusLine => "malformed status line",
            Self::Target => "invalid request target",
            Self::HeadTooLarge => "header section too large",
            Self::FieldTooLarge => "header field too large",
            Self::TooManyFields => "too many header fields",
            Self::BareLineFeed => "line ends in LF without CR",
            Self::BareCarriageReturn => "CR without LF",
            Self::Nul => "NUL in header section",
            Self::FieldName => "invalid header field name",
            Self::FieldValue => "invalid header field value",
            Self::Incomplete => "incomplete header section",
            Self::HostMissing => "Host missing",
            Self::HostRepeated => "more than one Host",
            Self::HostInvalid => "invalid Host",
            Self::HostMismatch => "Host differs from request target",
            Self::ContentLengthRepeated => "more than one Content-Length",
            Self::ContentLengthInvalid => "invalid Content-Length",
            Self::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Self::TransferCodingUnknown => "unknown transfer coding",
            Self::TransferCodingInvalid => "invalid Transfer-Encoding",
            Self::TransferCodingVersion => "Transfer-Encoding in HTTP/1.0",
            Self::Expectation => "unknown expectation",
            Self::ConnectionOptions => "too many Connection options",
            Self::UnexpectedUpgrade => "switching protocols without an upgrade",
            Self::InterimWithBody => "interim response with a body",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}
