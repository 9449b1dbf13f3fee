//! What commands print: lines for people, JSON for scripts.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::exit::Exit;

/// Prints text as it is. A reader who has gone away is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line.
pub fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    print(&format!("{}\n", text.as_ref()))
}

/// Prints JSON, one value on one line.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Prints JSON if asked for, lines otherwise.
pub fn show<T: Serialize>(
    as_json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if as_json { json(value) } else { line(text().trim_end()) }
}

/// Says on standard error why a command failed: one line with every cause.
pub fn failure(error: &anyhow::Error, exit: Exit, as_json: bool) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many errors end in the words of their cause already.
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    let mut err = io::stderr().lock();
    let _ = if as_json {
        writeln!(err, "{}", json!({"error": text, "exit": exit as u8}))
    } else {
        writeln!(err, "lucid-pay: {text}")
    };
}

/// An argument of so many characters, or of several words, may be a secret in the wrong place.
const SUSPECT_CHARS: usize = 32;

/// Text without those arguments that may be secrets. Paths and addresses may be said.
pub fn without_secrets(text: String, arguments: impl Iterator<Item = String>) -> String {
    arguments.fold(text, |text, argument| {
        let long = argument.chars().count() >= SUSPECT_CHARS && !argument.contains('/');
        let words = argument.split_whitespace().count() > 3;
        if long || words { text.replace(&argument, "[not repeated]") } else { text }
    })
}

/// Writes to standard error.
pub fn complain(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

/// Columns of text, each as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
