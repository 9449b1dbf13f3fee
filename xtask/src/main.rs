//! `cargo xtask check`: holds the workspace to its own rules.
//!
//! The rules are the forbidden edges between crates ([`edges`]), the licences of what is linked
//! ([`licence`]), the shape of the source files ([`tidy`]) and what the Yocto layer has to agree
//! with ([`yocto`]). Everything that judges is a pure function over a model; only this file and the
//! functions that load touch the disk. `cargo xtask yocto` writes the layer's list of crates.

#![forbid(unsafe_code)]

mod edges;
mod licence;
mod model;
mod tidy;
mod yocto;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

/// One broken rule: where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The crate or file (with line) the finding is about.
    pub place: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Finding {
    /// A finding about `place`.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

const USAGE: &str = "usage: cargo xtask check [edges|licences|tidy|yocto] [--root DIR]\n       \
    cargo xtask yocto [--root DIR]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(64)
        }
    }
}

/// Runs the command line; `Ok(false)` when a rule is broken.
fn run(args: Vec<String>) -> anyhow::Result<bool> {
    let mut root = default_root()?;
    let mut words = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--root" => root = args.next().context("--root needs a directory")?.into(),
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(true);
            }
            _ => words.push(arg),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let parts: &[&str] = match words.as_slice() {
        ["yocto"] => {
            let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
            std::fs::write(root.join(yocto::CRATES), yocto::crates(&lock))?;
            return Ok(true);
        }
        ["check"] => &["edges", "licences", "tidy", "yocto"],
        ["check", "edges"] => &["edges"],
        ["check", "licences"] => &["licences"],
        ["check", "tidy"] => &["tidy"],
        ["check", "yocto"] => &["yocto"],
        _ => anyhow::bail!("{USAGE}"),
    };
    let mut clean = true;
    for part in parts {
        clean &= report(part, &check(part, &root)?);
    }
    Ok(clean)
}

/// The workspace this tool was built in.
fn default_root() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("xtask stands in the workspace root")?.to_path_buf())
}

fn check(part: &str, root: &Path) -> anyhow::Result<Vec<Finding>> {
    if part == "yocto" {
        return Ok(yocto::check(&yocto::load(root)?));
    }
    let workspace = model::load(root)?;
    Ok(match part {
        "edges" => edges::check(&workspace),
        "licences" => licence::check(&workspace),
        _ => {
            let mut findings = tidy::check_manifests(&workspace.manifests()?);
            let files = tidy::read_files(root)?;
            for note in tidy::long_files(&files) {
                eprintln!("note: {note}");
            }
            findings.extend(tidy::check_files(&files, &workspace.crate_roots(root)));
            findings
        }
    })
}

fn report(part: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        eprintln!("error: {finding}");
    }
    match findings.len() {
        0 => println!("check {part}: ok"),
        n => eprintln!("check {part}: {n} found"),
    }
    findings.is_empty()
}
