//! `README.txt`: what a person finds who opens a bundle without knowing what it is. Derived from
//! the manifest.

use crate::manifest::Manifest;
use std::fmt::Write as _;

/// The last microsecond that is written as a date: 9999-12-30T21:59:59.999999Z.
const CALENDAR_END_US: u64 = 253_402_207_199_999_999;

/// RFC 3339 in UTC of microseconds since 1970, or the number where it is beyond the calendar.
pub fn rfc3339(us: u64) -> String {
    let time = i64::try_from(us.min(CALENDAR_END_US + 1)).ok();
    match time.and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
        Some(time) if us <= CALENDAR_END_US => format!("{time:.6}"),
        _ => format!("{us} microseconds after 1970"),
    }
}

/// Seconds with three decimals.
pub fn seconds(us: u64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us % 1_000_000 / 1000)
}

/// One line of what a stranger wrote, with a space for each character that would change what the
/// reader sees of the text around it: control characters, line and paragraph separators, and what
/// turns the direction of writing.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if deceives(c) { ' ' } else { c }).collect()
}

/// Whether a character would change what a reader sees of the text around it.
pub(crate) fn deceives(c: char) -> bool {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns(c) || matches!(c, '\u{2028}'..='\u{202e}')
}

/// The text for the chunks from `first` on, `count` of them, disclosed or not, with this many MP4s
/// and with or without a list of events.
pub(crate) fn text(
    manifest: &Manifest,
    first: u64,
    count: u64,
    disclosed: bool,
    videos: usize,
    events: bool,
) -> String {
    let mut out = String::new();
    let total = manifest.tree_size;
    let held = if count == 0 {
        "none".to_owned()
    } else {
        format!("{first} to {} ({count} of {total})", first + count - 1)
    };
    let listed = if events { "; events.jsonl lists what happened" } else { "" };
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
        ("They are", format!("{form}{listed}")),
    ];
    out.push_str("This file is evidence of a recording made by Lucid.\n\n");
    for (name, value) in lines {
        let _ = writeln!(out, "{name:<12} {value}");
    }
    out.push_str(
        "\n\
To check that nothing in it was changed, cut or exchanged, run\n\n    lucid verify FILE\n\n\
It needs no network, no account and no trust in whoever gave you the file. Compare the device\n\
key above and the chain it prints with what the device's owner wrote down when it was set up:\n\
the file alone proves that nothing changed since, not whose device it was.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_stays_on_its_line() {
        let forged = "door\nDevice key   abc\u{2028}\u{202e}x\u{1b}[2K\u{2066}\u{85}é";
        assert_eq!(line(forged), "door Device key   abc  x [2K  é");
    }

    #[test]
    fn times_have_one_form() {
        assert_eq!(rfc3339(1_793_534_400_000_001), "2026-11-01T12:00:00.000001Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        let end = CALENDAR_END_US;
        assert_eq!(rfc3339(end), "9999-12-30T21:59:59.999999Z");
        assert_eq!(rfc3339(end + 1), format!("{} microseconds after 1970", end + 1));
        assert_eq!(rfc3339(u64::MAX), format!("{} microseconds after 1970", u64::MAX));
        assert_eq!(seconds(61_234_567), "61.234 s");
    }
}
