//! The command line: what `lucid` can be told, and which module does it.

mod archive;
mod completions;
mod console;
mod desktop;
mod interruption;
mod options;
mod probe;
mod record;
mod reset_claim;
pub mod serve;
pub mod verify;

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
    /// Record a source into a bundle that proves itself, without a daemon
    Record(record::Options),
    /// List the sessions of a data directory
    Sessions(archive::SessionsOptions),
    /// Export a session into a bundle
    Export(archive::ExportOptions),
    /// Judge a bundle, offline: 0 valid, 10 tampered, 11 incomplete, 12 unverifiable
    Verify(verify::Options),
    /// Check everything stored; exit 0 only if nothing is wrong
    Fsck(archive::FsckOptions),
    /// Say what this machine can record and encode
    Probe(probe::Options),
    /// Move everything stored into a file or out of one
    #[command(subcommand)]
    Store(archive::StoreCommand),
    /// Forget the device's owner; the next start prints a new claim code
    ResetClaim(reset_claim::Options),
    /// Recorded desktops of the running daemon: set up, let in, watch, end
    Desktop(desktop::Options),
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
            Command::Record(options) => record::run(&options),
            Command::Sessions(options) => archive::sessions(&options),
            Command::Export(options) => archive::export(&options),
            Command::Verify(options) => verify::run(&options),
            Command::Fsck(options) => archive::fsck(&options),
            Command::Probe(options) => probe::run(&options),
            Command::Store(command) => archive::store(&command),
            Command::Desktop(options) => desktop::run(&options),
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
