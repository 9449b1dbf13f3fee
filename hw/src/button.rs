//! The one button: a press starts or stops recording, holding it for ten seconds releases the
//! claim. A state machine fed with levels and times, so that no test waits.

use std::time::Duration;

/// A level must last this long to count; contacts bounce for less.
pub const DEBOUNCE: Duration = Duration::from_millis(30);
/// Released within this time it was a press. Longer, and the hand meant to hold but let go: then
/// nothing happens, for stopping a recording must not be an accident.
pub const PRESS_MAX: Duration = Duration::from_secs(2);
/// Held this long the claim is released.
pub const HOLD: Duration = Duration::from_secs(10);

/// What the button asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ButtonEvent {
    /// Start recording, or stop it.
    Toggle,
    /// Forget who owns the device, so that it can be claimed anew. Recordings stay.
    ReleaseClaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Pressed since before we looked: wait for it to be let go, a stuck button means nothing.
    Stuck,
    Up,
    Down {
        since: Duration,
    },
    /// Its event is out; wait for the release.
    Spent,
}

/// The debounced button.
#[derive(Debug, Clone)]
pub struct Button {
    state: State,
    /// The last raw level and since when it lasts.
    raw: Option<(bool, Duration)>,
}

impl Default for Button {
    fn default() -> Self {
        Self { state: State::Stuck, raw: None }
    }
}

impl Button {
    /// Feeds the level at `now`, at least every few tens of milliseconds; times are from any fixed
    /// start, never going back.
    pub fn feed(&mut self, pressed: bool, now: Duration) -> Option<ButtonEvent> {
        let since = match self.raw {
            Some((level, since)) if level == pressed => since,
            _ => now,
        };
        self.raw = Some((pressed, since));
        if now.saturating_sub(since) < DEBOUNCE {
            return None;
        }
        match (self.state, pressed) {
            (State::Stuck | State::Spent, false) => self.state = State::Up,
            (State::Up, true) => self.state = State::Down { since },
            (State::Down { since: down }, true) if now.saturating_sub(down) >= HOLD => {
                self.state = State::Spent;
                return Some(ButtonEvent::ReleaseClaim);
            }
            (State::Down { since: down }, false) => {
                self.state = State::Up;
                let short = since.saturating_sub(down) <= PRESS_MAX;
                return short.then_some(ButtonEvent::Toggle);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds levels that begin at the given milliseconds, every 10 ms up to `end`.
    fn play(levels: &[(u64, bool)], end: u64) -> Vec<(u64, ButtonEvent)> {
        let mut button = Button::default();
        let mut events = Vec::new();
        for ms in (0..=end).step_by(10) {
            let (_, pressed) = levels.iter().rfind(|(from, _)| *from <= ms).unwrap();
            if let Some(event) = button.feed(*pressed, Duration::from_millis(ms)) {
                events.push((ms, event));
            }
        }
        events
    }

    #[test]
    fn a_press_toggles_once_when_let_go() {
        let events = play(&[(0, false), (100, true), (300, false)], 2_000);
        assert_eq!(events, [(330, ButtonEvent::Toggle)]);
    }

    #[test]
    fn bouncing_contacts_are_one_press() {
        let levels = [
            (0, false),
            (100, true),
            (110, false),
            (120, true),
            (400, false),
            (410, true),
            (420, false),
        ];
        assert_eq!(play(&levels, 2_000), [(450, ButtonEvent::Toggle)]);
        let spikes = [(0, false), (100, true), (120, false), (500, true), (520, false)];
        assert_eq!(play(&spikes, 2_000), [], "spikes are no press");
    }

    #[test]
    fn ten_seconds_release_the_claim_and_nothing_else() {
        let events = play(&[(0, false), (100, true), (15_000, false)], 20_000);
        assert_eq!(events, [(10_100, ButtonEvent::ReleaseClaim)]);
    }

    #[test]
    fn letting_go_half_way_does_nothing() {
        assert_eq!(play(&[(0, false), (100, true), (9_900, false)], 20_000), []);
        let events = play(&[(0, false), (100, true), (2_100, false)], 20_000);
        assert_eq!(events, [(2_130, ButtonEvent::Toggle)], "two seconds are still a press");
    }

    #[test]
    fn a_button_pressed_at_the_start_counts_only_after_it_was_let_go() {
        assert_eq!(play(&[(0, true)], 60_000), [], "stuck");
        let levels = [(0, true), (12_000, false), (13_000, true), (13_200, false)];
        assert_eq!(play(&levels, 20_000), [(13_230, ButtonEvent::Toggle)]);
    }

    #[test]
    fn a_clock_that_stands_still_yields_nothing() {
        let mut button = Button::default();
        for level in [false, true, false, true] {
            assert_eq!(button.feed(level, Duration::from_secs(5)), None);
        }
    }
}
