//! Runs a file of test vectors: prints each failure and a last line `N passed, M failed`; exits 1
//! if any failed and 2 if the file cannot be read. Answers are computed from the inputs alone.

mod build;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: vectors FILE");
        return ExitCode::from(2);
    };
    let read = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let file: serde_json::Value = match read {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let outcome = run::run(&file);
    for failure in &outcome.failures {
        println!("FAILED {failure}");
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failures.len());
    if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
