//! The newest lines of the process's log in memory, for the page: to read, to search, to follow.
//!
//! What is older, or of an earlier run, is in the journal. Lines hold no secrets: types that have
//! some have no text that shows them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use utoipa::ToSchema;

use crate::http::time::{Rfc3339, now_us};

/// Lines kept; the oldest go.
pub const LINES_MAX: usize = 20_000;
/// Bytes of text kept; the oldest lines go.
pub const BYTES_MAX: usize = 8 << 20;
/// Longest line kept, bytes; the rest is cut off.
pub const LINE_BYTES_MAX: usize = 4096;
/// Lines a follower may be behind; then it is told how many it lost.
const BEHIND_MAX: usize = 1024;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LogLevel)]
pub enum Level {
    /// For developers, everything.
    Trace,
    /// For developers.
    Debug,
    /// What happens.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl From<&tracing::Level> for Level {
    fn from(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::TRACE => Self::Trace,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

impl Level {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub struct Line {
    /// Counts up from 1 with every line of this run.
    pub number: u64,
    /// When.
    pub at: Rfc3339,
    /// How grave.
    pub level: Level,
    /// The part of the program that wrote it.
    pub part: String,
    /// What happened, with its details.
    pub text: String,
}

/// Which lines are asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Words that must all stand in it, in lower case.
    words: Vec<String>,
    /// At least so grave.
    least: Level,
}

impl Wanted {
    /// Lines with every word of `words`, whatever the case, and at least so grave.
    pub fn new(words: &str, least: Level) -> Self {
        Self { words: words.to_lowercase().split_whitespace().map(str::to_owned).collect(), least }
    }

    /// Whether a line is one of them.
    pub fn fits(&self, line: &Line) -> bool {
        if line.level < self.least {
            return false;
        }
        let text = format!("{} {} {}", line.level.as_str(), line.part, line.text).to_lowercase();
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    last: u64,
}

/// The newest lines.
pub struct KeptLog {
    kept: Mutex<Kept>,
    sender: broadcast::Sender<Arc<Line>>,
}

impl Default for KeptLog {
    fn default() -> Self {
        Self { kept: Mutex::default(), sender: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl KeptLog {
    fn push(&self, level: Level, part: &str, mut text: String) {
        if text.len() > LINE_BYTES_MAX {
            let end = (0..=LINE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        let at = Rfc3339::from_us(now_us());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let line = Line { number: kept.last, at, level, part: part.to_owned(), text };
        let line = Arc::new(line);
        kept.bytes += line.text.len();
        kept.lines.push_back(Arc::clone(&line));
        while kept.lines.len() > LINES_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.text.len();
        }
        drop(kept);
        let _nobody_follows = self.sender.send(line);
    }

    /// The newest `limit` lines that fit and are older than number `before`, oldest first; and
    /// whether there may be more of them.
    pub fn read(&self, wanted: &Wanted, before: Option<u64>, limit: usize) -> (Vec<Line>, bool) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<Arc<Line>> = kept.lines.iter().cloned().collect();
        drop(kept);
        let older = |line: &&Arc<Line>| before.is_none_or(|before| line.number < before);
        let mut fitting = lines.iter().rev().filter(older).filter(|line| wanted.fits(line));
        let mut found: Vec<Line> = fitting.by_ref().take(limit).map(|l| (**l).clone()).collect();
        found.reverse();
        (found, fitting.next().is_some())
    }

    /// Lines from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Line>> {
        self.sender.subscribe()
    }

    /// The part of `tracing` that writes here.
    pub fn layer<S: Subscriber>(self: &Arc<Self>) -> impl Layer<S> + Send + Sync + use<S> {
        Writer(Arc::clone(self))
    }
}

struct Writer(Arc<KeptLog>);

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        self.0.push(metadata.level().into(), metadata.target(), text_of(event));
    }
}

/// Message and fields of an event in one line for people.
pub fn text_of(event: &Event<'_>) -> String {
    let mut text = Text::default();
    event.record(&mut text);
    match (text.message.is_empty(), text.fields.is_empty()) {
        (true, _) => text.fields,
        (false, true) => text.message,
        (false, false) => format!("{} {}", text.message, text.fields),
    }
}

/// Message and fields of an event as people read them.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        if field.name() == "message" {
            let _ = self.message.write_fmt(value);
            return;
        }
        let gap = if self.fields.is_empty() { "" } else { " " };
        let _ = write!(self.fields, "{gap}{}={value}", field.name());
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn texts(log: &KeptLog, words: &str, least: Level) -> Vec<String> {
        let (lines, _) = log.read(&Wanted::new(words, least), None, 100);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_found_by_words_and_gravity_and_read_backwards() {
        let log = Arc::new(KeptLog::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer()), || {
            tracing::info!(source = "Yard", bytes = 5, "recording");
            tracing::warn!(path = %"/a", "the disk is slow");
            tracing::error!(component = "chain", "failed");
        });
        assert_eq!(
            texts(&log, "", Level::Info),
            ["recording source=Yard bytes=5", "the disk is slow path=/a", "failed component=chain"]
        );
        assert_eq!(texts(&log, "DISK slow", Level::Trace), ["the disk is slow path=/a"]);
        assert_eq!(texts(&log, "disk chain", Level::Trace), Vec::<String>::new());
        assert_eq!(texts(&log, "", Level::Error), ["failed component=chain"]);
        let any = Wanted::new("", Level::Trace);
        let (newest, more) = log.read(&any, None, 1);
        assert_eq!((newest[0].number, more), (3, true));
        let (oldest, more) = log.read(&any, Some(newest[0].number), 2);
        assert_eq!((oldest.len(), oldest[0].number, more), (2, 1, false));
    }

    #[test]
    fn what_is_kept_is_bounded_in_lines_and_bytes() {
        let log = KeptLog::default();
        for _ in 0..LINES_MAX + 7 {
            log.push(Level::Info, "test", "x".into());
        }
        assert_eq!(log.kept.lock().unwrap().lines.len(), LINES_MAX);
        for _ in 0..BYTES_MAX / LINE_BYTES_MAX + 9 {
            log.push(Level::Info, "test", "é".repeat(LINE_BYTES_MAX));
        }
        let kept = log.kept.lock().unwrap();
        assert!(kept.bytes <= BYTES_MAX && kept.lines.len() < LINES_MAX);
        assert!(kept.lines.back().unwrap().text.len() <= LINE_BYTES_MAX + '…'.len_utf8());
    }

    #[tokio::test]
    async fn followers_get_every_line() {
        let log = KeptLog::default();
        let mut follower = log.follow();
        log.push(Level::Info, "test", "new".into());
        assert_eq!(follower.recv().await.unwrap().text, "new");
    }
}
