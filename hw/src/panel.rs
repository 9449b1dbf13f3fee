//! The front of the device: one thread that shows the light and watches the button.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::button::{Button, ButtonEvent};
use crate::gpio::{GpioError, GpioPort, InputLine, OutputLine, Pull};
use crate::led::{LedState, RecordingLed};

/// How often the button is read and the light is set.
const TICK: Duration = Duration::from_millis(10);
/// Button events waiting to be taken, at most; further ones are dropped and logged, for a press
/// nobody acted on must not act later.
const MAX_EVENTS: usize = 4;

/// Which lines the light and the button hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelLines {
    /// Line of the light; lit when high.
    pub led: u8,
    /// Line of the button; pressed when low, pulled up otherwise.
    pub button: u8,
}

impl Default for PanelLines {
    /// GPIO 17 and 27: next to each other, to 3.3 V and to ground on the header.
    fn default() -> Self {
        Self { led: 17, button: 27 }
    }
}

/// What the light and the button do at one moment. Pure.
#[derive(Debug, Default)]
pub struct PanelCore {
    led: RecordingLed,
    button: Button,
}

impl PanelCore {
    /// Takes what is to be shown and whether the button is down; gives whether the light is lit
    /// and what the button asks for.
    pub fn step(
        &mut self,
        show: LedState,
        pressed: bool,
        now: Duration,
    ) -> (bool, Option<ButtonEvent>) {
        self.led.show(show, now);
        (self.led.is_lit(now), self.button.feed(pressed, now))
    }
}

#[derive(Debug, Default)]
struct Shared {
    show: LedState,
    stop: bool,
    fault: Option<String>,
}

/// The running panel. Dropping it darkens the light and gives the lines back.
#[derive(Debug)]
pub struct Panel {
    shared: Arc<Mutex<Shared>>,
    events: Receiver<ButtonEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Panel {
    /// Takes the lines and starts watching.
    pub fn start(port: &mut dyn GpioPort, lines: PanelLines) -> Result<Self, GpioError> {
        let led = port.output(lines.led, false)?;
        let button = port.input(lines.button, Pull::Up)?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (sender, events) = sync_channel(MAX_EVENTS);
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("panel".to_owned())
            .spawn(move || {
                if let Err(error) = watch(&own, led, button, &sender) {
                    tracing::warn!(%error, "the panel stopped working");
                    lock(&own).fault = Some(error.to_string());
                }
            })
            .map_err(|source| GpioError::Open { port: "panel", source: source.into() })?;
        Ok(Self { shared, events, thread: Some(thread) })
    }

    /// Shows a state from now on.
    pub fn show(&self, state: LedState) {
        lock(&self.shared).show = state;
    }

    /// Waits for the button; `None` when nothing was asked within `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<ButtonEvent> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // The panel is broken; keep the caller's rhythm.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(timeout);
                None
            }
        }
    }

    /// Why the panel stopped working, if it did. The device goes on without it.
    pub fn fault(&self) -> Option<String> {
        lock(&self.shared).fault.clone()
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the panel thread had panicked");
            }
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(
    shared: &Mutex<Shared>,
    mut led: Box<dyn OutputLine>,
    button: Box<dyn InputLine>,
    events: &SyncSender<ButtonEvent>,
) -> Result<(), GpioError> {
    let start = Instant::now();
    let mut core = PanelCore::default();
    let mut lit = false;
    loop {
        let (show, stop) = {
            let shared = lock(shared);
            (shared.show, shared.stop)
        };
        if stop {
            return led.set(false);
        }
        let (wanted, event) = core.step(show, !button.is_high()?, start.elapsed());
        if wanted != lit {
            led.set(wanted)?;
            lit = wanted;
        }
        if let Some(event) = event
            && let Err(TrySendError::Full(event)) = events.try_send(event)
        {
            tracing::warn!(?event, "button event dropped: nobody takes them");
        }
        std::thread::park_timeout(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpio::sim::SimPort;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "{what} did not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_light_follows_and_the_button_is_heard() {
        let mut port = SimPort::new();
        let wires = port.wires();
        let lines = PanelLines::default();
        let panel = Panel::start(&mut port, lines).unwrap();
        panel.show(LedState::On);
        until("light", || wires.driven(lines.led) == Some(true));
        panel.show(LedState::Fault);
        until("dark half", || wires.driven(lines.led) == Some(false));
        until("lit half", || wires.driven(lines.led) == Some(true));
        assert_eq!(panel.next(Duration::ZERO), None);
        // However slow the machine, repeated presses are heard; a press that took longer than two
        // seconds is none.
        let mut heard = None;
        until("press", || {
            wires.hold(lines.button, Some(false));
            std::thread::sleep(Duration::from_millis(120));
            wires.hold(lines.button, None);
            heard = panel.next(Duration::from_millis(300));
            heard.is_some()
        });
        assert_eq!(heard, Some(ButtonEvent::Toggle));
        drop(panel);
        assert_eq!(wires.driven(lines.led), None, "the lines are given back");
    }

    #[test]
    fn hardware_that_goes_away_is_a_fault_not_a_crash() {
        let mut port = SimPort::new();
        let panel = Panel::start(&mut port, PanelLines::default()).unwrap();
        assert_eq!(panel.fault(), None);
        port.wires().break_line(PanelLines::default().button);
        until("fault", || panel.fault().is_some());
        assert!(panel.fault().unwrap().contains("27"));
        assert_eq!(panel.next(Duration::from_millis(1)), None);
    }

    #[test]
    fn taken_lines_are_refused() {
        let mut port = SimPort::new();
        let _held = port.input(27, Pull::None).unwrap();
        let error = Panel::start(&mut port, PanelLines::default()).unwrap_err();
        assert!(matches!(error, GpioError::Line { line: 27, .. }));
    }
}
