//! libFuzzer's way into a block.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::block(data));
