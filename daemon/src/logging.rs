//! Where log lines go: the journal under systemd, people's terminals otherwise, JSON on request;
//! the newest of them to the page, too.
//!
//! Secrets never reach a log line: types that hold them have no `Debug` that shows them, and
//! requests are logged by route and status, never by header or body.

use std::io::{IsTerminal, Write as _};
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Log, LogFormat};
use crate::system::KeptLog;
use crate::system::kept_log;

/// Starts logging for the process; the newest lines are kept.
///
/// # Errors
/// When the filter is not valid, or the journal is asked for and not there.
pub fn start(log: &Log) -> anyhow::Result<Arc<KeptLog>> {
    let filter = EnvFilter::try_new(&log.level)?;
    let format = match log.format {
        LogFormat::Auto if !under_systemd() => LogFormat::Human,
        given => given,
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        // A line for people with its details, which `journalctl` would hide in fields.
        LogFormat::Auto => Box::new(LinesWithPriority),
        LogFormat::Journald => Box::new(tracing_journald::layer()?),
        LogFormat::Json => Box::new(fmt::layer().json().with_writer(std::io::stderr)),
        LogFormat::Human => {
            let colours = std::io::stderr().is_terminal();
            Box::new(
                fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr),
            )
        }
    };
    let kept = Arc::new(KeptLog::default());
    let layer = layer.and_then(kept.layer());
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(kept)
}

/// Lines on standard error with the priority the journal reads off their start (sd-daemon(3)).
struct LinesWithPriority;

impl<S: Subscriber> Layer<S> for LinesWithPriority {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            tracing::Level::DEBUG | tracing::Level::TRACE => 7,
        };
        let text = kept_log::text_of(event).replace('\n', " ");
        // With nobody to read it there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "<{priority}>{text}");
    }
}

/// Whether standard error is the journal's socket, by the variable systemd sets for it.
fn under_systemd() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && std::env::var_os("INVOCATION_ID").is_some()
}
