//! The files of exports, three each: the key, written once; the record, written at every change of
//! state; the bundle, sealed under the key. Key and record are sealed under keys made from the
//! device's.
//!
//! Destroying an export overwrites its key in place before anything is removed. The key is never
//! written a second time and never moved after it was named, so on ordinary disks no other copy of
//! it is left; a flash card may keep the old block until it is reused, and what is in that opens
//! only with the device's key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_evidence::SigningKey;
use zeroize::Zeroizing;

use super::record::{Export, ExportId, ExportState};
use crate::keyfile;
use crate::sealed_file::{SealedFile, SealedWriter, Shape};

/// The directory's name in the data directory.
const DIRECTORY: &str = "exports";
/// Separates this key from every other made from the device's.
const CONTEXT: &str = "lucid 2026-11 export wrap v1";
const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const KEY_FILE_BYTES: usize = 1 + NONCE + 32 + TAG;

/// Which of an export's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Key,
    Record,
    Bundle,
}

/// The directory of exports.
pub struct Shelf {
    dir: PathBuf,
    wrap: XChaCha20Poly1305,
}

/// What the directory held.
#[derive(Default)]
pub struct Found {
    /// Exports whose record reads.
    pub exports: Vec<Export>,
    /// Exports whose record does not; their files were destroyed, the record set aside.
    pub damaged: Vec<ExportId>,
}

impl Part {
    fn extension(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Record => "record",
            Self::Bundle => "bundle",
        }
    }
}

impl Shelf {
    /// The shelf of a data directory.
    pub fn new(data_dir: &Path, device: &SigningKey) -> Self {
        let key = Zeroizing::new(blake3::derive_key(CONTEXT, &*device.seed()));
        Self { dir: data_dir.join(DIRECTORY), wrap: XChaCha20Poly1305::new(&Key::from(*key)) }
    }

    /// Reads all records, making the directory when there is none. Finishes deletions that were cut
    /// short, and removes files that belong to no record.
    ///
    /// # Errors
    /// From the file system.
    pub fn open(&self) -> io::Result<Found> {
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut ids = std::collections::BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let Ok(id) = stem.parse::<ExportId>() else { continue };
            ids.insert(id);
            // Left by a write that a crash cut short; the file it should have replaced is there.
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path)?;
            }
        }
        let mut found = Found::default();
        for id in ids {
            let Some(bytes) = keyfile::read(&self.path(id, Part::Record))? else {
                self.destroy(id)?;
                continue;
            };
            let plain = self.unwrap(id, Part::Record, &bytes);
            match plain.and_then(|plain| Export::decode(id, &plain)) {
                // A deletion destroys the key first; what failed has none.
                Some(export) if !self.has(id, Part::Key) && export.state != ExportState::Failed => {
                    self.destroy(id)?;
                }
                Some(export) => {
                    // Failing was cut short.
                    if export.state == ExportState::Failed && self.has(id, Part::Key) {
                        self.discard(id)?;
                    }
                    found.exports.push(export);
                }
                None => {
                    self.discard(id)?;
                    keyfile::set_aside(&self.path(id, Part::Record), &"it does not open")?;
                    found.damaged.push(id);
                }
            }
        }
        Ok(found)
    }

    /// Makes the key of a new export.
    ///
    /// # Errors
    /// From the file system, or when there are no random numbers.
    pub fn create(&self, id: ExportId) -> io::Result<()> {
        let mut key = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *key).map_err(io::Error::other)?;
        keyfile::write(&self.path(id, Part::Key), &self.wrap(id, Part::Key, &*key)?)
    }

    /// Writes the record of an export.
    ///
    /// # Errors
    /// From the file system, or when there are no random numbers.
    pub fn store(&self, export: &Export) -> io::Result<()> {
        let bytes = self.wrap(export.id, Part::Record, &export.encode()?)?;
        keyfile::write(&self.path(export.id, Part::Record), &bytes)
    }

    /// An empty bundle for an export; what was there of an earlier try is gone.
    ///
    /// # Errors
    /// From the file system, or when the key is gone or damaged.
    pub fn begin(&self, id: ExportId) -> io::Result<SealedWriter> {
        let key = self.key(id)?;
        let path = self.path(id, Part::Bundle);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(SealedWriter::new(options.open(path)?, &key))
    }

    /// The finished bundle of an export.
    ///
    /// # Errors
    /// From the file system, or when key or bundle are gone or damaged.
    pub fn bundle(&self, id: ExportId, shape: Shape) -> io::Result<SealedFile> {
        SealedFile::open(File::open(self.path(id, Part::Bundle))?, &*self.key(id)?, shape)
    }

    /// Destroys key and bundle and keeps the record.
    ///
    /// # Errors
    /// From the file system.
    pub fn discard(&self, id: ExportId) -> io::Result<()> {
        let path = self.path(id, Part::Key);
        match OpenOptions::new().write(true).open(&path) {
            Ok(mut file) => {
                let mut noise = [0u8; KEY_FILE_BYTES];
                getrandom::fill(&mut noise).map_err(io::Error::other)?;
                file.write_all(&noise)?;
                file.sync_all()?;
                fs::remove_file(&path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.remove(id, Part::Bundle)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Destroys an export: nothing of it can be opened again.
    ///
    /// # Errors
    /// From the file system.
    pub fn destroy(&self, id: ExportId) -> io::Result<()> {
        self.discard(id)?;
        self.remove(id, Part::Record)?;
        File::open(&self.dir)?.sync_all()
    }

    fn remove(&self, id: ExportId, part: Part) -> io::Result<()> {
        match fs::remove_file(self.path(id, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn key(&self, id: ExportId) -> io::Result<Zeroizing<[u8; 32]>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the key is gone or damaged");
        let bytes = keyfile::read(&self.path(id, Part::Key))?.ok_or_else(damaged)?;
        let plain = self.unwrap(id, Part::Key, &bytes).ok_or_else(damaged)?;
        let mut key = Zeroizing::new([0; 32]);
        if plain.len() != key.len() {
            return Err(damaged());
        }
        key.copy_from_slice(&plain);
        Ok(key)
    }

    fn has(&self, id: ExportId, part: Part) -> bool {
        self.path(id, part).exists()
    }

    fn path(&self, id: ExportId, part: Part) -> PathBuf {
        self.dir.join(id.to_string()).with_extension(part.extension())
    }

    /// Binds what is sealed to its export and its kind.
    fn label(id: ExportId, part: Part) -> Vec<u8> {
        [part.extension().as_bytes(), &id.0.to_be_bytes()].concat()
    }

    fn wrap(&self, id: ExportId, part: Part, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let payload = Payload { msg: plain, aad: &Self::label(id, part) };
        let sealed = self.wrap.encrypt(&nonce.into(), payload).map_err(io::Error::other)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    fn unwrap(&self, id: ExportId, part: Part, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = bytes.strip_prefix(&[VERSION])?.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let payload = Payload { msg: sealed, aad: &Self::label(id, part) };
        self.wrap.decrypt(&nonce, payload).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use lucid_capture::export::ExportSpec;
    use lucid_evidence::SessionId;
    use lucid_evidence::bundle::ReadAt;

    use super::*;

    const ID: ExportId = ExportId(7);

    fn shelf(dir: &Path) -> Shelf {
        Shelf::new(dir, &SigningKey::from_seed(&[1; 32]))
    }

    /// An export that is done, holding `text`.
    fn done(shelf: &Shelf, id: ExportId, text: &[u8]) -> Export {
        shelf.create(id).unwrap();
        let spec = ExportSpec::default();
        let mut export = Export::new(id, SessionId::new(1, [1; 10]), spec, 5);
        shelf.store(&export).unwrap();
        let mut writer = shelf.begin(id).unwrap();
        writer.write_all(text).unwrap();
        export.shape = Some(writer.finish_durably().unwrap().shape());
        export.state = ExportState::Done;
        shelf.store(&export).unwrap();
        export
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir.join(DIRECTORY)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_export_opens_in_another_life_and_nothing_of_it_is_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let shelf_ = shelf(dir.path());
        assert!(shelf_.open().unwrap().exports.is_empty());
        let export = done(&shelf_, ID, b"a recording in the clear");
        let again = shelf(dir.path());
        let found = again.open().unwrap();
        assert_eq!(found.exports.len(), 1);
        let file = again.bundle(ID, found.exports[0].shape.unwrap()).unwrap();
        assert_eq!(file.mark(), export.shape.unwrap().mark);
        let mut text = vec![0; file.size() as usize];
        file.read_at(0, &mut text).unwrap();
        assert_eq!(text, b"a recording in the clear");
        for name in names(dir.path()) {
            let bytes = fs::read(dir.path().join(DIRECTORY).join(name)).unwrap();
            let session = export.session.to_string();
            for clear in [&b"a recording"[..], session.as_bytes()] {
                assert!(!bytes.windows(clear.len()).any(|window| window == clear));
            }
        }
        // Another device's key opens none of it.
        let other = Shelf::new(dir.path(), &SigningKey::from_seed(&[2; 32]));
        assert!(other.bundle(ID, export.shape.unwrap()).is_err());
    }

    #[test]
    fn a_destroyed_export_leaves_no_key_and_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path());
        shelf.open().unwrap();
        done(&shelf, ID, b"something");
        let path = shelf.path(ID, Part::Key);
        let before = fs::read(&path).unwrap();
        let mut held = File::open(&path).unwrap();
        shelf.destroy(ID).unwrap();
        let mut left = Vec::new();
        held.read_to_end(&mut left).unwrap();
        assert!(left.len() == before.len() && left != before, "the key is overwritten in place");
        assert!(names(dir.path()).is_empty());
        shelf.destroy(ID).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_put_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path());
        shelf.open().unwrap();
        // A deletion cut short after the key; a queueing cut short before the record; a bundle
        // alone; a temporary file; a record changed by hand; a foreign file, which is left alone.
        done(&shelf, ExportId(1), b"one");
        fs::remove_file(shelf.path(ExportId(1), Part::Key)).unwrap();
        shelf.create(ExportId(2)).unwrap();
        fs::write(shelf.path(ExportId(3), Part::Bundle), b"x").unwrap();
        fs::write(shelf.dir.join("exp-00000004.new"), b"x").unwrap();
        done(&shelf, ExportId(5), b"five");
        let record = shelf.path(ExportId(5), Part::Record);
        let mut bytes = fs::read(&record).unwrap();
        bytes[30] ^= 1;
        fs::write(&record, bytes).unwrap();
        fs::write(shelf.dir.join("notes.txt"), b"x").unwrap();
        done(&shelf, ID, b"seven");
        let found = shelf.open().unwrap();
        assert_eq!(found.exports.iter().map(|export| export.id).collect::<Vec<_>>(), [ID]);
        assert_eq!(found.damaged, [ExportId(5)]);
        let names = names(dir.path());
        assert!(names[0].starts_with("exp-00000005.damaged-"), "{names:?}");
        let kept = ["exp-00000007.bundle", "exp-00000007.key", "exp-00000007.record", "notes.txt"];
        assert_eq!(names[1..], kept);
    }
}
