//! Host and path: the route table finds what a scan over all its rules finds, for raw bytes too.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../bodies/host_path.rs"]
mod body;

fuzz_target!(|data: &[u8]| body::run(data));
