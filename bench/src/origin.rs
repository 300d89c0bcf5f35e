//! The origin: fixed answers at the lowest price, over keep-alive HTTP/1.1.
//!
//! It understands what the scenarios send and nothing more: no chunked bodies, no pipelining limits, no timeouts.
//! What it does not understand is answered 400, 404 or 501, so that a proxy that rewrites requests in an
//! unexpected way shows up as an error of the run and not as a good figure.

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use anyhow::{Context, Result};
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::{ListenerOpts, TcpListener, TcpStream},
};

use crate::{
    Verdict,
    args::OriginArgs,
    runtime,
    scenario::{LARGE_BYTES, LARGE_PATH, SMALL_BYTES, SMALL_PATH, pattern},
};

/// The verb: serves until the process is ended.
pub(crate) fn run(args: &OriginArgs) -> Result<Verdict> {
    if let Some(core) = args.core {
        runtime::pin(core)?;
    }
    let listen = args.listen;
    runtime::block_on(async move || {
        let listener = bind(listen)?;
        // Port 0 asks for any: the real one is read here.
        println!("http://{}{SMALL_PATH} and {LARGE_PATH}", listener.local_addr()?);
        serve(listener).await;
        Ok(Verdict::Clean)
    })
}

/// Starts an origin on this thread's runtime and says where.
///
/// # Errors
/// No loopback port is free.
pub(crate) fn spawn() -> Result<SocketAddr> {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    monoio::spawn(serve(listener));
    Ok(address)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    // Without SO_REUSEPORT a second origin on the same port fails instead of taking half of the connections.
    let options = ListenerOpts::new().reuse_port(false).backlog(4096);
    TcpListener::bind_with_config(address, &options).with_context(|| format!("cannot listen on {address}"))
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                monoio::spawn(converse(stream));
            }
            // EMFILE stays until something closes: without a pause this loop would eat the core.
            Err(_) => monoio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection until either side closes it. A broken connection ends silently: the client counts errors.
async fn converse(mut stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let request = match parse_request(&buffer) {
            Ok(Some(request)) => request,
            Ok(None) if buffer.len() < BUFFER_BYTES => match fill(&mut stream, buffer).await {
                Some(filled) => {
                    buffer = filled;
                    continue;
                }
                None => return,
            },
            Ok(None) => return refuse(&mut stream, Refusal::BadRequest).await,
            Err(refusal) => return refuse(&mut stream, refusal).await,
        };
        buffer = match discard(&mut stream, buffer, request.head_bytes + request.body_bytes).await {
            Some(rest) => rest,
            None => return,
        };
        let answer: &'static [u8] = match request.page {
            Page::Small => &SMALL_ANSWER,
            Page::Large => &LARGE_ANSWER,
        };
        if stream.write_all(answer).await.0.is_err() || request.closes {
            return;
        }
    }
}

/// Appends what the peer sends; `None` once it sends no more.
async fn fill(stream: &mut TcpStream, buffer: Vec<u8>) -> Option<Vec<u8>> {
    let (used, room) = (buffer.len(), buffer.capacity());
    let (read, slice) = stream.read(buffer.slice_mut(used..room)).await;
    match read {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(slice.into_inner()),
    }
}

/// Takes `length` bytes away, reading those that have not come yet.
async fn discard(stream: &mut TcpStream, mut buffer: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let mut missing = length;
    while missing > buffer.len() {
        missing -= buffer.len();
        buffer.clear();
        buffer = fill(stream, buffer).await?;
    }
    buffer.drain(..missing);
    Some(buffer)
}

async fn refuse(stream: &mut TcpStream, refusal: Refusal) {
    let answer = format!("HTTP/1.1 {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", refusal.status());
    // The connection ends either way.
    let _ = stream.write_all(answer.into_bytes()).await.0;
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    page: Page,
    head_bytes: usize,
    body_bytes: usize,
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Small,
    Large,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadRequest,
    NotFound,
    NotImplemented,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Refusal::BadRequest => "400 Bad Request",
            Refusal::NotFound => "404 Not Found",
            Refusal::NotImplemented => "501 Not Implemented",
        }
    }
}

/// The request at the start of `bytes`; `None` while its head is not complete.
fn parse_request(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|_| Refusal::BadRequest)? else {
        return Ok(None);
    };
    let mut request =
        Request { page: page(head.path)?, head_bytes, body_bytes: 0, closes: head.version == Some(0) };
    for field in head.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value).map_err(|_| Refusal::BadRequest)?;
            request.body_bytes = digits.parse().map_err(|_| Refusal::BadRequest)?;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refusal::NotImplemented);
        } else if field.name.eq_ignore_ascii_case("connection") {
            request.closes |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(request))
}

fn page(path: Option<&str>) -> Result<Page, Refusal> {
    match path {
        Some(SMALL_PATH) => Ok(Page::Small),
        Some(LARGE_PATH) => Ok(Page::Large),
        _ => Err(Refusal::NotFound),
    }
}

fn answer(body_bytes: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.extend(pattern(body_bytes));
    bytes
}

static SMALL_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| answer(SMALL_BYTES));
static LARGE_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| answer(LARGE_BYTES));

/// Of one connection; a POST of 64 KiB takes two reads.
const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_partial_until_its_last_byte() {
        let bytes = b"POST /1k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let head_bytes = bytes.len() - 5;
        for end in 0..head_bytes {
            assert_eq!(parse_request(&bytes[..end]), Ok(None), "{end}");
        }
        let expected = Request { page: Page::Small, head_bytes, body_bytes: 5, closes: false };
        assert_eq!(parse_request(bytes), Ok(Some(expected)));
    }

    #[test]
    fn the_end_of_a_connection_is_recognised() {
        let closes = |text: &str| parse_request(text.as_bytes()).map(|request| request.map(|r| r.closes));
        assert_eq!(closes("GET /1m HTTP/1.1\r\nHost: x\r\nconnection: Close\r\n\r\n"), Ok(Some(true)));
        assert_eq!(closes("GET /1m HTTP/1.0\r\n\r\n"), Ok(Some(true)));
        assert_eq!(closes("GET /1m HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"), Ok(Some(false)));
    }

    #[test]
    fn what_no_scenario_sends_is_refused() {
        let refusal = |text: &str| parse_request(text.as_bytes()).expect_err(text);
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Refusal::NotFound);
        assert_eq!(
            refusal("GET /1k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Refusal::NotImplemented
        );
        assert_eq!(refusal("POST /1k HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), Refusal::BadRequest);
        assert_eq!(refusal("\u{1}\r\n\r\n"), Refusal::BadRequest);
    }
}
