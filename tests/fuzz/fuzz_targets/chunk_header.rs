//! libFuzzer's way into the chunk header.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::chunk_header(data));
