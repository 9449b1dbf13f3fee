//! libFuzzer's way into recovery words.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_mnemonic(data));
