//! Chunked bodies: no bytes panic, pieces do not matter, and a slow reading of the grammar agrees.

use ringress_engine::codec::body::{BodyDecoder, BodyError, BodyEvent};
use ringress_engine::codec::encode;
use ringress_engine::http::Framing;
use ringress_shared::listener::HeadLimits;

/// What the fuzzer does with bytes.
pub(crate) fn run(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, 1));
    assert_eq!(whole, read(bytes, 1 + usize::from(*step)));
    let (data, outcome) = &whole;
    assert!(bytes.len() >= data.len());
    match outcome {
        Outcome::End { rest, .. } => {
            let (expected, end) = reference(bytes).expect("the grammar takes what we take");
            assert_eq!((data, *rest), (&expected, bytes.len() - end));
            check_round_trip(bytes, data);
        }
        Outcome::More => assert!(reference(bytes).is_none(), "the grammar sees an end"),
        Outcome::Failed(_) => {}
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    End { rest: usize, trailers: Vec<(Vec<u8>, Vec<u8>)> },
    More,
    Failed(BodyError),
}

fn decoder() -> BodyDecoder {
    let limits = HeadLimits { trailer_bytes_max: 256, trailers_max: 4, ..HeadLimits::default() };
    BodyDecoder::with_limits(Framing::Chunked, &limits)
}

fn read(bytes: &[u8], step: usize) -> (Vec<u8>, Outcome) {
    read_with(decoder(), bytes, step)
}

fn read_with(mut decoder: BodyDecoder, bytes: &[u8], step: usize) -> (Vec<u8>, Outcome) {
    let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let decoded = match decoder.decode(&bytes[start..end]) {
            Ok(decoded) => decoded,
            Err(error) => return (data, Outcome::Failed(error)),
        };
        if let BodyEvent::Data(range) = &decoded.event {
            assert!(!range.is_empty() && range.end == decoded.consumed);
            data.extend_from_slice(&bytes[start..end][range.clone()]);
        }
        start += decoded.consumed;
        match decoded.event {
            BodyEvent::Data(_) => {}
            BodyEvent::End => {
                let trailers = decoder.trailers().into_iter().flat_map(|all| all.iter());
                let trailers = trailers.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                return (data, Outcome::End { rest: bytes.len() - start, trailers });
            }
            BodyEvent::NeedMore => {
                assert_eq!(start, end);
                if end == bytes.len() {
                    return (data, Outcome::More);
                }
                end = (end + step).min(bytes.len());
            }
        }
    }
}

/// Reads the grammar of RFC 9112 §7.1 line by line over the whole input: data, and where the body ends.
fn reference(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let line = line(bytes, &mut at)?;
        let size = line.split(|byte| *byte == b';').next()?;
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    while !line(bytes, &mut at)?.is_empty() {}
    Some((data, at))
}

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let start = *at;
    let len = bytes.get(start..)?.windows(2).position(|pair| pair == b"\r\n")?;
    *at = start + len + 2;
    Some(&bytes[start..start + len])
}

fn check_round_trip(bytes: &[u8], data: &[u8]) {
    let mut first = decoder();
    let mut at = 0;
    while let Ok(step) = first.decode(&bytes[at..]) {
        at += step.consumed;
        if step.event == BodyEvent::End {
            break;
        }
    }
    let mut out = Vec::new();
    for part in data.chunks(7) {
        encode::chunk_prefix(part.len(), &mut out);
        out.extend_from_slice(part);
        encode::chunk_suffix(&mut out);
    }
    encode::last_chunk(first.trailers(), &mut out);
    // A space behind each colon may lift trailers above the limit that they were read with.
    let (again, outcome) = read_with(BodyDecoder::new(Framing::Chunked), &out, 5);
    assert_eq!(again, data);
    assert!(matches!(outcome, Outcome::End { rest: 0, .. }), "{outcome:?}");
}
