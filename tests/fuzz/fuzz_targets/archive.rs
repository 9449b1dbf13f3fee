//! libFuzzer's way into an archive of a data directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::archive(data));
