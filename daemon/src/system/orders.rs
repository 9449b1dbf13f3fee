//! What the page may ask of the machine: another start of the recorder, a restart, a shutdown.
//!
//! The recorder has no right over the machine. It ends itself, and systemd starts it again; the
//! rest it asks for with a file in a directory that only it and root can write, where a unit of
//! root's waits for it (`lucid-power.path`). Neither needs a bus, a password or a capability.

use std::io;
use std::path::Path;

use tokio::sync::watch;

/// What the process is to do with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, and be started again.
    Restart,
    /// End; the next start finds the reset that was asked for.
    Reset,
}

impl Order {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "a restart was asked for",
            Self::Reset => "a factory reset was asked for",
        }
    }
}

/// The way of an order from a request to the life of the process.
#[derive(Debug)]
pub struct Orders {
    sender: watch::Sender<Option<Order>>,
}

impl Default for Orders {
    fn default() -> Self {
        Self { sender: watch::Sender::new(None) }
    }
}

impl Orders {
    /// Gives an order; the last one counts.
    pub fn give(&self, order: Order) {
        self.sender.send_replace(Some(order));
    }

    /// Waits for one.
    pub async fn given(&self) -> Order {
        let mut receiver = self.sender.subscribe();
        match receiver.wait_for(Option::is_some).await.map(|order| *order) {
            Ok(Some(order)) => order,
            // The sender lives as long as this.
            _ => std::future::pending().await,
        }
    }
}

/// What is asked of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Start again.
    Reboot,
    /// Shut down.
    Off,
}

impl Power {
    /// The name of the file, as `lucid-power.path` knows it.
    pub fn file(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Off => "poweroff",
        }
    }
}

/// Whether somebody waits for requests.
pub fn power_is_heard(requests: &Path) -> bool {
    use rustix::fs::{Access, access};
    requests.is_dir() && access(requests, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Asks for it.
///
/// # Errors
/// When the file cannot be made.
pub fn ask(requests: &Path, power: Power) -> io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(requests.join(power.file()))
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_reaches_whoever_waits_before_or_after() {
        let orders = Orders::default();
        let (first, ()) = tokio::join!(orders.given(), async { orders.give(Order::Restart) });
        assert_eq!((first, orders.given().await), (Order::Restart, Order::Restart));
        orders.give(Order::Reset);
        assert_eq!(orders.given().await, Order::Reset);
    }

    #[test]
    fn a_request_is_a_file_where_somebody_waits() {
        let dir = tempfile::tempdir().unwrap();
        assert!(power_is_heard(dir.path()) && !power_is_heard(&dir.path().join("missing")));
        ask(dir.path(), Power::Off).unwrap();
        assert!(dir.path().join("poweroff").is_file() && !dir.path().join("reboot").exists());
        assert!(ask(&dir.path().join("missing"), Power::Reboot).is_err());
    }
}
