//! Chunked bodies: no bytes panic, pieces do not matter, and a slow reading of the grammar agrees.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies/chunked.rs"]
mod body;

fuzz_target!(|data: &[u8]| body::run(data));
