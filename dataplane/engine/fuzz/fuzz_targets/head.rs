//! Heads: no bytes panic, pieces do not matter, and what is forwarded reads as it was meant, unambiguously.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies/head.rs"]
mod body;

fuzz_target!(|data: &[u8]| body::run(data));
