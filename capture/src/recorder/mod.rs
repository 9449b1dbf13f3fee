//! The recorder: takes what a source gives, seals it, makes it durable, and carries a session
//! through its states.
//!
//! `writer` decides and `run` acts. Nothing here knows the chain: what must be anchored goes to
//! an [`Anchor`].

mod feed;
mod first;
mod run;
mod session;
pub(crate) mod writer;

pub use feed::{EncodeLost, EventFeed, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX, Stamp};
pub use run::{
    LiveChunk, Persistence, RecorderConfig, Recording, SourceState, start, start_with_media,
};
pub use session::{Account, Ending, SessionSpec, finish_session};
pub(crate) use session::{store_closing, volumes_used, wall_us};
pub use writer::{Limits, RecordKind, read_volume_key, volume_key};

use crate::archive::ArchiveError;
use crate::catalogue::{SessionRecord, SessionState};
use lucid_evidence::manifest::{GapRecord, SignedManifest};
use lucid_evidence::{SessionId, SignedCheckpoint};

/// Where sessions, checkpoints and manifests go to be anchored. Every call may come again with the
/// same content after a restart, and must then change nothing.
pub trait Anchor: Send + Sync {
    /// Whether the chain knows a session of this identifier already.
    fn knows(&self, session: SessionId) -> bool;
    /// A session was opened.
    fn opened(&self, session: &SessionRecord);
    /// A session's tree has grown.
    fn checkpoint(&self, session: SessionId, checkpoint: &SignedCheckpoint);
    /// A session has ended.
    fn closed(&self, manifest: &SignedManifest);
    /// A session was deleted; its keys are destroyed.
    fn deleted(&self, session: &SessionRecord);
}

/// What a recorder tells those who watch it.
#[derive(Debug, Clone)]
pub enum RecorderEvent {
    /// A session entered a state.
    State {
        /// The session.
        session: SessionId,
        /// The state.
        state: SessionState,
        /// Why.
        reason: String,
    },
    /// Media up to here survives a power cut.
    Durable {
        /// The session.
        session: SessionId,
        /// End of the media, microseconds of the stream clock.
        stream_end_us: u64,
        /// End of the media by the device's clock, microseconds since 1970.
        wall_end_us: u64,
    },
    /// Events up to here survive a power cut.
    Events {
        /// The session.
        session: SessionId,
        /// Time of the last one by the device's clock, microseconds since 1970.
        wall_end_us: u64,
    },
    /// A chunk was closed.
    Chunk {
        /// The session.
        session: SessionId,
        /// Its index.
        index: u64,
    },
    /// Time is missing.
    Gap {
        /// The session.
        session: SessionId,
        /// Where and why.
        gap: GapRecord,
    },
    /// The source changed its state.
    Source {
        /// The source's identifier.
        source_id: String,
        /// Its state.
        state: SourceState,
        /// Why, without credentials.
        reason: String,
    },
}

/// Hears recorder events; must not block.
pub type Observer = std::sync::Arc<dyn Fn(RecorderEvent) + Send + Sync>;

/// Why recording cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The pure half refused.
    #[error(transparent)]
    Writer(#[from] writer::WriterError),
    /// The identifier given for a session was used before.
    #[error("session {0} exists already; an identifier serves for one session")]
    UsedId(SessionId),
    /// Asked to go on in a new session, where only one was prepared.
    #[error("a recording with events or an identifier given in advance is one session")]
    Rolls,
    /// Asked to open the session only once media has come, where one was prepared.
    #[error("a recording with events or an identifier given in advance opens its session at once")]
    Prepared,
    /// No room on the disk that may be used.
    #[error(
        "no room to record: {available} bytes are left, {needed} bytes are kept free; \
         delete recordings or release holds"
    )]
    NoRoom {
        /// Bytes left.
        available: u64,
        /// Bytes kept free.
        needed: u64,
    },
    /// The recorder's thread could not be started.
    #[error("recorder thread: {0}")]
    Thread(std::io::Error),
}

macro_rules! into_archive_error {
    ($($error:ty),*) => {$(
        impl From<$error> for RecorderError {
            fn from(error: $error) -> Self {
                RecorderError::Archive(error.into())
            }
        }
    )*};
}
into_archive_error!(
    lucid_store::StoreError,
    crate::catalogue::CatalogueError,
    crate::keys::KeyStoreError
);
