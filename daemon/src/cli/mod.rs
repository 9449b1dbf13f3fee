//! The command line: what `lucid` can be told, and which module does it.

mod completions;
mod options;
mod reset_claim;
pub mod serve;

use clap::{Parser, Subcommand};

pub use options::ConfigOptions;

use crate::exit::{Exit, Failure};

/// A recorder that proves what it recorded.
#[derive(Parser)]
#[command(name = "lucid", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon: record, seal, anchor, and serve the web page
    Serve(serve::Options),
    /// Forget the device's owner; the next start prints a new claim code
    ResetClaim(reset_claim::Options),
    /// Print a completion script for a shell
    Completions(completions::Options),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With the exit code to end with.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Serve(options) => serve::run(options),
            Command::ResetClaim(options) => reset_claim::run(options),
            Command::Completions(options) => completions::run(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
