//! libFuzzer's way into a source's address.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::uri(data));
