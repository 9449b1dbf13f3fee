//! Talks to systemd: ready, stopping, and the watchdog, which is fed only while everything that
//! must run does.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::supervisor::Supervisor;

/// Tells systemd the device is ready, with a line for `systemctl status`.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells systemd the drain has begun and how long it may take.
pub fn stopping(deadline: Duration) {
    let more = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(more)]);
}

/// Feeds the watchdog at a third of its interval while nothing required is missing. Returns at
/// once when systemd set no watchdog.
pub async fn feed_watchdog(supervisor: Supervisor) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(interval / 3);
    loop {
        tick.tick().await;
        let missing = supervisor.missing();
        if missing.is_empty() {
            send(&[NotifyState::Watchdog]);
        } else {
            let text = missing.join("; ");
            tracing::error!(missing = text, "watchdog not fed");
            send(&[NotifyState::Status(&text)]);
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing and reports no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
