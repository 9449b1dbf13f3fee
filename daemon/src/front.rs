//! The front of the device: the light says whether it records, the button starts, stops, and,
//! held for ten seconds, forgets the owner. A device without pins has no front, and says so.

use std::sync::Arc;
use std::time::Duration;

use lucid_capture::recorder::SourceState;
use lucid_hw::button::ButtonEvent;
use lucid_hw::gpio::{Gpio, GpioChoice};
use lucid_hw::led::LedState;
use lucid_hw::panel::{Panel, PanelLines};
use tokio_util::sync::CancellationToken;

use crate::cli::serve::print_code;
use crate::events::Topic;
use crate::http::App;
use crate::http::sources::view;
use crate::http::time::now_us;
use crate::supervisor::Reporter;

/// How often the light is set anew, and the stop looked for.
const ROUND: Duration = Duration::from_millis(250);
/// Media not durable for this long while recording is a fault.
const DURABLE_WITHIN_US: u64 = 15 * 1_000_000;

/// Shows the light and obeys the button until asked to stop.
///
/// # Errors
/// When the lines cannot be taken, or break.
pub async fn run(app: App, reporter: Reporter, stop: CancellationToken) -> anyhow::Result<()> {
    let choice = app.config.panel.gpio.clone();
    let lines = app.config.panel.lines;
    let port = tokio::task::spawn_blocking(move || {
        Gpio::open(&choice, &lucid_hw::board(), &lucid_hw::Machine::here())
    });
    let mut port = match port.await? {
        Gpio::Ready(port) => port,
        Gpio::Missing { reason } => {
            reporter.nothing_to_do(format!("no light and no button: {reason}"));
            stop.cancelled().await;
            return Ok(());
        }
    };
    let panel = Panel::start(port.as_mut(), lines)?;
    reporter.healthy();
    let work = tokio::task::spawn_blocking(move || {
        while !stop.is_cancelled() {
            panel.show(light(&app));
            if let Some(event) = panel.next(ROUND) {
                obey(&app, event);
            }
            if let Some(fault) = panel.fault() {
                anyhow::bail!("the panel stopped working: {fault}");
            }
        }
        Ok(())
    });
    work.await?
}

/// The settings of the front.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PanelConfig {
    /// The backend.
    pub gpio: GpioChoice,
    /// The lines.
    pub lines: PanelLines,
}

fn light(app: &App) -> LedState {
    let sources = app.sources.list();
    let enabled = sources.iter().filter(|source| source.enabled);
    let states: Vec<SourceState> =
        enabled.map(|source| app.recordings.status(&source.id).state).collect();
    let since = app.pulse.last_durable_us().map(|at| now_us().saturating_sub(at));
    decide(&states, since, app.supervisor.missing().is_empty())
}

/// What the light shows: the states of the enabled sources, how long ago media became durable, and
/// whether everything required runs.
fn decide(states: &[SourceState], durable_before_us: Option<u64>, whole: bool) -> LedState {
    let is_fault = |state: &SourceState| {
        matches!(state, SourceState::Stalled | SourceState::Failed | SourceState::Refused)
    };
    let records = states.contains(&SourceState::Recording);
    let late = records && durable_before_us.is_none_or(|us| us > DURABLE_WITHIN_US);
    if !whole || late || states.iter().any(is_fault) {
        return LedState::Fault;
    }
    if records { LedState::On } else { LedState::Off }
}

fn obey(app: &App, event: ButtonEvent) {
    tracing::info!(?event, "button");
    let done = match event {
        ButtonEvent::Toggle => toggle(app),
        ButtonEvent::ReleaseClaim => release(app),
    };
    if let Err(error) = done {
        tracing::error!(error = format!("{error:#}"), "the button could not be obeyed");
    }
}

/// Stops everything if anything records, else starts everything.
fn toggle(app: &App) -> anyhow::Result<()> {
    let sources = app.sources.list();
    let stops = sources.iter().any(|source| source.enabled);
    for source in sources.iter().filter(|source| source.enabled == stops) {
        let changed = app.sources.change(source.id.as_str(), |source| {
            source.enabled = !stops;
            Ok(())
        })?;
        app.events.publish(Topic::Source, &view(app, &changed));
    }
    app.recordings.wake();
    let action = if stops { "recording.stop" } else { "recording.start" };
    Ok(app.auth.note("button", action, "all sources")?)
}

/// Forgets the owner and prints a new code where the first one was printed.
fn release(app: &App) -> anyhow::Result<()> {
    let auth = Arc::clone(&app.auth);
    auth.release_claim("button")?;
    let (_, code) = auth.renew_code()?;
    if let Some(code) = code {
        print_code(&code)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_is_on_only_while_what_is_recorded_is_durable() {
        use SourceState::{Connecting, Failed, Idle, Recording, Refused, Stalled};
        let soon = Some(1_000_000);
        assert_eq!(decide(&[], None, true), LedState::Off);
        assert_eq!(decide(&[Idle, Connecting], None, true), LedState::Off);
        assert_eq!(decide(&[Recording, Connecting], soon, true), LedState::On);
        assert_eq!(decide(&[Recording], Some(16_000_000), true), LedState::Fault);
        assert_eq!(decide(&[Recording], None, true), LedState::Fault);
        assert_eq!(decide(&[Recording], soon, false), LedState::Fault);
        for broken in [Stalled, Failed, Refused] {
            assert_eq!(decide(&[Recording, broken], soon, true), LedState::Fault);
        }
    }
}
