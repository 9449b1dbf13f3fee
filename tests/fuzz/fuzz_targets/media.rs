//! libFuzzer's way into fragmented MP4.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::media(data));
