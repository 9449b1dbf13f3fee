//! libFuzzer's way into addresses, amounts and proposals in text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_text(data));
