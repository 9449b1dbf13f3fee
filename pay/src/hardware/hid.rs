//! The Ledger on USB.

use hidapi::{HidApi, HidDevice};

use super::frame::{self, Joiner, PACKET};
use super::ledger::{DeviceError, Exchange};

/// Ledger's vendor number.
const VENDOR: u16 = 0x2c97;
/// The usage page of the interface that carries commands.
const USAGE_PAGE: u16 = 0xffa0;
/// How long a person has to press a button, in milliseconds.
const WAIT_MS: i32 = 120_000;

/// An opened device.
pub struct UsbLedger {
    device: HidDevice,
}

impl UsbLedger {
    /// Opens the first Ledger that is plugged in.
    ///
    /// # Errors
    /// When there is none, or this user may not open it (Ledger's udev rules allow it).
    pub fn open() -> Result<Self, DeviceError> {
        let absent = |error: hidapi::HidError| DeviceError::Absent(error.to_string());
        let usb = HidApi::new().map_err(absent)?;
        let ours = |device: &&hidapi::DeviceInfo| {
            let interface = device.usage_page() == USAGE_PAGE || device.interface_number() == 0;
            device.vendor_id() == VENDOR && interface
        };
        let found = usb.device_list().find(ours);
        let found = found.ok_or_else(|| DeviceError::Absent("none is plugged in".to_owned()))?;
        Ok(Self { device: found.open_device(&usb).map_err(absent)? })
    }
}

impl Exchange for UsbLedger {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let silent = |error: hidapi::HidError| DeviceError::Silent(error.to_string());
        for packet in frame::split(command) {
            // The report's number comes first; these have none.
            let mut report = [0; PACKET + 1];
            report[1..].copy_from_slice(&packet);
            self.device.write(&report).map_err(silent)?;
        }
        let mut joiner = Joiner::default();
        loop {
            let mut packet = [0; PACKET];
            match self.device.read_timeout(&mut packet, WAIT_MS).map_err(silent)? {
                0 => return Err(DeviceError::Silent("nobody pressed a button".to_owned())),
                read => {
                    if let Some(message) = joiner.push(&packet[..read])? {
                        return Ok(message);
                    }
                }
            }
        }
    }
}
