//! Requests and answers on their way through: connections, bodies, deadlines, endpoints that fail.

mod bodies;
mod clients;
mod connections;
mod endpoints;
mod fairness;
mod told;
mod tunnels;

use std::io::Write;

/// Bytes that repeat late, so that a lost or doubled buffer shows.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A chunked body with chunks of this size.
pub(crate) fn in_chunks(bytes: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / size * 12 + 64);
    for chunk in bytes.chunks(size) {
        write!(out, "{:x}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    write!(out, "0\r\n{trailers}\r\n").unwrap();
    out
}
