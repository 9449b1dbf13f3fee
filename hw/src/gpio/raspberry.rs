//! GPIO by registers, through rppal, on the Raspberry Pis that rppal knows. rppal is no longer
//! developed and will not know later boards; those go by the character device.

use rppal::gpio::{self, Gpio, InputPin, OutputPin};
use rppal::system::{DeviceInfo, SoC};

use super::{GpioError, GpioPort, InputLine, OutputLine, Pull};
use crate::board::BoardKind;
use crate::{Board, Machine};

const NAME: &str = "rppal";

/// The device of Raspberry Pi's kernel that rppal maps. On boards before the Pi 5 it goes on to
/// `/dev/mem` without it, which kernels keep from it unless they are started with `iomem=relaxed`.
fn register_device(kind: BoardKind) -> &'static str {
    match kind {
        BoardKind::RaspberryPi5 => "/dev/gpiomem0",
        _ => "/dev/gpiomem",
    }
}

/// Whether the kernel offers the register device that rppal maps. Debian's own kernel does not.
pub(super) fn has_registers(board: &Board, machine: &Machine) -> bool {
    machine.path(register_device(board.kind)).exists()
}

pub(super) fn open(board: &Board) -> Result<Box<dyn GpioPort>, GpioError> {
    let gpio = Gpio::new().map_err(|source| cannot_open(source, board.kind))?;
    let info = DeviceInfo::new()
        .map_err(|source| GpioError::Open { port: NAME, source: source.into() })?;
    Ok(Box::new(Port { gpio, lines: lines(info.soc()) }))
}

/// rppal names a path at most, and after a missing device not even that.
fn cannot_open(source: gpio::Error, kind: BoardKind) -> GpioError {
    match source {
        gpio::Error::PermissionDenied(_) | gpio::Error::Io(_) => {
            GpioError::Registers { device: register_device(kind), source: source.into() }
        }
        source => GpioError::Open { port: NAME, source: source.into() },
    }
}

/// How many lines rppal gives out; it keeps the number to itself. The header has the first 28.
fn lines(soc: SoC) -> u32 {
    match soc {
        SoC::Bcm2712 => 28,
        SoC::Bcm2711 => 58,
        _ => 54,
    }
}

struct Port {
    gpio: Gpio,
    lines: u32,
}

impl Port {
    fn pin(&self, line: u8) -> Result<gpio::Pin, GpioError> {
        self.gpio.get(line).map_err(|error| match error {
            gpio::Error::PinNotAvailable(_) => {
                GpioError::NoSuchLine { line, port: NAME, lines: self.lines }
            }
            source => GpioError::Line { line, source: source.into() },
        })
    }
}

impl GpioPort for Port {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&mut self, line: u8, high: bool) -> Result<Box<dyn OutputLine>, GpioError> {
        let pin = self.pin(line)?;
        let pin = if high { pin.into_output_high() } else { pin.into_output_low() };
        Ok(Box::new(Output { pin }))
    }

    fn input(&mut self, line: u8, pull: Pull) -> Result<Box<dyn InputLine>, GpioError> {
        let pin = self.pin(line)?;
        let pin = match pull {
            Pull::None => pin.into_input(),
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
        };
        Ok(Box::new(Input { pin }))
    }
}

struct Output {
    pin: OutputPin,
}

impl OutputLine for Output {
    fn set(&mut self, high: bool) -> Result<(), GpioError> {
        self.pin.write(if high { gpio::Level::High } else { gpio::Level::Low });
        Ok(())
    }
}

struct Input {
    pin: InputPin,
}

impl InputLine for Input {
    fn is_high(&self) -> Result<bool, GpioError> {
        Ok(self.pin.is_high())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn registers_out_of_reach_are_told_from_an_unknown_board() {
        let denied = || gpio::Error::PermissionDenied("/dev/mem".to_owned());
        let error = cannot_open(denied(), BoardKind::RaspberryPiOlder);
        let words = error.to_string();
        assert!(words.contains("/dev/gpiomem of") && words.contains("gpiocdev"), "{words}");
        assert_eq!(error.source().unwrap().to_string(), "Permission denied: /dev/mem");

        let missing = gpio::Error::Io(std::io::ErrorKind::NotFound.into());
        let words = cannot_open(missing, BoardKind::RaspberryPi5).to_string();
        assert!(words.contains("/dev/gpiomem0 of"), "{words}");

        let error = cannot_open(gpio::Error::UnknownModel, BoardKind::Other);
        assert!(matches!(error, GpioError::Open { port: NAME, .. }), "{error}");
    }

    #[test]
    fn the_lines_are_those_rppal_gives_out() {
        assert_eq!([SoC::Bcm2835, SoC::Bcm2837B0].map(lines), [54, 54]);
        assert_eq!([SoC::Bcm2711, SoC::Bcm2712].map(lines), [58, 28]);
    }
}
