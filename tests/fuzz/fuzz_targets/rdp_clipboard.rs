//! libFuzzer's way into the clipboard of recorded desktops.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::rdp_clipboard(data));
