//! libFuzzer's way into the payment process's journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lucid_tests::targets::pay_journal(data));
