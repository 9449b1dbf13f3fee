//! Talks to systemd: ready, status, stopping. Without a notify socket it does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// Requests are answered from now on.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The drain has begun, and how long it may take.
pub fn stopping(deadline: Duration) {
    let more = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(more)]);
}

/// Feeds the watchdog; the interval it wants, if systemd set one.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 3)
}

/// The payment loop is alive.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}
