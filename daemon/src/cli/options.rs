//! Options of every command that needs the configuration.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Flags, Loaded};
use crate::exit::{Exit, Failure};

/// Where the configuration comes from.
#[derive(Args)]
pub struct ConfigOptions {
    /// Configuration file [default: /etc/lucid/lucid.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where recordings, chain, keys and settings live [default: /var/lib/lucid for root, else
    /// ~/.local/share/lucid]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Set any configuration key; `lucid serve --print-config` lists them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl ConfigOptions {
    /// Reads and checks the configuration; `more` are the command's own flags, as key, flag, text.
    ///
    /// # Errors
    /// [`Exit::Config`] or [`Exit::Usage`].
    pub fn load(&self, more: Flags) -> Result<Loaded, Failure> {
        let mut flags = Flags::new();
        for setting in &self.settings {
            let (key, text) = setting.split_once('=').ok_or_else(|| {
                let error = anyhow::anyhow!("`--set {setting}`: expected KEY=VALUE");
                Failure::new(Exit::Usage, error)
            })?;
            flags.push((key.trim().to_owned(), "--set".to_owned(), text.trim().to_owned()));
        }
        if let Some(data_dir) = &self.data_dir {
            let text = data_dir.to_string_lossy().into_owned();
            flags.push(("data_dir".to_owned(), "--data-dir".to_owned(), text));
        }
        flags.extend(more);
        config::load(self.config.as_deref(), &flags)
            .map_err(|error| Failure::new(Exit::Config, error))
    }
}
