//! What the recording light shows. Pure: given the state and the time, whether it is lit.

use std::time::Duration;

/// Half of a blink.
pub const BLINK_HALF: Duration = Duration::from_millis(250);

/// What the light says to somebody standing in front of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LedState {
    /// Nothing is being recorded.
    #[default]
    Off,
    /// Recording, and what was recorded is durable.
    On,
    /// Something is wrong: look at the page.
    Fault,
}

/// The recording light: lit while recording, blinking on a fault, dark otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordingLed {
    state: LedState,
    since: Duration,
}

impl RecordingLed {
    /// Shows `state` from `now` on. Showing the same again does not restart the blinking.
    pub fn show(&mut self, state: LedState, now: Duration) {
        if state != self.state {
            *self = Self { state, since: now };
        }
    }

    /// What is shown.
    pub fn state(&self) -> LedState {
        self.state
    }

    /// Whether the light is lit at `now`; times are from any fixed start, never going back.
    pub fn is_lit(&self, now: Duration) -> bool {
        match self.state {
            LedState::Off => false,
            LedState::On => true,
            LedState::Fault => {
                let shown = now.saturating_sub(self.since);
                (shown.as_millis() / BLINK_HALF.as_millis()).is_multiple_of(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn steady_dark_and_blinking() {
        let mut led = RecordingLed::default();
        assert!(!led.is_lit(ms(0)));
        led.show(LedState::On, ms(10));
        assert!(led.is_lit(ms(10)) && led.is_lit(ms(100_000)));
        led.show(LedState::Fault, ms(1_000));
        let lit: Vec<bool> = (0..5).map(|i| led.is_lit(ms(1_000 + i * 250))).collect();
        assert_eq!(lit, [true, false, true, false, true]);
        led.show(LedState::Fault, ms(1_250));
        assert!(!led.is_lit(ms(1_250)), "the blinking goes on");
        led.show(LedState::Off, ms(2_000));
        assert!(!led.is_lit(ms(2_000)));
    }
}
