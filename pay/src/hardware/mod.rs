//! Hardware wallets: the unsigned transaction goes out, a signature comes back, and it counts only
//! when the expected address made it. The key never leaves the device.
//!
//! [`apdu`] is the conversation with Ledger's TRON app, [`frame`] its packets on USB; both are
//! pure. [`ledger`] drives them over any [`Exchange`]. `hid` is the USB device itself, behind the
//! feature `ledger`.

pub mod apdu;
pub mod frame;
#[cfg(feature = "ledger")]
pub mod hid;
pub mod ledger;

pub use apdu::{ApduError, Refused};
pub use ledger::{DeviceError, Exchange, Ledger};
