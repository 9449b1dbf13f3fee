//! Tries the light and the button of the device, with the code that serves them in Lucid.
//!
//! `panel [BACKEND [LED_LINE BUTTON_LINE]]`: the backend as in the setting `panel.gpio` (default
//! `auto`), lines by their BCM numbers (default 17 and 27). Stop Lucid first: it holds the lines.
//! Each line of the input is `on`, `off` or `fault` and is shown by the light; its end ends the
//! program. What the button does is said in plain lines. Exit status 1 says, with the reason, that
//! there is no light and button.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use lucid_hw::Machine;
use lucid_hw::button::ButtonEvent;
use lucid_hw::gpio::{Gpio, GpioChoice, GpioPort, Pull};
use lucid_hw::led::LedState;
use lucid_hw::panel::{Panel, PanelLines};

const USAGE: &str = "usage: panel [BACKEND [LED_LINE BUTTON_LINE]]";
/// How long the button is waited for before the next word is looked at.
const TURN: Duration = Duration::from_millis(50);
/// How long the pull-up takes, at most, to lift the wire of an open button.
const SETTLE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("panel: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let (choice, lines) = arguments(args)?;
    let board = lucid_hw::board();
    say(&format!("board: {board}"))?;
    let mut port = match Gpio::open(&choice, &board, &Machine::here()) {
        Gpio::Ready(port) => port,
        Gpio::Missing { reason } => return Err(format!("no light and button: {reason}")),
    };
    say(&format!("backend: {}", port.name()))?;
    say(&format!("light on line {}, button on line {}", lines.led, lines.button))?;
    look_at_button(port.as_mut(), lines.button)?;
    let panel = Panel::start(port.as_mut(), lines).map_err(words)?;
    say("write on, off or fault to see the light, press the button, end with Ctrl-D")?;
    serve(&panel, &input())
}

fn arguments(args: &[String]) -> Result<(GpioChoice, PanelLines), String> {
    let line = |text: &String| text.parse().map_err(|_| format!("{text:?} is no line; {USAGE}"));
    let lines = match args {
        [] | [_] => PanelLines::default(),
        [_, led, button] => PanelLines { led: line(led)?, button: line(button)? },
        _ => return Err(USAGE.to_owned()),
    };
    let choice = args.first().map_or(Ok(GpioChoice::Auto), |name| name.parse());
    Ok((choice.map_err(words)?, lines))
}

/// Says where the button is now: one that is down at the start counts only after it was let go, so
/// a wire to the wrong pin would look like a button that does nothing.
fn look_at_button(port: &mut dyn GpioPort, line: u8) -> Result<(), String> {
    let button = port.input(line, Pull::Up).map_err(words)?;
    std::thread::sleep(SETTLE);
    say(if button.is_high().map_err(words)? {
        "button: up"
    } else {
        "button: down already; let it go, or look at its wires"
    })
}

/// The lines of the input, without holding up the button.
fn input() -> Receiver<String> {
    let (sender, words) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    words
}

fn serve(panel: &Panel, input: &Receiver<String>) -> Result<(), String> {
    loop {
        match panel.next(TURN) {
            Some(ButtonEvent::Toggle) => say("button: pressed and let go: starts or stops")?,
            Some(ButtonEvent::ReleaseClaim) => say("button: held: releases the claim")?,
            None => {}
        }
        if let Some(fault) = panel.fault() {
            return Err(fault);
        }
        let word = match input.try_recv() {
            Ok(word) => word,
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => return Ok(()),
        };
        let (state, name) = match word.trim() {
            "on" => (LedState::On, "lit"),
            "off" => (LedState::Off, "dark"),
            "fault" => (LedState::Fault, "blinking"),
            other => {
                say(&format!("{other:?} is neither on, off nor fault"))?;
                continue;
            }
        };
        panel.show(state);
        say(&format!("light: {name}"))?;
    }
}

/// A line for whoever reads along, at once.
fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(words)
}

/// The error with what is below it, on one line.
fn words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text = format!("{text}: {below}");
        cause = below.source();
    }
    text
}
