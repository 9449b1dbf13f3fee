//! Exports the operator asked for: made one at a time, verified by the one who made them, and kept
//! sealed until they are downloaded, deleted, or the daemon stops.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::export::{ExportError, ExportSpec, export};
use lucid_chain::verify::{Trust, bundle};
use lucid_chain_node::Node;
use lucid_evidence::SessionId;
use lucid_evidence::bundle::{ReadAt, file_name};
use lucid_store::StoreError;

use crate::http::time::now_us;
use crate::sealed_file::{SealedFile, SealedWriter};

/// Exports kept at once, finished or not; beyond, new ones are refused.
pub const EXPORTS_MAX: usize = 32;
/// Part of the progress that writing is; the rest is verifying.
const WRITING_PART: f64 = 0.8;

/// An export's name in paths: `exp-` and its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExportId(u64);

/// Where an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportState {
    /// Waits for those before it.
    Queued,
    /// Is being made.
    Running,
    /// Can be downloaded.
    Done,
    /// Could not be made.
    Failed,
}

/// An export.
#[derive(Clone)]
pub struct Export {
    /// Its name in paths.
    pub id: ExportId,
    /// The session.
    pub session: SessionId,
    /// Where it stands.
    pub state: ExportState,
    /// 0 to 1.
    pub progress: f64,
    /// Its length so far, bytes.
    pub bytes: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// What its own verification said.
    pub verdict: Option<&'static str>,
    /// When it was asked for, microseconds since 1970.
    pub created_us: u64,
    /// The bundle, when it is done.
    pub file: Option<Arc<SealedFile>>,
}

/// Why an export cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum ExportsError {
    /// As many as are kept.
    #[error("{EXPORTS_MAX} exports are kept; delete some first")]
    TooMany,
    /// The session cannot be exported.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The bundle cannot be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The scratch file.
    #[error("cannot write the bundle")]
    File(#[from] std::io::Error),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk has no room for it.
    #[error("no room: the bundle needs about {needed} bytes, {available} may be used")]
    NoRoom {
        /// About what it takes, bytes.
        needed: u64,
        /// What may be used, bytes.
        available: u64,
    },
    /// It was deleted while it was made.
    #[error("deleted")]
    Deleted,
}

/// Hears of exports that changed.
pub type Listener = Box<dyn Fn(&Export) + Send + Sync>;

/// All exports.
pub struct Exports {
    archive: Arc<Archive>,
    node: Node,
    keep_free_bytes: u64,
    known: Mutex<BTreeMap<ExportId, Export>>,
    next: AtomicU64,
    /// Held by the export being made.
    turn: Mutex<()>,
    changed: Listener,
}

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exp-{:08}", self.0)
    }
}

impl FromStr for ExportId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("exp-").and_then(|n| n.parse().ok()).map(Self).ok_or(())
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
        }
    }
}

impl Export {
    /// The name the file is offered under.
    pub fn file_name(&self) -> String {
        file_name(self.session)
    }
}

impl Exports {
    /// No exports yet; at least `keep_free_bytes` of the disk are left to the recorders.
    pub fn new(archive: Arc<Archive>, node: Node, keep_free_bytes: u64, changed: Listener) -> Self {
        let (known, next, turn) = Default::default();
        Self { archive, node, keep_free_bytes, known, next, turn, changed }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ExportId, Export>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All exports, newest first.
    pub fn list(&self) -> Vec<Export> {
        self.known().values().rev().cloned().collect()
    }

    /// One export.
    pub fn get(&self, id: ExportId) -> Option<Export> {
        self.known().get(&id).cloned()
    }

    /// Forgets an export; one that is being made is given up.
    pub fn remove(&self, id: ExportId) -> Option<Export> {
        self.known().remove(&id)
    }

    /// Notes an export; [`Self::make`] makes it. Blocks shortly.
    ///
    /// # Errors
    /// When the session does not exist, still records or was deleted, or too many are kept.
    pub fn queue(&self, session: SessionId) -> Result<Export, ExportsError> {
        let record = self.archive.session(session)?;
        if record.state.is_running() {
            return Err(ArchiveError::Running(session).into());
        }
        self.archive.secret(session)?;
        let mut known = self.known();
        if known.len() >= EXPORTS_MAX {
            return Err(ExportsError::TooMany);
        }
        let export = Export {
            id: ExportId(self.next.fetch_add(1, Ordering::Relaxed) + 1),
            session,
            state: ExportState::Queued,
            progress: 0.0,
            bytes: 0,
            error: None,
            verdict: None,
            created_us: now_us(),
            file: None,
        };
        known.insert(export.id, export.clone());
        Ok(export)
    }

    /// Makes a queued export when its turn comes. Blocks until it is done or failed.
    pub fn make(&self, id: ExportId, spec: &ExportSpec) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(export) = self.update(id, |export| export.state = ExportState::Running) else {
            return;
        };
        match self.write(&export, spec) {
            Ok((file, verdict)) => {
                self.update(id, |export| {
                    export.state = ExportState::Done;
                    export.progress = 1.0;
                    export.bytes = file.size();
                    export.verdict = Some(verdict);
                    export.file = Some(Arc::new(file));
                });
            }
            Err(ExportsError::Deleted) => {}
            Err(error) => {
                tracing::warn!(export = %id, %error, "export failed");
                self.update(id, |export| {
                    export.state = ExportState::Failed;
                    export.error = Some(error.to_string());
                });
            }
        }
    }

    fn write(
        &self,
        of: &Export,
        spec: &ExportSpec,
    ) -> Result<(SealedFile, &'static str), ExportsError> {
        let record = self.archive.session(of.session)?;
        let copies = if spec.sealed || spec.no_video { 1 } else { 2 };
        let needed = record.plaintext_bytes.max(record.sealed_bytes) * copies;
        let available = self.archive.data().available_bytes()?.saturating_sub(self.keep_free_bytes);
        if needed > available {
            return Err(ExportsError::NoRoom { needed, available });
        }
        let anchor = self.node.prove(&of.session).ok().map(|proof| proof.to_bytes());
        let mut out = SealedWriter::create(self.archive.path())?;
        let mut told = 0.0;
        export(&self.archive, of.session, spec, anchor, &mut out, |done, total| {
            let progress = WRITING_PART * done as f64 / total.max(1) as f64;
            // A hundred steps are enough for people.
            if progress - told >= 0.01 {
                told = progress;
                self.update(of.id, |export| {
                    export.progress = progress;
                    export.bytes = done;
                });
            }
        })?;
        let file = out.finish()?;
        if self.update(of.id, |export| export.progress = WRITING_PART).is_none() {
            return Err(ExportsError::Deleted);
        }
        // The first to check it is the one who made it.
        let report = bundle(&file, &Trust::default(), &|_, _| {});
        Ok((file, report.verdict))
    }

    /// Changes an export and tells of it; `None` when it was deleted.
    fn update(&self, id: ExportId, change: impl FnOnce(&mut Export)) -> Option<Export> {
        let changed = {
            let mut known = self.known();
            let export = known.get_mut(&id)?;
            change(export);
            export.clone()
        };
        (self.changed)(&changed);
        Some(changed)
    }
}
