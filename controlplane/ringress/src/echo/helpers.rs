//! What the last two elements of a path ask of the echo backend.

use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Response, StatusCode};

use super::{Body, plain};

/// The most that `/bytes/N` sends.
const BYTES_MAX: u64 = 1 << 30;
/// The most that `/chunked/N` sends.
const CHUNKS_MAX: u64 = 1 << 20;
/// The longest that `/delay/MS` waits.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Status(StatusCode),
    Delay(Duration),
    Bytes(u64),
    Chunked(u64),
    /// A helper's name with a number that it does not take.
    Refused,
}

impl Helper {
    /// The helper that the last two elements name, if they do. Prefixes before them belong to rules.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut elements = path.rsplit('/');
        let (number, name) = (elements.next()?, elements.next()?);
        let number = number.parse::<u64>();
        let within = |max: u64| number.clone().ok().filter(|number| *number <= max);
        let helper = match name {
            "status" => within(599).and_then(answerable).map(Self::Status),
            "delay" => within(DELAY_MAX.as_millis() as u64).map(Duration::from_millis).map(Self::Delay),
            "bytes" => within(BYTES_MAX).map(Self::Bytes),
            "chunked" => within(CHUNKS_MAX).map(Self::Chunked),
            _ => return None,
        };
        Some(helper.unwrap_or(Self::Refused))
    }

    pub(super) async fn answer(self, usual: impl FnOnce() -> Response<Body>) -> Response<Body> {
        match self {
            Self::Status(status) => {
                let mut response = usual();
                *response.status_mut() = status;
                response
            }
            Self::Delay(delay) => {
                tokio::time::sleep(delay).await;
                usual()
            }
            Self::Bytes(count) => bytes(count),
            Self::Chunked(count) => chunks(count),
            Self::Refused => plain(StatusCode::BAD_REQUEST, "no such number for this helper\n"),
        }
    }
}

/// Final statuses only: an interim one would leave the client waiting.
fn answerable(status: u64) -> Option<StatusCode> {
    StatusCode::from_u16(status as u16).ok().filter(|status| !status.is_informational())
}

fn bytes(count: u64) -> Response<Body> {
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let sizes = std::iter::successors(Some(count), |left| left.checked_sub(PIECE.len() as u64));
    let pieces = sizes.map(|left| left.min(PIECE.len() as u64) as usize).filter(|length| *length > 0);
    let pieces = stream::iter(pieces.map(|length| data(Bytes::from_static(&PIECE[..length]))));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(count));
    response
}

fn chunks(count: u64) -> Response<Body> {
    let chunks = stream::iter((1..=count).map(|number| data(Bytes::from(format!("chunk {number}\n")))));
    Response::new(BodyExt::boxed(StreamBody::new(chunks)))
}

fn data(bytes: Bytes) -> Result<Frame<Bytes>, std::convert::Infallible> {
    Ok(Frame::data(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_elements_decide() {
        let rows = [
            ("/", None),
            ("/status", None),
            ("/status/503", Some(Helper::Status(StatusCode::SERVICE_UNAVAILABLE))),
            ("/a/status/200", Some(Helper::Status(StatusCode::OK))),
            ("/status/200/x", None),
            ("/status/100", Some(Helper::Refused)),
            ("/status/600", Some(Helper::Refused)),
            ("/status/x", Some(Helper::Refused)),
            ("/delay/5", Some(Helper::Delay(Duration::from_millis(5)))),
            ("/bytes/0", Some(Helper::Bytes(0))),
            ("/bytes/99999999999", Some(Helper::Refused)),
            ("/chunked/3", Some(Helper::Chunked(3))),
        ];
        for (path, expected) in rows {
            assert_eq!(Helper::of(path), expected, "{path}");
        }
    }
}
