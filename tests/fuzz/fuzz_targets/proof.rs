//! libFuzzer's way into `proof.cbor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::proof(data));
