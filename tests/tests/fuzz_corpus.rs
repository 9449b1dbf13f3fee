//! Takes every input that fuzzing kept, and every one that once crashed, through the decoders
//! again.
//!
//! `LUCID_WRITE_SEEDS=1` writes the inputs from which fuzzing starts.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use lucid_tests::targets::{ALL, seeds};
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

#[test]
fn every_kept_input_is_judged_without_a_panic() {
    if std::env::var_os("LUCID_WRITE_SEEDS").is_some() {
        for (number, (target, seed)) in seeds::all().into_iter().enumerate() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(folder(target).join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
    for (target, run) in ALL {
        let entries = std::fs::read_dir(folder(target))
            .unwrap_or_else(|error| panic!("no corpus for {target}: {error}"));
        let mut inputs = 0;
        for entry in entries {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {target} is empty");
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut built: Vec<String> = std::fs::read_dir(targets)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    built.sort();
    let replayed: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, replayed);
}

#[test]
fn seeds_are_judged_without_a_panic() {
    for (target, seed) in seeds::all() {
        let (_, run) = ALL.iter().find(|(name, _)| *name == target).unwrap();
        run(&seed);
    }
}
