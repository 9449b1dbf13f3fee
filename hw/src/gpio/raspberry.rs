//! GPIO by registers, through rppal, on the Raspberry Pis that rppal knows. rppal is no longer
//! developed and will not know later boards; those go by the character device.

use rppal::gpio::{self, Gpio, InputPin, OutputPin};

use super::{GpioError, GpioPort, InputLine, MAX_LINES, OutputLine, Pull};
use crate::board::BoardKind;
use crate::{Board, Machine};

const NAME: &str = "rppal";

/// Whether the kernel offers the register device that rppal maps. Debian's own kernel does not.
pub(super) fn has_registers(board: &Board, machine: &Machine) -> bool {
    let device = match board.kind {
        BoardKind::RaspberryPi5 => "/dev/gpiomem0",
        _ => "/dev/gpiomem",
    };
    machine.path(device).exists()
}

pub(super) fn open() -> Result<Box<dyn GpioPort>, GpioError> {
    let gpio =
        Gpio::new().map_err(|source| GpioError::Open { port: NAME, source: source.into() })?;
    Ok(Box::new(Port { gpio }))
}

struct Port {
    gpio: Gpio,
}

impl Port {
    fn pin(&self, line: u8) -> Result<gpio::Pin, GpioError> {
        self.gpio.get(line).map_err(|error| match error {
            gpio::Error::PinNotAvailable(_) => {
                GpioError::NoSuchLine { line, port: NAME, lines: u32::from(MAX_LINES) }
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
