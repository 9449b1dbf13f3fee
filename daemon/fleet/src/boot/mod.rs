//! Which of the two systems starts, and which is only on trial: the boot-config partition.
//!
//! Two small files say it. `autoboot.txt` is read by the Raspberry Pi's firmware, `lucid-boot.env`
//! by the initrd where there is no such firmware, and by us. Both lie on FAT, which has no journal:
//! renaming over a file takes several sectors there, and a cut between them leaves two names for
//! the same clusters, of which the next repair frees what the other still uses. So no file is ever
//! made, renamed, lengthened or removed after the image was built. Every change is **one byte of
//! one sector, written in place and synced before the next**: there is nothing to tear, and every
//! operation here is an order of such changes of which each prefix boots a good system.

pub mod autoboot;
pub mod env;
mod slots;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use slots::{Backend, Slots, Status};

use crate::disk::Disk;

/// Longest boot file read, in bytes: the firmware reads no more of `autoboot.txt`.
pub const FILE_BYTES_MAX: usize = 512;

/// One of the two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// Partitions `boot-a` and `root-a`.
    A,
    /// Partitions `boot-b` and `root-b`.
    B,
}

impl Slot {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its letter, as RAUC's `bootname` and the files have it.
    pub fn letter(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
        }
    }

    /// The digit of its boot partition: `boot-a` is the second of the disk, `boot-b` the third.
    pub fn partition_digit(self) -> u8 {
        match self {
            Self::A => b'2',
            Self::B => b'3',
        }
    }

    /// The slot of a letter.
    pub fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'A' => Some(Self::A),
            b'B' => Some(Self::B),
            _ => None,
        }
    }

    /// The slot of a boot partition's digit.
    pub fn of_partition_digit(digit: u8) -> Option<Self> {
        match digit {
            b'2' => Some(Self::A),
            b'3' => Some(Self::B),
            _ => None,
        }
    }

    /// The slot named by `rauc.slot=` on a kernel command line; the last one counts.
    pub fn of_command_line(line: &str) -> Option<Self> {
        let mut named =
            line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("rauc.slot="));
        named.next_back()?.parse().ok()
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(self.letter()))
    }
}

impl FromStr for Slot {
    type Err = BootError;

    fn from_str(text: &str) -> Result<Self, BootError> {
        match text {
            "A" => Ok(Self::A),
            "B" => Ok(Self::B),
            _ => Err(BootError::NoSuchSlot { given: text.chars().take(32).collect() }),
        }
    }
}

/// Why the boot files cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Not a slot's name.
    #[error("there is no slot {given:?}: A or B")]
    NoSuchSlot {
        /// What was given, at most 32 characters.
        given: String,
    },
    /// The file system.
    #[error("cannot {what} {file}")]
    Disk {
        /// What was tried: read, write, sync.
        what: &'static str,
        /// The file.
        file: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is missing.
    #[error("{file} is missing on the boot-config partition; `lucid-bootctl init` makes it")]
    Missing {
        /// The file.
        file: &'static str,
    },
    /// A file does not read.
    #[error("{file}: expected {expected}")]
    Damaged {
        /// The file.
        file: &'static str,
        /// What would be right, and where.
        expected: &'static str,
    },
    /// What was written does not come back.
    #[error(
        "{file}: the byte at {offset} did not keep what was written; the medium may be failing"
    )]
    NotKept {
        /// The file.
        file: &'static str,
        /// Where.
        offset: usize,
    },
    /// Nothing bootable would be left.
    #[error("slot {slot} is the default and {why}: nothing that is known to work would be left")]
    LastGood {
        /// The slot to be marked bad.
        slot: Slot,
        /// Why the other one does not do.
        why: &'static str,
    },
    /// The file exists already.
    #[error("{file} exists already; --force writes it again")]
    Exists {
        /// The file.
        file: &'static str,
    },
}

/// Reads a file whole.
fn read(disk: &dyn Disk, file: &'static str) -> Result<Vec<u8>, BootError> {
    let failed = |source| BootError::Disk { what: "read", file, source };
    let bytes = disk.read(file, FILE_BYTES_MAX + 1).map_err(failed)?;
    let bytes = bytes.ok_or(BootError::Missing { file })?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(BootError::Damaged { file, expected: "at most 512 bytes" });
    }
    Ok(bytes)
}

/// Changes one byte and brings it to the medium; nothing is written where it is so already.
fn set_byte(disk: &dyn Disk, file: &'static str, offset: usize, byte: u8) -> Result<(), BootError> {
    let failed = |what| move |source| BootError::Disk { what, file, source };
    if read(disk, file)?.get(offset) == Some(&byte) {
        return Ok(());
    }
    disk.overwrite(file, offset as u64, &[byte]).map_err(failed("write"))?;
    disk.sync(file).map_err(failed("sync"))?;
    match read(disk, file)?.get(offset) == Some(&byte) {
        true => Ok(()),
        false => Err(BootError::NotKept { file, offset }),
    }
}

/// Makes a file that is not there yet.
fn make(disk: &dyn Disk, file: &'static str, text: &str) -> Result<(), BootError> {
    let failed = |what| move |source| BootError::Disk { what, file, source };
    disk.write(file, text.as_bytes()).map_err(failed("write"))?;
    disk.sync(file).map_err(failed("sync"))?;
    disk.sync_names().map_err(failed("sync"))
}
