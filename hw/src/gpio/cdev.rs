//! GPIO by the kernel's character device: every board, every kernel, no register access.

use std::path::PathBuf;

use gpiocdev::line::{Bias, Value};
use gpiocdev::{Request, chip};

use super::{GpioError, GpioPort, InputLine, OutputLine, Pull};

const NAME: &str = "gpiocdev";
/// Who holds a line, as `gpioinfo` shows it.
const CONSUMER: &str = "lucid";
/// Chips that carry the pin header of a Raspberry Pi.
const HEADER_CHIPS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];
/// Chips looked at, at most.
const MAX_CHIPS: usize = 64;

/// Opens the chip with the label, or the first known header chip.
pub(super) fn open(label: Option<&str>) -> Result<Box<dyn GpioPort>, GpioError> {
    let open_error =
        |source: gpiocdev::Error| GpioError::Open { port: NAME, source: source.into() };
    let wanted: &[&str] = match &label {
        Some(label) => std::slice::from_ref(label),
        None => &HEADER_CHIPS,
    };
    let mut found = Vec::new();
    for path in chip::chips().map_err(open_error)?.into_iter().take(MAX_CHIPS) {
        let info = match chip::Chip::from_path(&path).and_then(|chip| chip.info()) {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(chip = %path.display(), %error, "gpio chip left out");
                continue;
            }
        };
        if wanted.contains(&info.label.as_str()) {
            return Ok(Box::new(Port { path, lines: info.num_lines }));
        }
        found.push(info.label);
    }
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(GpioError::NoChip { wanted: wanted.join(" or "), found })
}

struct Port {
    path: PathBuf,
    lines: u32,
}

impl Port {
    fn request(
        &self,
        line: u8,
        set_up: impl FnOnce(&mut gpiocdev::request::Builder),
    ) -> Result<Line, GpioError> {
        if u32::from(line) >= self.lines {
            return Err(GpioError::NoSuchLine { line, port: NAME, lines: self.lines });
        }
        let mut builder = Request::builder();
        builder.on_chip(&self.path).with_consumer(CONSUMER).with_line(line.into());
        set_up(&mut builder);
        match builder.request() {
            Ok(request) => Ok(Line { line, request }),
            Err(source) => Err(GpioError::Line { line, source: source.into() }),
        }
    }
}

impl GpioPort for Port {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&mut self, line: u8, high: bool) -> Result<Box<dyn OutputLine>, GpioError> {
        let line = self.request(line, |builder| {
            builder.as_output(value(high));
        })?;
        Ok(Box::new(line))
    }

    fn input(&mut self, line: u8, pull: Pull) -> Result<Box<dyn InputLine>, GpioError> {
        let line = self.request(line, |builder| {
            builder.as_input();
            match pull {
                Pull::None => {}
                Pull::Up => {
                    builder.with_bias(Bias::PullUp);
                }
                Pull::Down => {
                    builder.with_bias(Bias::PullDown);
                }
            }
        })?;
        Ok(Box::new(line))
    }
}

struct Line {
    line: u8,
    request: Request,
}

impl Line {
    fn error(&self, source: gpiocdev::Error) -> GpioError {
        GpioError::Line { line: self.line, source: source.into() }
    }
}

impl OutputLine for Line {
    fn set(&mut self, high: bool) -> Result<(), GpioError> {
        self.request.set_lone_value(value(high)).map_err(|source| self.error(source))?;
        Ok(())
    }
}

impl InputLine for Line {
    fn is_high(&self) -> Result<bool, GpioError> {
        let value = self.request.lone_value().map_err(|source| self.error(source))?;
        Ok(value == Value::Active)
    }
}

fn value(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
}
