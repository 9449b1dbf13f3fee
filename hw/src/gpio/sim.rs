//! Lines in memory: the other end of each can be held and looked at.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{GpioError, GpioPort, InputLine, MAX_LINES, OutputLine, Pull};

const NAME: &str = "sim";

#[derive(Debug, Clone, Copy, Default)]
struct LineState {
    /// What the program drives; `None` while it is no output.
    driven: Option<bool>,
    /// What the outside holds it at; `None` when open.
    held: Option<bool>,
    /// Level of an open input.
    pulled_up: bool,
    /// Whether the program holds the line.
    taken: bool,
    /// Reads and writes fail, as when the hardware went away.
    broken: bool,
}

/// The outside of the lines: what a hand on the wires would do. Clones see the same lines.
#[derive(Debug, Clone)]
pub struct SimWires {
    lines: Arc<Mutex<Vec<LineState>>>,
}

impl SimWires {
    fn lock(&self) -> MutexGuard<'_, Vec<LineState>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, line: u8, change: impl FnOnce(&mut LineState)) {
        if let Some(state) = self.lock().get_mut(usize::from(line)) {
            change(state);
        }
    }

    /// Holds a line at a level, or lets go of it.
    pub fn hold(&self, line: u8, level: Option<bool>) {
        self.change(line, |state| state.held = level);
    }

    /// Makes reading and writing of a line fail.
    pub fn break_line(&self, line: u8) {
        self.change(line, |state| state.broken = true);
    }

    /// What the program drives a line at; `None` while it does not.
    pub fn driven(&self, line: u8) -> Option<bool> {
        self.lock().get(usize::from(line)).and_then(|state| state.driven)
    }
}

/// A port whose lines are in memory.
#[derive(Debug)]
pub struct SimPort {
    wires: SimWires,
}

impl SimPort {
    /// A port with [`MAX_LINES`] open lines.
    pub fn new() -> Self {
        let lines = vec![LineState::default(); usize::from(MAX_LINES)];
        Self { wires: SimWires { lines: Arc::new(Mutex::new(lines)) } }
    }

    /// The outside of its lines.
    pub fn wires(&self) -> SimWires {
        self.wires.clone()
    }

    fn take(
        &self,
        line: u8,
        set_up: impl FnOnce(&mut LineState),
    ) -> Result<Box<SimLine>, GpioError> {
        let mut lines = self.wires.lock();
        let Some(state) = lines.get_mut(usize::from(line)) else {
            return Err(GpioError::NoSuchLine { line, port: NAME, lines: MAX_LINES.into() });
        };
        if state.taken {
            return Err(GpioError::Line { line, source: "line is taken".into() });
        }
        state.taken = true;
        set_up(state);
        Ok(Box::new(SimLine { line, wires: self.wires.clone() }))
    }
}

impl Default for SimPort {
    fn default() -> Self {
        Self::new()
    }
}

impl GpioPort for SimPort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&mut self, line: u8, high: bool) -> Result<Box<dyn OutputLine>, GpioError> {
        let line: Box<dyn OutputLine> = self.take(line, |state| state.driven = Some(high))?;
        Ok(line)
    }

    fn input(&mut self, line: u8, pull: Pull) -> Result<Box<dyn InputLine>, GpioError> {
        let line: Box<dyn InputLine> =
            self.take(line, |state| state.pulled_up = pull == Pull::Up)?;
        Ok(line)
    }
}

struct SimLine {
    line: u8,
    wires: SimWires,
}

impl SimLine {
    fn with<T>(&self, act: impl FnOnce(&mut LineState) -> T) -> Result<T, GpioError> {
        let mut lines = self.wires.lock();
        match lines.get_mut(usize::from(self.line)) {
            Some(state) if !state.broken => Ok(act(state)),
            _ => Err(GpioError::Line { line: self.line, source: "line is broken".into() }),
        }
    }
}

impl OutputLine for SimLine {
    fn set(&mut self, high: bool) -> Result<(), GpioError> {
        self.with(|state| state.driven = Some(high))
    }
}

impl InputLine for SimLine {
    fn is_high(&self) -> Result<bool, GpioError> {
        self.with(|state| state.held.unwrap_or(state.pulled_up))
    }
}

impl Drop for SimLine {
    fn drop(&mut self) {
        self.wires.change(self.line, |state| {
            state.taken = false;
            state.driven = None;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_seen_and_inputs_are_held() {
        let mut port = SimPort::new();
        let wires = port.wires();
        let mut led = port.output(17, false).unwrap();
        assert_eq!(wires.driven(17), Some(false));
        led.set(true).unwrap();
        assert_eq!(wires.driven(17), Some(true));
        let button = port.input(27, Pull::Up).unwrap();
        assert!(button.is_high().unwrap());
        wires.hold(27, Some(false));
        assert!(!button.is_high().unwrap());
        drop(led);
        assert_eq!(wires.driven(17), None);
    }

    #[test]
    fn a_line_is_held_once_and_must_exist() {
        let mut port = SimPort::new();
        let held = port.input(4, Pull::Down).unwrap();
        assert!(matches!(port.output(4, true), Err(GpioError::Line { line: 4, .. })));
        drop(held);
        assert!(port.output(4, true).is_ok());
        assert!(matches!(port.input(64, Pull::None), Err(GpioError::NoSuchLine { line: 64, .. })));
    }

    #[test]
    fn a_broken_line_errs() {
        let mut port = SimPort::new();
        let mut led = port.output(1, false).unwrap();
        port.wires().break_line(1);
        assert!(led.set(true).is_err());
    }
}
