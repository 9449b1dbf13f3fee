//! What is known of an export, and how it stands on the disk: JSON with a version, sealed under a
//! key made from the device's, because it says who was shown what.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lucid_capture::export::ExportSpec;
use lucid_evidence::SessionId;
use lucid_evidence::bundle::file_name;
use serde::{Deserialize, Serialize};

use crate::sealed_file::{SealedFile, Shape};

const VERSION: u32 = 1;
/// Longest reason kept, in characters.
const ERROR_CHARS_MAX: usize = 400;
/// The verdicts there are.
const VERDICTS: [&str; 4] = ["valid", "tampered", "incomplete", "unverifiable"];

/// An export's name in paths and files: `exp-` and its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExportId(pub u64);

/// Where an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportState {
    /// Waits for those before it.
    Queued,
    /// Is being made.
    Running,
    /// Can be downloaded.
    Done,
    /// Could not be made, or its file is damaged.
    Failed,
    /// Is gone: listeners are told, nobody keeps it.
    Removed,
}

/// An export.
#[derive(Clone)]
pub struct Export {
    /// Its name in paths.
    pub id: ExportId,
    /// The session.
    pub session: SessionId,
    /// What was asked for.
    pub spec: ExportSpec,
    /// Where it stands.
    pub state: ExportState,
    /// 0 to 1.
    pub progress: f64,
    /// Its length so far, bytes.
    pub bytes: u64,
    /// Why it failed, or is gone.
    pub error: Option<String>,
    /// What its own verification said.
    pub verdict: Option<&'static str>,
    /// When it was asked for, microseconds since 1970.
    pub created_us: u64,
    /// When it was done or failed.
    pub finished_us: Option<u64>,
    /// How often its making was begun and not ended.
    pub attempts: u32,
    /// What opens its file again.
    pub shape: Option<Shape>,
    /// The bundle, when it is done.
    pub file: Option<Arc<SealedFile>>,
}

/// An export as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u32,
    session: String,
    from_us: Option<u64>,
    to_us: Option<u64>,
    sealed: bool,
    no_video: bool,
    state: ExportState,
    error: Option<String>,
    verdict: Option<String>,
    created_us: u64,
    finished_us: Option<u64>,
    attempts: u32,
    length: Option<u64>,
    /// 32 hexadecimal digits.
    mark: Option<String>,
}

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exp-{:08}", self.0)
    }
}

impl FromStr for ExportId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_prefix("exp-").and_then(|n| n.parse().ok()).map(Self).ok_or(())?;
        // One spelling each: it names files.
        if number.to_string() == text { Ok(number) } else { Err(()) }
    }
}

impl ExportState {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }
}

impl Export {
    /// One that was asked for just now.
    pub fn new(id: ExportId, session: SessionId, spec: ExportSpec, now_us: u64) -> Self {
        Self {
            id,
            session,
            spec,
            state: ExportState::Queued,
            progress: 0.0,
            bytes: 0,
            error: None,
            verdict: None,
            created_us: now_us,
            finished_us: None,
            attempts: 0,
            shape: None,
            file: None,
        }
    }

    /// The name the file is offered under.
    pub fn file_name(&self) -> String {
        file_name(self.session)
    }

    /// It cannot be made, or not be read any more.
    pub fn fail(&mut self, why: &str, now_us: u64) {
        self.state = ExportState::Failed;
        self.error = Some(why.chars().take(ERROR_CHARS_MAX).collect());
        self.finished_us = Some(now_us);
        (self.shape, self.file) = (None, None);
    }

    /// It waits, as if nothing had been done for it yet.
    pub fn begin_again(&mut self) {
        self.state = ExportState::Queued;
        (self.progress, self.bytes) = (0.0, 0);
    }

    /// The stored form.
    ///
    /// # Errors
    /// None that can happen; the writer of JSON has the type.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Stored {
            v: VERSION,
            session: self.session.to_string(),
            from_us: self.spec.from_us,
            to_us: self.spec.to_us,
            sealed: self.spec.sealed,
            no_video: self.spec.no_video,
            state: self.state,
            error: self.error.clone(),
            verdict: self.verdict.map(str::to_owned),
            created_us: self.created_us,
            finished_us: self.finished_us,
            attempts: self.attempts,
            length: self.shape.map(|shape| shape.length),
            mark: self.shape.map(|shape| format!("{:032x}", shape.mark)),
        })
    }

    /// From the stored form; `None` when it is not one of this version.
    pub fn decode(id: ExportId, bytes: &[u8]) -> Option<Self> {
        let stored: Stored =
            serde_json::from_slice(bytes).ok().filter(|s: &Stored| s.v == VERSION)?;
        let spec = ExportSpec {
            from_us: stored.from_us,
            to_us: stored.to_us,
            sealed: stored.sealed,
            no_video: stored.no_video,
        };
        let mark = stored.mark.map(|hex| u128::from_str_radix(&hex, 16)).transpose().ok()?;
        let shape = stored.length.zip(mark).map(|(length, mark)| Shape { length, mark });
        let done = stored.state == ExportState::Done;
        if done && shape.is_none() || stored.state == ExportState::Removed {
            return None;
        }
        let verdict = |text: String| VERDICTS.into_iter().find(|known| *known == text);
        Some(Self {
            state: stored.state,
            progress: if done { 1.0 } else { 0.0 },
            bytes: shape.map_or(0, |shape| shape.length),
            error: stored.error,
            verdict: stored.verdict.and_then(verdict),
            finished_us: stored.finished_us,
            attempts: stored.attempts,
            shape,
            ..Self::new(id, stored.session.parse().ok()?, spec, stored.created_us)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!("exp-00000007".parse(), Ok(ExportId(7)));
        assert_eq!("exp-1795280000".parse(), Ok(ExportId(1_795_280_000)));
        for wrong in ["", "exp-", "exp-7", "exp-+0000007", "exp-../../x", "7", "exp-000000007"] {
            assert_eq!(wrong.parse::<ExportId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_record_comes_back_and_others_are_none() {
        let spec = ExportSpec { from_us: Some(5), sealed: true, ..ExportSpec::default() };
        let mut export = Export::new(ExportId(3), SessionId::new(1, [2; 10]), spec, 77);
        export.state = ExportState::Done;
        export.shape = Some(Shape { length: 1234, mark: u128::MAX - 5 });
        (export.verdict, export.attempts) = (Some("valid"), 2);
        let bytes = export.encode().unwrap();
        let again = Export::decode(ExportId(3), &bytes).unwrap();
        assert_eq!(
            (again.session, again.state, again.shape),
            (export.session, export.state, export.shape)
        );
        assert_eq!((again.bytes, again.progress, again.verdict), (1234, 1.0, Some("valid")));
        assert_eq!((again.spec.from_us, again.spec.sealed, again.attempts), (Some(5), true, 2));
        export.shape = None;
        assert!(Export::decode(ExportId(3), &export.encode().unwrap()).is_none(), "done, no file");
        let newer = String::from_utf8(bytes).unwrap().replace("\"v\":1", "\"v\":2");
        assert!(Export::decode(ExportId(3), newer.as_bytes()).is_none());
        assert!(Export::decode(ExportId(3), b"{}").is_none());
    }
}
