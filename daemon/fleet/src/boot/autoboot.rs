//! `autoboot.txt`: what the Raspberry Pi's firmware reads before anything else.
//!
//! `[all]` counts for every start, `[tryboot]` for the one after `reboot "0 tryboot"`; the firmware
//! forgets that flag by itself. `tryboot_a_b=1` lets the flag choose a partition instead of a file.
//! Format: <https://www.raspberrypi.com/documentation/computers/config_txt.html#autoboot-txt>.

use super::{BootError, Slot, read, set_byte};
use crate::disk::Disk;

/// Its name.
pub const FILE: &str = "autoboot.txt";

/// What it says, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoboot {
    /// The slot of an ordinary start.
    pub default: Slot,
    /// The slot of a start on trial.
    pub trial: Slot,
    default_at: usize,
    trial_at: usize,
}

/// The file of a new image.
pub fn text(default: Slot) -> String {
    let digit = |slot: Slot| char::from(slot.partition_digit());
    format!(
        "# Kept by lucid-bootctl, which changes single digits in place.\n[all]\ntryboot_a_b=1\n\
         boot_partition={}\n[tryboot]\nboot_partition={}\n",
        digit(default),
        digit(default.other())
    )
}

/// Reads the file's bytes.
///
/// # Errors
/// [`BootError::Damaged`], naming the line that is missing.
pub fn parse(bytes: &[u8]) -> Result<Autoboot, BootError> {
    let damaged = |expected| BootError::Damaged { file: FILE, expected };
    let (mut section, mut a_b, mut offset) = ("all", false, 0);
    let (mut default, mut trial) = (None, None);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let start = offset;
        offset += line.len();
        let words = line.trim_ascii();
        match words {
            b"[all]" => section = "all",
            b"[tryboot]" => section = "tryboot",
            b"tryboot_a_b=1" => a_b |= section == "all",
            _ if words.starts_with(b"[") => section = "",
            _ => {}
        }
        let Some(value) = words.strip_prefix(b"boot_partition=") else { continue };
        let slot = match value {
            [digit] => Slot::of_partition_digit(*digit),
            _ => None,
        };
        let slot = slot.ok_or(damaged("boot_partition=2 or boot_partition=3"))?;
        let blanks = line.len() - line.trim_ascii_start().len();
        let found = Some((slot, start + blanks + words.len() - 1));
        match section {
            "all" => default = found,
            "tryboot" => trial = found,
            _ => {}
        }
    }
    if !a_b {
        return Err(damaged("tryboot_a_b=1 under [all]"));
    }
    let (default, default_at) = default.ok_or(damaged("boot_partition under [all]"))?;
    let (trial, trial_at) = trial.ok_or(damaged("boot_partition under [tryboot]"))?;
    Ok(Autoboot { default, trial, default_at, trial_at })
}

/// Reads the file.
///
/// # Errors
/// When it is missing or does not read.
pub fn load(disk: &dyn Disk) -> Result<Autoboot, BootError> {
    parse(&read(disk, FILE)?)
}

/// Makes `slot` the default and the other one the one that is tried. The default goes first: a cut
/// between leaves both starts on `slot`, which boots, and the next call repairs the second.
///
/// # Errors
/// When the file does not read or cannot be written.
pub fn set_default(disk: &dyn Disk, slot: Slot) -> Result<(), BootError> {
    let now = load(disk)?;
    set_byte(disk, FILE, now.default_at, slot.partition_digit())?;
    set_byte(disk, FILE, now.trial_at, slot.other().partition_digit())
}
