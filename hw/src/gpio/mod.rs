//! GPIO lines behind one trait with three backends.
//!
//! | backend | when |
//! |---|---|
//! | `rppal` | a Raspberry Pi that rppal knows, with Raspberry Pi's kernel (`/dev/gpiomem*`) |
//! | `gpiocdev` | any other board or kernel: the character device, found by the chip's label |
//! | `sim` | tests and machines without pins |
//!
//! Chips are found by label, never by number: numbers change between kernels.

mod cdev;
mod raspberry;
pub mod sim;

use std::str::FromStr;

use crate::{Board, Machine};

/// Most lines a port has; header pins are 0 to 27.
pub const MAX_LINES: u8 = 64;

/// What went wrong with a line or a port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpioError {
    /// No such line on the chip.
    #[error("gpio line {line} does not exist: {port} has {lines} lines")]
    NoSuchLine {
        /// The line asked for.
        line: u8,
        /// The backend.
        port: &'static str,
        /// How many lines there are.
        lines: u32,
    },
    /// Somebody else holds the line, or it cannot be set up this way.
    #[error("gpio line {line} cannot be used")]
    Line {
        /// The line.
        line: u8,
        /// The backend's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The chip cannot be opened.
    #[error("gpio {port} cannot be opened")]
    Open {
        /// The backend.
        port: &'static str,
        /// The backend's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel keeps the registers of the pins to itself.
    #[error(
        "gpio rppal cannot reach the pins: it needs {device} of Raspberry Pi's kernel; \
         gpiocdev works with every kernel"
    )]
    Registers {
        /// The device through which that kernel gives them.
        device: &'static str,
        /// The backend's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No chip with the wanted label.
    #[error("no gpio chip is labelled {wanted}: there is {found}")]
    NoChip {
        /// Labels looked for.
        wanted: String,
        /// Labels of the chips that exist.
        found: String,
    },
}

/// What pulls an input when nothing drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Nothing.
    None,
    /// Towards high; for a button to ground.
    Up,
    /// Towards low.
    Down,
}

/// A line that is driven.
pub trait OutputLine: Send {
    /// Drives the line high or low.
    fn set(&mut self, high: bool) -> Result<(), GpioError>;
}

/// A line that is read.
pub trait InputLine: Send {
    /// Whether the line is high.
    fn is_high(&self) -> Result<bool, GpioError>;
}

/// A set of lines. Lines are numbered as on the Raspberry Pi header (BCM numbers).
pub trait GpioPort: Send {
    /// The backend's name, as shown to the operator.
    fn name(&self) -> &'static str;
    /// Takes a line as output at a level.
    fn output(&mut self, line: u8, high: bool) -> Result<Box<dyn OutputLine>, GpioError>;
    /// Takes a line as input.
    fn input(&mut self, line: u8, pull: Pull) -> Result<Box<dyn InputLine>, GpioError>;
}

/// Which backend to use; the operator's setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GpioChoice {
    /// The best that works here.
    #[default]
    Auto,
    /// Registers, through rppal.
    Rppal,
    /// The character device of the chip with this label, or of a known header chip.
    Cdev {
        /// The chip's label, such as `pinctrl-rp1`.
        label: Option<String>,
    },
    /// Lines in memory.
    Sim,
    /// No GPIO.
    Off,
}

/// A setting that names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no gpio backend: known are auto, rppal, gpiocdev, gpiocdev:LABEL, sim, off")]
pub struct UnknownBackend(pub String);

impl FromStr for GpioChoice {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        Ok(match text {
            "auto" => Self::Auto,
            "rppal" => Self::Rppal,
            "gpiocdev" => Self::Cdev { label: None },
            "sim" => Self::Sim,
            "off" => Self::Off,
            other => match other.strip_prefix("gpiocdev:") {
                Some(label) if !label.is_empty() => Self::Cdev { label: Some(label.to_owned()) },
                _ => return Err(UnknownBackend(other.chars().take(64).collect())),
            },
        })
    }
}

/// A port, or why there is none. Having none is normal.
pub enum Gpio {
    /// Lines can be used.
    Ready(Box<dyn GpioPort>),
    /// There are none.
    Missing {
        /// Why, in words for the operator.
        reason: String,
    },
}

impl Gpio {
    /// Opens the wanted backend. `Auto` takes rppal on a Raspberry Pi whose kernel has the register
    /// device, then the character device of a known header chip.
    pub fn open(choice: &GpioChoice, board: &Board, machine: &Machine) -> Self {
        let opened = match choice {
            GpioChoice::Off => return Self::missing("switched off in the settings"),
            GpioChoice::Sim => Ok(Box::new(sim::SimPort::new()) as Box<dyn GpioPort>),
            GpioChoice::Rppal => raspberry::open(board),
            GpioChoice::Cdev { label } => cdev::open(label.as_deref()),
            GpioChoice::Auto if !board.kind.is_raspberry_pi() => {
                return Self::missing(format!("{board} has no known pin header"));
            }
            GpioChoice::Auto => open_best(board, machine),
        };
        match opened {
            Ok(port) => Self::Ready(port),
            Err(error) => Self::missing(with_causes(&error)),
        }
    }

    fn missing(reason: impl Into<String>) -> Self {
        Self::Missing { reason: reason.into() }
    }
}

/// The error and everything below it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn open_best(board: &Board, machine: &Machine) -> Result<Box<dyn GpioPort>, GpioError> {
    if raspberry::has_registers(board, machine) {
        match raspberry::open(board) {
            Ok(port) => return Ok(port),
            Err(error) => tracing::debug!(error = with_causes(&error), "rppal left out"),
        }
    }
    cdev::open(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BoardKind;
    use crate::machine::fake::Fake;

    fn pi5() -> Board {
        let model = "Raspberry Pi 5".to_owned();
        Board { model, revision: None, kind: BoardKind::RaspberryPi5 }
    }

    fn reason(gpio: Gpio) -> String {
        match gpio {
            Gpio::Missing { reason } => reason,
            Gpio::Ready(port) => panic!("{} was opened", port.name()),
        }
    }

    #[test]
    fn settings_are_read_and_unknown_ones_named() {
        assert_eq!("auto".parse(), Ok(GpioChoice::Auto));
        assert_eq!("gpiocdev".parse(), Ok(GpioChoice::Cdev { label: None }));
        let labelled = GpioChoice::Cdev { label: Some("gpio-sim.0".to_owned()) };
        assert_eq!("gpiocdev:gpio-sim.0".parse(), Ok(labelled));
        for wrong in ["", "gpiocdev:", "pigpio"] {
            let error = wrong.parse::<GpioChoice>().unwrap_err().to_string();
            assert!(error.contains("known are auto"), "{error}");
        }
    }

    #[test]
    fn a_board_without_pins_is_a_state() {
        let machine = Fake::new(&[]);
        let board = Board::read(&machine.machine());
        let gpio = Gpio::open(&GpioChoice::Auto, &board, &machine.machine());
        assert_eq!(reason(gpio), "unknown board has no known pin header");
        let gpio = Gpio::open(&GpioChoice::Off, &pi5(), &machine.machine());
        assert_eq!(reason(gpio), "switched off in the settings");
    }

    /// A label no machine has: the answer names what was looked for on every machine.
    #[test]
    fn a_chip_that_is_not_there_is_named() {
        let choice = GpioChoice::Cdev { label: Some("no-such-chip".to_owned()) };
        let gpio = Gpio::open(&choice, &pi5(), &Machine::here());
        assert!(reason(gpio).contains("no-such-chip"));
    }

    #[test]
    fn rppal_is_tried_only_where_its_registers_are() {
        let without = Fake::new(&[]);
        assert!(!raspberry::has_registers(&pi5(), &without.machine()));
        let with = Fake::new(&[("/dev/gpiomem0", "")]);
        assert!(raspberry::has_registers(&pi5(), &with.machine()));
        let older = Fake::new(&[("/dev/gpiomem", "")]);
        assert!(!raspberry::has_registers(&pi5(), &older.machine()));
    }
}
