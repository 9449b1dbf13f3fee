//! Where log lines go: the journal under systemd, people's terminals otherwise, JSON on request.
//!
//! Secrets never reach a log line: types that hold them have no `Debug` that shows them, and
//! requests are logged by route and status, never by header or body.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Log, LogFormat};

/// Starts logging for the process.
///
/// # Errors
/// When the filter is not valid, or the journal is asked for and not there.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)?;
    let format = match log.format {
        LogFormat::Auto if under_systemd() => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Human,
        given => given,
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Journald => Box::new(tracing_journald::layer()?),
        LogFormat::Json => Box::new(fmt::layer().json().with_writer(std::io::stderr)),
        LogFormat::Human | LogFormat::Auto => {
            let colours = std::io::stderr().is_terminal();
            Box::new(
                fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr),
            )
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}

/// Whether standard error is the journal's socket, by the variable systemd sets for it.
fn under_systemd() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && std::env::var_os("INVOCATION_ID").is_some()
}
