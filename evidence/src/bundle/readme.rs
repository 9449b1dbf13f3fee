//! `README.txt`: what a person finds who opens a bundle without knowing what it is. Derived from the manifest.

use crate::manifest::Manifest;
use std::fmt::Write as _;

/// RFC 3339 in UTC of microseconds since 1970, or the number where it is beyond the calendar.
pub fn rfc3339(us: u64) -> String {
    match i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
        Some(time) => format!("{time:.6}"),
        None => format!("{us} microseconds after 1970"),
    }
}

/// Seconds with three decimals.
pub fn seconds(us: u64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us % 1_000_000 / 1000)
}

/// One line of what a stranger wrote: control characters would change what the reader sees.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The text for the chunks from `first` on, `count` of them, disclosed or not, with this many MP4s.
pub(crate) fn text(
    manifest: &Manifest,
    first: u64,
    count: u64,
    disclosed: bool,
    videos: usize,
) -> String {
    let mut out = String::new();
    let total = manifest.tree_size;
    let held = if count == 0 {
        "none".to_owned()
    } else {
        format!("{first} to {} ({count} of {total})", first + count - 1)
    };
    let form = match (disclosed, videos) {
        (false, _) => "sealed; their content cannot be seen without the keys",
        (true, 0) => "disclosed; keys.cbor opens them",
        (true, 1) => "disclosed; video.mp4 holds what they show",
        (true, _) => "disclosed; the video files hold what they show",
    };
    let codec = &manifest.codec;
    let lines = [
        ("Session", manifest.session.to_string()),
        ("Source", format!("{} ({})", line(&manifest.source.name), line(&manifest.source.address))),
        ("Recorded by", format!("{}, {}", line(&manifest.device_name), line(&manifest.software))),
        ("Device key", manifest.device_key.fingerprint().to_string()),
        ("Start", rfc3339(manifest.start_us)),
        ("End", format!("{}, {}", rfc3339(manifest.end_us), manifest.end_reason.as_str())),
        ("Length", seconds(manifest.duration_us)),
        (
            "Codec",
            format!(
                "{}, sound {}",
                line(codec.video.as_deref().unwrap_or("none")),
                line(codec.audio.as_deref().unwrap_or("none"))
            ),
        ),
        (
            "Encoder",
            format!(
                "{} ({}): {}",
                line(&codec.encoder),
                if codec.hardware { "hardware" } else { "no hardware encoding on the device" },
                line(&codec.reason)
            ),
        ),
        ("Gaps", manifest.gaps.len().to_string()),
        ("Chunks here", held),
        ("They are", form.to_owned()),
    ];
    out.push_str("This file is evidence of a recording made by Lucid.\n\n");
    for (name, value) in lines {
        let _ = writeln!(out, "{name:<12} {value}");
    }
    out.push_str(
        "\nTo check that nothing in it was changed, cut or exchanged, run\n\n    lucid verify FILE\n\n\
         It needs no network, no account and no trust in whoever gave you the file. Compare the device\n\
         key above and the chain it prints with what the device's owner wrote down when it was set up:\n\
         the file alone proves that nothing changed since, not whose device it was.\n",
    );
    out
}
