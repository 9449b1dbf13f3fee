//! libFuzzer's way into the answers of TRON nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_answer(data));
