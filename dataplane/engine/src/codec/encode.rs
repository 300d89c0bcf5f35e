//! Chunks towards the other side. Extensions are never forwarded: every chunk is written anew (RFC 9112 §7.1).

use super::body::Trailers;

/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The most bytes that a chunk adds around its data.
pub const CHUNK_OVERHEAD_MAX: usize = 16 + 2 + 2;

/// Appends the size line of a chunk of `len` bytes; the data and [`CHUNK_END`] follow. `len` is not zero: that would
/// be the last chunk.
pub fn chunk_prefix(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let count = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    let digit = |place: u32| DIGITS[(len >> (4 * place)) & 0xf];
    out.extend((0..count).rev().map(digit));
    out.extend_from_slice(b"\r\n");
}

/// Appends [`CHUNK_END`].
pub fn chunk_suffix(out: &mut Vec<u8>) {
    out.extend_from_slice(CHUNK_END);
}

/// Appends the last chunk with the trailers that may travel.
pub fn last_chunk(trailers: Option<&Trailers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flat_map(Trailers::iter) {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hexadecimal() {
        for (len, text) in [(1, "1"), (10, "a"), (16, "10"), (255, "ff"), (65_536, "10000")] {
            let mut out = Vec::new();
            chunk_prefix(len, &mut out);
            assert_eq!(out, format!("{text}\r\n").as_bytes());
        }
    }
}
