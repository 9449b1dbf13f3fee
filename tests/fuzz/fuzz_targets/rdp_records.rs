//! libFuzzer's way into what is stored of recorded desktops.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::rdp_records(data));
