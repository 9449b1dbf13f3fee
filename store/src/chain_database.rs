//! Opens the database of blocks: one that lost what it had made durable is damaged, however well it
//! opens.
//!
//! What it must hold is noted in `chain.watermark`, outside it, each time after that is durable.
//! The database is asked for it before anybody gets it. If it does not have it, its bytes are put
//! back as they were before the engine looked at them and moved to `quarantine/` together with the
//! note.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data_dir::{CHAIN, QUARANTINE, Quarantined, make_dir};
use crate::engine::sled_engine::sync_dir;
use crate::engine::undo::Undo;
use crate::engine::{Engine, Opener, Use};
use crate::framed::Room;
use crate::volumes::retire::free_place;
use crate::{Framed, Noted, Store, StoreError, Watermark};

/// Name of the note's file in the data directory, and in the place of a database put aside.
const WATERMARK: &str = "chain.watermark";
const WATERMARK_ASIDE: &str = "watermark";

/// Whether a database holds what a note says that it does; the one who wrote the note knows. The
/// error [`StoreError::Lost`] says what is missing.
pub type ChainCheck = fn(Arc<dyn Store>, &[u8]) -> Result<(), StoreError>;

/// How the database of blocks is opened.
pub(crate) struct ChainDatabase {
    /// The data directory.
    pub(crate) path: PathBuf,
    pub(crate) room: Room,
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) check: Option<ChainCheck>,
}

impl ChainDatabase {
    /// Its note.
    pub(crate) fn watermark(&self) -> Watermark {
        Watermark::at(&self.path.join(WATERMARK))
    }

    /// Opens it, or puts it aside and opens an empty one.
    pub(crate) fn open_or_replace(
        &self,
        quarantined: &mut Vec<Quarantined>,
    ) -> Result<Arc<dyn Engine>, StoreError> {
        quarantined.extend(self.set_unreadable_note_aside()?);
        let error = match self.open() {
            Err(error) if error.is_damage() => error,
            result => return result,
        };
        // An engine without room gives up in ways that look like damage.
        self.room.check(0)?;
        quarantined.push(self.set_aside(&error)?);
        let engine = self.opener.open(&self.path.join(CHAIN), CHAIN, Use::KeyValue)?;
        Ok(engine)
    }

    /// Opens it.
    ///
    /// # Errors
    /// When it does not open or has lost something; its bytes are then as they were before.
    pub(crate) fn open(&self) -> Result<Arc<dyn Engine>, StoreError> {
        let dir = self.path.join(CHAIN);
        let Some(check) = self.check else {
            return self.opener.open(&dir, CHAIN, Use::KeyValue);
        };
        let undo = Undo::keep(&dir, self.room.reserve_bytes)?;
        let opened = self.opener.open(&dir, CHAIN, Use::KeyValue).and_then(|engine| {
            if let Noted::Note(note) = self.watermark().read()? {
                check(Arc::new(Framed::new(CHAIN, Arc::clone(&engine))), &note)?;
            }
            Ok(engine)
        });
        if let Some(undo) = undo {
            if opened.is_err() {
                undo.restore()?;
            }
            undo.forget()?;
        }
        opened
    }

    fn set_aside(&self, error: &StoreError) -> Result<Quarantined, StoreError> {
        let (dir, quarantine) = (self.path.join(CHAIN), self.path.join(QUARANTINE));
        let place = free_place(&quarantine, CHAIN)?;
        rename(&dir, &place)?;
        self.opener.moved(&dir, Some(&place));
        let note = self.path.join(WATERMARK);
        if note.exists() {
            rename(&note, &place.join(WATERMARK_ASIDE))?;
            sync_dir(&place)?;
        }
        make_dir(&dir)?;
        sync_dir(&quarantine)?;
        sync_dir(&self.path)?;
        let aside = place.display();
        tracing::error!(database = CHAIN, quarantined = %aside, %error, "replaced by an empty one");
        Ok(Quarantined { name: CHAIN.into(), path: place, reason: error.to_string() })
    }

    /// Without its note nobody can tell whether the database is whole, and it is no reason to give
    /// the database up.
    fn set_unreadable_note_aside(&self) -> Result<Option<Quarantined>, StoreError> {
        if self.watermark().read()? != Noted::Damaged {
            return Ok(None);
        }
        let (note, quarantine) = (self.path.join(WATERMARK), self.path.join(QUARANTINE));
        let place = free_place(&quarantine, "chain-watermark")?;
        rename(&note, &place)?;
        sync_dir(&quarantine)?;
        sync_dir(&self.path)?;
        let reason = "no note in it can be read; the chain is taken as it is".to_owned();
        tracing::error!(file = WATERMARK, quarantined = %place.display(), reason, "put aside");
        Ok(Some(Quarantined { name: WATERMARK.into(), path: place, reason }))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::io("move", from, e))
}
