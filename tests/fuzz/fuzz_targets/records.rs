//! libFuzzer's way into the recorder's own records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::records(data));
