//! `lucid completions`: scripts for the shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::exit::{Exit, Failure};

/// Options of `lucid completions`.
#[derive(Args)]
pub struct Options {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(options: Options) -> Result<Exit, Failure> {
    use std::io::Write;
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "lucid", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Success)
}
