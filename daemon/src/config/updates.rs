//! Settings of updates.

use std::path::PathBuf;

use lucid_fleet::boot::Slot;
use lucid_fleet::update::Window;

/// Updates of the system.
#[derive(Clone, Debug, PartialEq)]
pub struct Updates {
    /// Address of the fleet server; `None` is no server.
    pub server: Option<String>,
    /// Its tenant.
    pub tenant: String,
    /// The device as the server knows it; `None` is `lucid-` and eight digits of the device's
    /// fingerprint.
    pub device: Option<String>,
    /// File with the token the server wants to see.
    pub token_file: Option<PathBuf>,
    /// Whether that token is a gateway's, for many devices.
    pub gateway: bool,
    /// PEM file with further authorities for the server's certificate.
    pub authorities: Option<PathBuf>,
    /// Whether a person has to agree to each update.
    pub ask: bool,
    /// Whether older versions are taken.
    pub allow_older: bool,
    /// When recordings may be interrupted.
    pub window: Option<Window>,
    /// Where the boot-config partition is mounted.
    pub boot_config: PathBuf,
    /// The slot that runs; `None` is what the kernel's command line says.
    pub slot: Option<Slot>,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            server: None,
            tenant: "DEFAULT".into(),
            device: None,
            token_file: None,
            gateway: false,
            authorities: None,
            ask: false,
            allow_older: false,
            window: None,
            boot_config: "/boot/config".into(),
            slot: None,
        }
    }
}

/// `HH:MM-HH:MM`.
pub fn window(text: &str) -> Result<Window, String> {
    let wrong = || "expected HH:MM-HH:MM, such as 02:00-04:00, or off".to_owned();
    let minute = |clock: &str| {
        let (hour, minute) = clock.trim().split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let (from, to) = minute(from).zip(minute(to)).ok_or_else(wrong)?;
    if from == to { Err(wrong()) } else { Ok(Window { from, to }) }
}

/// A window as it is written.
pub fn show(window: Option<Window>) -> String {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    window.map_or("off".into(), |window| format!("{}-{}", clock(window.from), clock(window.to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_they_are_shown() {
        for text in ["02:00-04:00", "23:30-01:00"] {
            assert_eq!(show(Some(window(text).unwrap())), text);
        }
        for wrong in ["", "2-4", "24:00-01:00", "01:60-02:00", "01:00-01:00", "01:00"] {
            assert!(window(wrong).unwrap_err().contains("HH:MM"), "{wrong}");
        }
    }
}
