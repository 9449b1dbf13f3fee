//! libFuzzer's way into what a daemon asks of the keeper of desktops.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::desktop_keeper(data));
