//! Exports the operator asked for: made one at a time, verified by the one who made them, and kept
//! sealed until they are downloaded and deleted, or their time is over.
//!
//! An export is a second copy of a recording in the clear, so it may neither outlive the recording
//! nor its own deletion: each has a key of its own, and whatever removes it destroys that key first
//! ([`shelf`]). It survives the daemon: what was being made at a stop or a crash is begun anew.

mod record;
mod shelf;
mod sweep;

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::catalogue::SessionState;
use lucid_capture::export::{ExportError, ExportSpec, export};
use lucid_chain::verify::{Trust, bundle};
use lucid_chain_node::Node;
use lucid_evidence::SessionId;
use lucid_evidence::bundle::ReadAt;
use lucid_store::StoreError;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::http::time::now_us;
use crate::sealed_file::{SealedFile, SealedWriter};
use crate::supervisor::Reporter;
pub use record::{Export, ExportId, ExportState};
use shelf::Shelf;
use sweep::{Kept, sweep};
pub use sweep::{Limits, Why};

/// Exports kept at once, finished or not; beyond, new ones are refused.
pub const EXPORTS_MAX: usize = 32;
/// Part of the progress that writing is; the rest is verifying.
const WRITING_PART: f64 = 0.8;
/// An export in whose making the daemon ended this often is not begun again.
const ATTEMPTS_MAX: u32 = 3;
/// How often exports are swept when nothing else asks for it.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
    /// Its files.
    #[error("cannot write the bundle: {0}")]
    File(#[from] io::Error),
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
    /// It is larger than all exports may be.
    #[error(
        "the bundle needs about {needed} bytes, all exports may take {allowed}; export a part of \
         it, or without the video, or raise `exports.max_mib`"
    )]
    TooLarge {
        /// About what it takes, bytes.
        needed: u64,
        /// What all exports may take, bytes.
        allowed: u64,
    },
    /// It was deleted while it was made.
    #[error("deleted")]
    Deleted,
    /// The daemon stops.
    #[error("the daemon stops")]
    Stopping,
}

/// Hears of exports that changed.
pub type Listener = Box<dyn Fn(&Export) + Send + Sync>;

/// All exports.
pub struct Exports {
    archive: Arc<Archive>,
    node: Node,
    limits: Limits,
    keep_free_bytes: u64,
    shelf: Shelf,
    known: Mutex<BTreeMap<ExportId, Export>>,
    /// Held while records are written, so that the last written is the last known.
    writing: Mutex<()>,
    /// There may be something to make.
    queued: Notify,
    /// What of the exports of earlier lives could not be read, for the component.
    trouble: Option<String>,
    changed: Listener,
}

impl Exports {
    /// The exports that an earlier life left. What cannot be read is a reason the component gives,
    /// and keeps nothing else from starting. At least `keep_free_bytes` of the disk are left to the
    /// recorders.
    pub fn open(
        archive: Arc<Archive>,
        node: Node,
        limits: Limits,
        keep_free_bytes: u64,
        changed: Listener,
    ) -> Self {
        let shelf = Shelf::new(archive.path(), archive.keys().device());
        let (mut found, trouble) = match shelf.open() {
            Ok(found) if found.damaged.is_empty() => (found, None),
            Ok(found) => {
                let why = format!("{} exports were damaged and are gone", found.damaged.len());
                (found, Some(why))
            }
            Err(error) => {
                tracing::error!(%error, "the exports that were kept cannot be read");
                let why = format!("the exports that were kept cannot be read: {error}");
                (shelf::Found::default(), Some(why))
            }
        };
        let exports = found.exports.drain(..).map(|export| (export.id, export));
        let known = Mutex::new(exports.collect());
        let (writing, queued) = Default::default();
        let this = Self {
            archive,
            node,
            limits,
            keep_free_bytes,
            shelf,
            known,
            writing,
            queued,
            trouble,
            changed,
        };
        this.take_up();
        this
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

    /// Destroys an export; one that is being made is given up. A download that has begun goes on to
    /// its end. Blocks shortly.
    pub fn remove(&self, id: ExportId, why: Why) -> Option<Export> {
        let mut export = self.known().remove(&id)?;
        {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = self.shelf.destroy(id) {
                tracing::error!(export = %id, %error, "an export's files cannot be destroyed");
            }
        }
        tracing::info!(export = %id, session = %export.session, %why, "export removed");
        export.state = ExportState::Removed;
        export.error = Some(why.to_string());
        export.file = None;
        (self.changed)(&export);
        Some(export)
    }

    /// Destroys what was exported of a session that was deleted. Blocks shortly.
    pub fn forget(&self, session: SessionId) {
        let of = |export: &&Export| export.session == session;
        let gone: Vec<_> = self.known().values().filter(of).map(|export| export.id).collect();
        for id in gone {
            self.remove(id, Why::Session);
        }
    }

    /// Notes an export; [`Self::run`] makes it. Blocks shortly.
    ///
    /// # Errors
    /// When the session does not exist, still records or was deleted, too many are kept, or the
    /// disk does not take it.
    pub fn queue(&self, session: SessionId, spec: ExportSpec) -> Result<Export, ExportsError> {
        let record = self.archive.session(session)?;
        if record.state.is_running() {
            return Err(ArchiveError::Running(session).into());
        }
        self.archive.secret(session)?;
        let now = now_us();
        let export = {
            let mut known = self.known();
            if known.len() >= EXPORTS_MAX {
                return Err(ExportsError::TooMany);
            }
            // Milliseconds, so that the number of one that was deleted does not come again.
            let last = known.last_key_value().map_or(0, |(id, _)| id.0);
            let export = Export::new(ExportId((now / 1000).max(last + 1)), session, spec, now);
            known.insert(export.id, export.clone());
            export
        };
        let made = self.shelf.create(export.id).and_then(|()| self.persist(export.id));
        if let Err(error) = made {
            self.known().remove(&export.id);
            return Err(error.into());
        }
        self.queued.notify_one();
        Ok(export)
    }

    /// Makes what is queued, one at a time and oldest first, and sweeps, until asked to stop.
    ///
    /// # Errors
    /// When the making panicked.
    pub async fn run(
        self: Arc<Self>,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        match &self.trouble {
            Some(trouble) => reporter.degraded(trouble),
            None => reporter.healthy(),
        }
        // After a panic, what was being made is begun anew.
        let this = Arc::clone(&self);
        tokio::task::spawn_blocking(move || this.take_up()).await?;
        while !stop.is_cancelled() {
            let (this, token) = (Arc::clone(&self), stop.clone());
            let made = tokio::task::spawn_blocking(move || {
                this.sweep(0);
                let next = this.next()?;
                this.make(next, &token);
                Some(next)
            });
            if made.await?.is_some() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.queued.notified() => {}
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
        Ok(())
    }

    /// Removes what is kept no longer, oldest first, so that `coming_bytes` more are within the
    /// limits and the recorders have their room. Blocks shortly.
    pub fn sweep(&self, coming_bytes: u64) {
        let lacking = match self.archive.data().available_bytes() {
            Ok(available) => self.keep_free_bytes.saturating_sub(available),
            Err(_) => 0,
        };
        let kept = |export: &Export| {
            let bytes = export.shape.map_or(0, |shape| shape.length);
            Some(Kept { id: export.id, finished_us: export.finished_us?, bytes })
        };
        let kept: Vec<Kept> = self.known().values().filter_map(kept).collect();
        for (id, why) in sweep(kept, &self.limits, now_us(), coming_bytes, lacking) {
            self.remove(id, why);
        }
    }

    /// Opens the files of those that are done and queues again what was not ended.
    fn take_up(&self) {
        for export in self.list() {
            let deleted = match self.archive.session(export.session) {
                Ok(session) => session.state == SessionState::Deleted,
                Err(error) => matches!(error, ArchiveError::NoSession(_)),
            };
            match export.state {
                _ if deleted => {
                    self.remove(export.id, Why::Session);
                }
                ExportState::Done if export.file.is_none() => self.reopen(&export),
                ExportState::Running if export.attempts >= ATTEMPTS_MAX => {
                    let why = format!(
                        "the daemon ended {ATTEMPTS_MAX} times while making it; the log says why"
                    );
                    self.fail(export.id, &why);
                }
                ExportState::Running => {
                    tracing::info!(export = %export.id, "begun anew after an interruption");
                    self.update(export.id, Export::begin_again);
                }
                _ => {}
            }
        }
    }

    fn reopen(&self, export: &Export) {
        let Some(shape) = export.shape else { return };
        match self.shelf.bundle(export.id, shape) {
            Ok(file) => {
                let mut known = self.known();
                if let Some(export) = known.get_mut(&export.id) {
                    export.file = Some(Arc::new(file));
                }
            }
            Err(error) => {
                let why = format!("its file was damaged while it was kept ({error}); export again");
                self.fail(export.id, &why);
            }
        }
    }

    fn next(&self) -> Option<ExportId> {
        let is_queued = |export: &&Export| export.state == ExportState::Queued;
        self.known().values().find(is_queued).map(|export| export.id)
    }

    fn make(&self, id: ExportId, stop: &CancellationToken) {
        let begun = self.update(id, |export| {
            export.begin_again();
            export.state = ExportState::Running;
            export.attempts += 1;
        });
        let Some(export) = begun else { return };
        match self.write(&export, stop) {
            Ok((file, verdict)) => {
                self.update(id, |export| {
                    export.state = ExportState::Done;
                    export.progress = 1.0;
                    export.bytes = file.size();
                    export.verdict = Some(verdict);
                    export.finished_us = Some(now_us());
                    export.shape = Some(file.shape());
                    export.file = Some(Arc::new(file));
                });
            }
            // Whatever the error says of the writing, these are the reasons for it.
            Err(_) if self.get(id).is_none() => {}
            Err(_) if stop.is_cancelled() => {
                self.update(id, |export| {
                    export.begin_again();
                    export.attempts -= 1;
                });
            }
            Err(error) => {
                tracing::warn!(export = %id, %error, "export failed");
                self.fail(id, &error.to_string());
            }
        }
    }

    fn write(
        &self,
        of: &Export,
        stop: &CancellationToken,
    ) -> Result<(SealedFile, &'static str), ExportsError> {
        let record = self.archive.session(of.session)?;
        let copies = if of.spec.sealed || of.spec.no_video { 1 } else { 2 };
        let needed = record.plaintext_bytes.max(record.sealed_bytes) * copies;
        let allowed = self.limits.bytes_max;
        if needed > allowed {
            return Err(ExportsError::TooLarge { needed, allowed });
        }
        self.sweep(needed);
        let available = self.archive.data().available_bytes()?.saturating_sub(self.keep_free_bytes);
        if needed > available {
            return Err(ExportsError::NoRoom { needed, available });
        }
        let anchor = crate::chain::proof(&self.archive, &self.node, of.session);
        let check = || match self.known().contains_key(&of.id) {
            _ if stop.is_cancelled() => Err(ExportsError::Stopping),
            true => Ok(()),
            false => Err(ExportsError::Deleted),
        };
        let mut out = Wanted { out: self.shelf.begin(of.id)?, check: &check };
        let mut told = 0.0;
        let exported =
            export(&self.archive, of.session, &of.spec, anchor, &mut out, |done, total| {
                let progress = WRITING_PART * done as f64 / total.max(1) as f64;
                // A hundred steps are enough for people.
                if progress - told >= 0.01 {
                    told = progress;
                    self.tell(of.id, |export| {
                        export.progress = progress;
                        export.bytes = done;
                    });
                }
            })?;
        for lost in &exported.lost {
            let (from, to) = (lost.stream_us.0 as f64 / 1e6, lost.stream_us.1 as f64 / 1e6);
            tracing::warn!(export = %of.id, chunk = lost.chunk, from, to, why = lost.why,
                "a damaged chunk is left out of the bundle, which is incomplete");
        }
        let file = out.out.finish_durably()?;
        check()?;
        self.tell(of.id, |export| export.progress = WRITING_PART);
        // The first to check it is the one who made it.
        let report = bundle(&file, &Trust::default(), &|_, _| {});
        Ok((file, report.verdict))
    }

    fn fail(&self, id: ExportId, why: &str) {
        self.update(id, |export| export.fail(why, now_us()));
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.shelf.discard(id) {
            tracing::error!(export = %id, %error, "a failed export's file cannot be destroyed");
        }
    }

    /// Changes an export and tells of it; `None` when it was deleted.
    fn tell(&self, id: ExportId, change: impl FnOnce(&mut Export)) -> Option<Export> {
        let changed = {
            let mut known = self.known();
            let export = known.get_mut(&id)?;
            change(export);
            export.clone()
        };
        (self.changed)(&changed);
        Some(changed)
    }

    /// Changes an export for good, and tells of it.
    fn update(&self, id: ExportId, change: impl FnOnce(&mut Export)) -> Option<Export> {
        let changed = self.tell(id, change)?;
        if let Err(error) = self.persist(id) {
            // It is as it is until a restart, which finds it as it was before.
            tracing::error!(export = %id, %error, "the state of an export cannot be stored");
        }
        Some(changed)
    }

    fn persist(&self, id: ExportId) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.get(id) {
            Some(export) => self.shelf.store(&export),
            None => Ok(()),
        }
    }
}

/// A writer for as long as somebody wants what is written.
struct Wanted<'a> {
    out: SealedWriter,
    check: &'a dyn Fn() -> Result<(), ExportsError>,
}

impl Write for Wanted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.check)().map_err(io::Error::other)?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Seek for Wanted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.out.seek(to)
    }
}
