//! `lucid reset-claim`: for whoever can log in at the device. Accounts and sessions go,
//! recordings stay.

use clap::Args;

use super::ConfigOptions;
use crate::auth::Auth;
use crate::data_dir;
use crate::exit::{Exit, Failure};

/// Options of `lucid reset-claim`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigOptions,
}

/// Forgets the owner. The daemon must be stopped: it holds the data directory.
///
/// # Errors
/// When the data directory is held or unusable.
pub fn run(options: Options) -> Result<Exit, Failure> {
    let config = options.config.load(Vec::new())?.config;
    let data_dir = data_dir::open_existing(&config.data_dir)?;
    let auth = Auth::new(data_dir.index(), &data_dir.keys_dir(), &config.auth);
    auth.release_claim("console")?;
    println!("the claim is released; `lucid serve` prints a new claim code");
    Ok(Exit::Success)
}
