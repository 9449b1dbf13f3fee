//! When a recording that came to its end by itself is tried again: with growing waits, and a file
//! that cannot be recorded only once it has changed.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use lucid_capture::recorder::SourceState;
use lucid_capture::{SourceError, SourceKind, SourceUri};

use crate::sources::Source;

/// The first wait.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait where the device was the cause: room may be made at any moment.
const MOST_DEVICE: Duration = Duration::from_secs(60);
/// The longest wait where the source was the cause.
const MOST_SOURCE: Duration = Duration::from_secs(900);

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    inode: (u64, u64),
    bytes: u64,
    /// Of its content or its rights, seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileMark {
    /// Of the file that a source plays; none for other sources, and for a file that is not there.
    pub fn of(uri: &SourceUri) -> Option<Self> {
        let SourceKind::File { path, .. } = uri.kind() else { return None };
        let data = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: (data.dev(), data.ino()),
            bytes: data.len(),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

/// How a recording ended.
pub(super) struct End {
    pub state: SourceState,
    pub reason: String,
    /// What was wrong with the source, if it was the source.
    pub failure: Option<SourceError>,
    /// How long it ran.
    pub ran: Duration,
    /// The file as it was before it was tried.
    pub file: Option<FileMark>,
}

/// What is remembered of a source that does not record.
pub(super) struct Ended {
    pub state: SourceState,
    pub reason: String,
    /// What was recorded; another address is tried at once.
    uri: SourceUri,
    audio: bool,
    /// `None`: not before somebody asks, since the source came to its proper end.
    again_at: Option<Instant>,
    /// Not before the file is another one than this.
    other_than: Option<Option<FileMark>>,
    wait: Duration,
}

impl Ended {
    /// Notes an end; `before` is what was remembered until now.
    pub fn note(before: Option<&Self>, source: &Source, end: End, now: Instant) -> Self {
        let is_file = matches!(source.uri.kind(), SourceKind::File { .. });
        let most = if end.failure.is_some() { MOST_SOURCE } else { MOST_DEVICE };
        let wait = match before {
            Some(before) if end.ran < before.wait.max(MOST_DEVICE) => (before.wait * 2).min(most),
            _ => FIRST,
        };
        Self {
            state: end.state,
            reason: end.reason,
            uri: source.uri.clone(),
            audio: source.audio,
            again_at: (end.state != SourceState::Idle).then(|| now + wait),
            other_than: end
                .failure
                .filter(|error| is_file && is_of_content(error))
                .map(|_| end.file),
            wait,
        }
    }

    /// Whether to try again now; `file` is the source's file as it is now.
    pub fn is_due(&self, source: &Source, file: Option<FileMark>, now: Instant) -> bool {
        if self.uri != source.uri || self.audio != source.audio {
            return true;
        }
        self.again_at.is_some_and(|at| at <= now)
            && self.other_than.is_none_or(|before| before != file)
    }
}

/// Whether a file stays unfit for as long as it is the same file.
fn is_of_content(error: &SourceError) -> bool {
    use SourceError::{Framework, MissingElement, NoEncoder};
    !matches!(error, Framework { .. } | MissingElement { .. } | NoEncoder)
}

#[cfg(test)]
mod tests {
    use crate::sources::{Retention, SourceId};

    use super::*;

    fn source(uri: &str) -> Source {
        Source {
            id: SourceId::parse("src-aaaaaaaa").unwrap(),
            name: "Gate".into(),
            uri: uri.parse().unwrap(),
            audio: true,
            enabled: true,
            retention: Retention::default(),
            created_us: 0,
        }
    }

    fn refused(failure: Option<SourceError>, file: Option<FileMark>) -> End {
        let (state, reason) = (SourceState::Refused, "no".to_owned());
        End { state, reason, failure, ran: Duration::ZERO, file }
    }

    fn no_video() -> Option<SourceError> {
        Some(SourceError::NotVideo { source_name: "file".into(), detail: "text".into() })
    }

    #[test]
    fn waits_grow_to_their_longest_and_begin_anew_after_a_long_run() {
        let (source, now) = (source("rtsp://192.0.2.4/live"), Instant::now());
        for (failure, most) in [(no_video(), MOST_SOURCE), (None, MOST_DEVICE)] {
            let mut ended = Ended::note(None, &source, refused(failure.clone(), None), now);
            assert_eq!(ended.wait, FIRST);
            for _ in 0..12 {
                let before = ended.wait;
                ended = Ended::note(Some(&ended), &source, refused(failure.clone(), None), now);
                assert_eq!(ended.wait, (before * 2).min(most));
                assert!(!ended.is_due(&source, None, now));
                assert!(ended.is_due(&source, None, now + ended.wait));
            }
            assert_eq!(ended.wait, most);
            let end = End { ran: most, ..refused(failure, None) };
            assert_eq!(Ended::note(Some(&ended), &source, end, now).wait, FIRST);
        }
    }

    #[test]
    fn a_file_that_is_no_video_is_tried_again_once_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.mp4");
        let source = source(&format!("file://{}", path.display()));
        let (now, never) = (Instant::now(), Duration::from_secs(1_000_000));
        assert_eq!(FileMark::of(&source.uri), None);
        std::fs::write(&path, "no video").unwrap();
        let before = FileMark::of(&source.uri);
        let ended = Ended::note(None, &source, refused(no_video(), before), now);
        assert!(!ended.is_due(&source, FileMark::of(&source.uri), now + never));
        std::fs::write(&path, "no video either").unwrap();
        let after = FileMark::of(&source.uri);
        assert_ne!(before, after);
        assert!(!ended.is_due(&source, after, now), "its wait is not over");
        assert!(ended.is_due(&source, after, now + never));
        std::fs::remove_file(&path).unwrap();
        assert!(ended.is_due(&source, FileMark::of(&source.uri), now + never));

        // What is missing on this device is looked for again, and so is another address at once.
        let ended = Ended::note(None, &source, refused(Some(SourceError::NoEncoder), after), now);
        assert!(ended.is_due(&source, after, now + never));
        let played = End { state: SourceState::Idle, ..refused(None, after) };
        let ended = Ended::note(None, &source, played, now);
        assert!(!ended.is_due(&source, None, now + never));
        let other = Source { uri: "test://".parse().unwrap(), ..source };
        assert!(ended.is_due(&other, None, now));
    }
}
