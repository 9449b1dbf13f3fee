//! `lucid probe`: what this machine is and can, and why.

use std::io::Write;

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::machine::Machine;

/// Options of `lucid probe`.
#[derive(Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints board, cameras, encoders, temperature.
///
/// # Errors
/// When GStreamer does not start. What is missing is a finding, not an error.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let machine = Machine::default();
    let board = lucid_hw::board();
    let encoders = lucid_hw::encoders();
    let (found, note, heat) = runtime.block_on(async {
        let found = machine.discover().await?;
        anyhow::Ok((found, machine.encoder_note().await, machine.heat().await))
    })?;
    let throttled = heat.throttling.as_ref().map(|throttling| format!("{throttling:?}"));
    let mut out = std::io::stdout().lock();
    if options.json {
        let value = json!({
            "board": { "model": board.model, "revision": board.revision },
            "sources": found.iter().map(|f| json!({
                "uri": f.uri, "name": f.name, "kind": f.kind, "note": f.note,
            })).collect::<Vec<_>>(),
            "encoder": note.as_ref().map(|note| json!({
                "name": note.name, "hardware": note.hardware, "reason": note.reason,
            })),
            "hardware_encoder": encoders.reason,
            "temperature_c": heat.temperature_c,
            "throttling": throttled,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        return Ok(Exit::Success);
    }
    writeln!(out, "board        {}", board.model)?;
    for source in &found {
        let note =
            if source.note.is_empty() { String::new() } else { format!(" ({})", source.note) };
        writeln!(out, "source       {}  {}{note}", source.uri, source.name)?;
    }
    match &note {
        Some(note) => writeln!(out, "encoder      {}: {}", note.name, note.reason)?,
        None => writeln!(out, "encoder      none is installed")?,
    }
    match heat.temperature_c {
        Some(celsius) => writeln!(out, "temperature  {celsius:.1} °C")?,
        None => writeln!(out, "temperature  no sensor")?,
    }
    if let Some(throttled) = throttled {
        writeln!(out, "throttling   {throttled}")?;
    }
    Ok(Exit::Success)
}
