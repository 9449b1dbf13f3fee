//! `lucid-boot.env`: the slots' state, one byte each at a fixed place.
//!
//! ```text
//! offset  bytes
//!      0  lucid-boot=1\n    the version of this format
//!     13  default=A\n       value at 21: A or B, the slot of an ordinary start
//!     23  try=-\n           value at 27: A or B, the slot of the next start alone; - is none
//!     29  good_a=1\n        value at 36: 1 is known to work, t may be tried, 0 may not be booted
//!     38  good_b=0\n        value at 45: the same of B
//!     47  # ...             a comment, not read
//! ```

use serde::Serialize;

use super::{BootError, Slot, read, set_byte};
use crate::disk::Disk;

/// Its name.
pub const FILE: &str = "lucid-boot.env";
const SHAPE: &[u8] = b"lucid-boot=1\ndefault=?\ntry=?\ngood_a=?\ngood_b=?\n";
const DEFAULT_AT: usize = 21;
const TRY_AT: usize = 27;
const GOOD_A_AT: usize = 36;
const GOOD_B_AT: usize = 45;

/// What is known of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has been confirmed.
    Good,
    /// It was written and may be tried; nobody knows yet.
    Untried,
    /// It may not be booted.
    Bad,
}

impl Health {
    fn byte(self) -> u8 {
        match self {
            Self::Good => b'1',
            Self::Untried => b't',
            Self::Bad => b'0',
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Good, Self::Untried, Self::Bad].into_iter().find(|health| health.byte() == byte)
    }
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// The slot of an ordinary start.
    pub default: Slot,
    /// The slot of the next start alone.
    pub trial: Option<Slot>,
    /// What is known of A.
    pub health_a: Health,
    /// What is known of B.
    pub health_b: Health,
}

impl Env {
    /// What is known of a slot.
    pub fn health(&self, slot: Slot) -> Health {
        match slot {
            Slot::A => self.health_a,
            Slot::B => self.health_b,
        }
    }
}

/// The file of a new image, whose other slot is empty.
pub fn text(default: Slot) -> String {
    let good = |slot| u8::from(slot == default);
    format!(
        "lucid-boot=1\ndefault={default}\ntry=-\ngood_a={}\ngood_b={}\n\
         # Kept by lucid-bootctl and the initrd, which change single bytes in place.\n",
        good(Slot::A),
        good(Slot::B)
    )
}

/// Reads the file's bytes.
///
/// # Errors
/// [`BootError::Damaged`], saying what would be right.
pub fn parse(bytes: &[u8]) -> Result<Env, BootError> {
    let damaged = |expected| BootError::Damaged { file: FILE, expected };
    let fits = |(at, byte): (usize, &u8)| SHAPE[at] == b'?' || SHAPE[at] == *byte;
    let head = bytes.get(..SHAPE.len());
    let head = head.ok_or(damaged("the five lines of version 1"))?;
    if !head.iter().enumerate().all(fits) {
        return Err(damaged("the five lines of version 1"));
    }
    let health =
        |at: usize| Health::of_byte(head[at]).ok_or(damaged("good_a and good_b to be 0, 1 or t"));
    let trial = match head[TRY_AT] {
        b'-' => None,
        letter => Some(Slot::of_letter(letter).ok_or(damaged("try to be A, B or -"))?),
    };
    Ok(Env {
        default: Slot::of_letter(head[DEFAULT_AT]).ok_or(damaged("default to be A or B"))?,
        trial,
        health_a: health(GOOD_A_AT)?,
        health_b: health(GOOD_B_AT)?,
    })
}

/// Reads the file.
///
/// # Errors
/// When it is missing or does not read.
pub fn load(disk: &dyn Disk) -> Result<Env, BootError> {
    parse(&read(disk, FILE)?)
}

/// Sets the slot of an ordinary start.
///
/// # Errors
/// When the file cannot be written.
pub fn set_default(disk: &dyn Disk, slot: Slot) -> Result<(), BootError> {
    set_byte(disk, FILE, DEFAULT_AT, slot.letter())
}

/// Sets the slot of the next start alone.
///
/// # Errors
/// When the file cannot be written.
pub fn set_trial(disk: &dyn Disk, slot: Option<Slot>) -> Result<(), BootError> {
    set_byte(disk, FILE, TRY_AT, slot.map_or(b'-', Slot::letter))
}

/// Sets what is known of a slot.
///
/// # Errors
/// When the file cannot be written.
pub fn set_health(disk: &dyn Disk, slot: Slot, health: Health) -> Result<(), BootError> {
    let at = match slot {
        Slot::A => GOOD_A_AT,
        Slot::B => GOOD_B_AT,
    };
    set_byte(disk, FILE, at, health.byte())
}
