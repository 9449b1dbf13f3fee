//! libFuzzer's way into what a client of a recorded desktop sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::rdp_wire(data));
