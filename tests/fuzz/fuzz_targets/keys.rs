//! libFuzzer's way into `keys.cbor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::keys(data));
