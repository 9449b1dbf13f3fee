//! libFuzzer's way into the text forms of ids, hashes and keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::text(data));
