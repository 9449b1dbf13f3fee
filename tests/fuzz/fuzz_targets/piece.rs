//! libFuzzer's way into the frame of a sealed piece and what is in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::piece(data));
