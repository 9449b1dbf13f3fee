//! Requests to end from outside, for a command that ends in order: Ctrl-C, SIGTERM, and SIGHUP
//! where whoever started the command did not ask for it to be ignored.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The number of SIGHUP on every system this runs on.
const HANGUP: u32 = 1;

/// Hears the requests. From when it is made none of them ends the process by itself.
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Interruption {
    /// Begins to hear.
    ///
    /// # Errors
    /// From the operating system.
    pub fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores(&status, HANGUP) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for the next request.
    pub async fn asked(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }
}

/// Whether a process with this status, as of proc(5), ignores the signal.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = "Name:\tlucid\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, HANGUP) && ignores(status, 13) && !ignores(status, 15));
        assert!(!ignores("Name:\tlucid\n", HANGUP));
    }
}
