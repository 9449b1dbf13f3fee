//! The data directory: who may use it, which version it has, and what is in it.
//!
//! ```text
//! lock         held by flock while open; holds the process id
//! version      "1": newer ones are refused
//! index/       key-value database: sessions, chunk headers, settings, users, audit
//! index.durable how far it was durable
//! chain/       key-value database: blocks; opened by way of `chain.watermark`
//! volumes/<n>/ sealed pieces
//! keys/        left alone by this crate; made readable for the owner only
//! quarantine/  what was damaged, moved here with its bytes as they were
//! reserve      room set aside, given up when others fill the disk
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::chain_database::ChainDatabase;
use crate::engine::sled_engine::{SledOpener, sync_dir, sync_files};
use crate::engine::{Cut, Opener, Use};
use crate::framed::Room;
use crate::volumes::retire::free_place;
use crate::volumes::{Settings, VolumeId};
use crate::{Batch, ChainCheck, Framed, ScrubReport, Store, StoreError, Volumes, ballast};

/// Version of the layout written by this program.
pub const DATA_VERSION: u64 = 1;

const LOCK: &str = "lock";
const VERSION: &str = "version";
const INDEX: &str = "index";
pub(crate) const CHAIN: &str = "chain";
const VOLUMES: &str = "volumes";
const KEYS: &str = "keys";
pub(crate) const QUARANTINE: &str = "quarantine";
/// Longest `lock` or `version` file read, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 64;
/// Everything here belongs to one user.
const DIRECTORY_MODE: u32 = 0o700;

/// How to open a data directory.
#[derive(Clone)]
pub struct Options {
    /// A volume is sealed when it holds this many bytes of keys and values.
    pub volume_bytes: u64,
    /// Sealed volumes kept open for reading; each may hold its whole contents in memory.
    pub open_volumes_max: usize,
    /// Bytes of the disk that are never used up, so that the engine never meets a full one.
    pub reserve_bytes: u64,
    /// The engine.
    pub opener: Arc<dyn Opener>,
    /// Asked whether the database of blocks holds what its owner noted with [`Store::mark`]; one
    /// that does not is damaged. `None`: nobody is asked.
    pub chain_check: Option<ChainCheck>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            volume_bytes: 32 * 1024 * 1024,
            open_volumes_max: 1,
            reserve_bytes: 64 * 1024 * 1024,
            opener: Arc::new(SledOpener),
            chain_check: None,
        }
    }
}

/// Something moved or copied aside because it was damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// What it was: `index`, `chain`, `volumes/<n>`.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether the directory was made new.
    pub created: bool,
    /// Databases that did not open and were replaced by empty ones, and copies of those whose
    /// damaged end was cut off.
    pub quarantined: Vec<Quarantined>,
}

/// What reading everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fsck {
    /// `index` and `chain`.
    pub databases: Vec<(String, ScrubReport)>,
    /// Every volume, ascending.
    pub volumes: Vec<(VolumeId, ScrubReport)>,
}

impl Fsck {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.databases.iter().all(|(_, report)| report.is_clean())
            && self.volumes.iter().all(|(_, report)| report.is_clean())
    }
}

/// An open data directory; the lock goes when it is dropped.
pub struct DataDir {
    path: PathBuf,
    index: Arc<Framed>,
    chain: Arc<Framed>,
    volumes: Arc<Volumes>,
    chain_database: ChainDatabase,
    // Last, so that it is released after the databases are closed.
    _lock: File,
}

impl DataDir {
    /// Opens the directory, making it when absent. Damage does not keep it from opening: what
    /// cannot be read is moved to `quarantine/`, reported, and replaced by an empty database.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::VersionNewer`], [`StoreError::ReadOnly`],
    /// [`StoreError::Full`], or what else the operating system refuses.
    pub fn open(path: &Path, options: Options) -> Result<(DataDir, OpenReport), StoreError> {
        let mut report = OpenReport::default();
        make_dir(path)?;
        let lock = take_lock(path)?;
        let room = Room { path: path.into(), reserve_bytes: options.reserve_bytes };
        // A full disk keeps nobody from reading: each write is checked. Only a new directory needs
        // room at once.
        match path.join(VERSION).exists() {
            true => room.for_opening()?,
            false => room.check(0)?,
        }
        report.created = check_version(path)?;
        for name in [INDEX, CHAIN, VOLUMES, KEYS, QUARANTINE] {
            make_dir(&path.join(name))?;
        }
        sync_dir(path)?;
        let opener = options.opener.as_ref();
        let engine =
            open_or_replace(path, INDEX, Use::KeyValueWatched, &room, opener, &mut report)?;
        let index = Arc::new(Framed::new(INDEX, engine).with_room(room.clone()));
        let chain_database = ChainDatabase {
            path: path.into(),
            room: room.clone(),
            opener: Arc::clone(&options.opener),
            check: options.chain_check,
        };
        let engine = chain_database.open_or_replace(&mut report.quarantined)?;
        let chain = Framed::new(CHAIN, engine)
            .with_room(room.clone())
            .with_watermark(chain_database.watermark());
        let chain = Arc::new(chain);
        let settings = Settings {
            root: path.join(VOLUMES),
            quarantine: path.join(QUARANTINE),
            volume_bytes: options.volume_bytes,
            open_max: options.open_volumes_max.max(1),
            reserve_bytes: options.reserve_bytes,
        };
        let (volumes, opened) = Volumes::open(settings, Arc::clone(&options.opener))?;
        report.quarantined.extend(opened.quarantined);
        ballast::set(path, room.reserve_bytes);
        let (path, volumes) = (path.into(), Arc::new(volumes));
        let data = DataDir { path, index, chain, volumes, chain_database, _lock: lock };
        Ok((data, report))
    }

    /// Whether there is a data directory at `path`, of whatever version.
    ///
    /// # Errors
    /// When the operating system does not let look.
    pub fn is_at(path: &Path) -> Result<bool, StoreError> {
        let file_path = path.join(VERSION);
        match fs::symlink_metadata(&file_path) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(false),
                _ => Err(StoreError::io("look at", &file_path, error)),
            },
        }
    }

    /// Sessions, chunk headers, settings, users, audit.
    pub fn index(&self) -> Arc<dyn Store> {
        self.index.clone()
    }

    /// Whether acknowledged writes of the index were missing when it was opened.
    pub fn index_was_cut(&self) -> bool {
        self.index.was_cut()
    }

    /// Blocks.
    pub fn chain(&self) -> Arc<dyn Store> {
        self.chain.clone()
    }

    /// Closes the database of blocks and opens it anew, for whoever cannot go on with it: after a
    /// failed sync nobody knows what of it is on the disk. Whoever uses it meanwhile waits.
    ///
    /// # Errors
    /// When it does not open, or not with all that was durable in it; it is closed then, and may be
    /// tried again.
    pub fn reopen_chain(&self) -> Result<(), StoreError> {
        self.chain.reopen(|| self.chain_database.open())
    }

    /// Sealed pieces.
    pub fn volumes(&self) -> Arc<Volumes> {
        self.volumes.clone()
    }

    /// The directory for keys, mode 0700. This crate neither writes nor exports anything there.
    pub fn keys_dir(&self) -> PathBuf {
        self.path.join(KEYS)
    }

    /// Where this data directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The two key-value databases with their names.
    pub(crate) fn databases(&self) -> [(&'static str, &Framed); 2] {
        [(INDEX, &self.index), (CHAIN, &self.chain)]
    }

    /// Bytes that may still be written before the reserve is reached.
    ///
    /// # Errors
    /// When the file system does not tell.
    pub fn available_bytes(&self) -> Result<u64, StoreError> {
        crate::framed::available(&self.path)
    }

    /// Reads and verifies everything; changes nothing. `progress` hears what comes next.
    ///
    /// # Errors
    /// Only when the machine fails; damage is in the report.
    pub fn fsck(&self, mut progress: impl FnMut(&str)) -> Result<Fsck, StoreError> {
        let mut fsck = Fsck::default();
        for (name, database) in self.databases() {
            progress(name);
            fsck.databases.push((name.into(), database.scrub()?));
        }
        for volume in self.volumes.ids() {
            progress(&format!("{VOLUMES}/{volume}"));
            match self.volumes.scrub(volume) {
                // Removed by retention since the list was made.
                Err(StoreError::UnknownVolume { .. }) => {}
                report => fsck.volumes.push((volume, report?)),
            }
        }
        Ok(fsck)
    }

    /// Moves a damaged record of `index` or `chain` into a file in `quarantine/`, so that its key
    /// can be written again. Returns the file; `None` when the record is gone or not damaged.
    ///
    /// # Errors
    /// When the record cannot be read even raw, or the file not written; the record stays.
    pub fn quarantine_record(
        &self,
        database: &str,
        key: &[u8],
    ) -> Result<Option<PathBuf>, StoreError> {
        let found = self.databases().into_iter().find(|(name, _)| *name == database);
        let Some((name, store)) = found else { return Ok(None) };
        match store.get(key) {
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(None),
        }
        let Some(bytes) = store.raw(key)? else { return Ok(None) };
        let quarantine = self.path.join(QUARANTINE);
        let place = free_place(&quarantine, &format!("{name}-record"))?;
        let mut content = Vec::with_capacity(key.len() + bytes.len() + 2);
        content.extend_from_slice(&(key.len() as u16).to_be_bytes());
        content.extend_from_slice(key);
        content.extend_from_slice(&bytes);
        write_durably(&quarantine, &place, &content)?;
        let mut batch = Batch::new();
        batch.delete(key);
        store.apply(batch)?;
        store.flush()?;
        Ok(Some(place))
    }
}

pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let result = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    result.map_err(|e| StoreError::io("create", path, e))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

fn take_lock(path: &Path) -> Result<File, StoreError> {
    let file_path = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file_path)
        .map_err(|e| StoreError::io("open", &file_path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let read =
                Read::by_ref(&mut file).take(SMALL_FILE_BYTES_MAX).read_to_string(&mut holder);
            let known = read.is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "unknown".into() };
            return Err(StoreError::InUse { path: path.into(), holder });
        }
        Err(error) => return Err(StoreError::io("lock", &file_path, error.into())),
    }
    let write = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    match write.map_err(|e| StoreError::io("write", &file_path, e)) {
        // The lock holds without its holder's name.
        Ok(()) | Err(StoreError::Full { .. }) => Ok(file),
        Err(error) => Err(error),
    }
}

/// Writes the version file of a new directory, or checks that of an old one. Says whether it was
/// new.
fn check_version(path: &Path) -> Result<bool, StoreError> {
    let file_path = path.join(VERSION);
    let unreadable = |problem| StoreError::VersionUnreadable { path: path.into(), problem };
    let mut text = String::new();
    match File::open(&file_path).map(|file| file.take(SMALL_FILE_BYTES_MAX)) {
        Ok(mut file) => {
            file.read_to_string(&mut text).map_err(|_| unreadable("cannot be read as text"))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if [INDEX, CHAIN, VOLUMES].iter().any(|name| path.join(name).exists()) {
                return Err(unreadable("is missing beside databases"));
            }
            write_durably(path, &file_path, format!("{DATA_VERSION}\n").as_bytes())?;
            return Ok(true);
        }
        Err(error) => return Err(StoreError::io("open", &file_path, error)),
    }
    let found = text.trim().parse().map_err(|_| unreadable("does not hold a number"))?;
    if found > DATA_VERSION {
        return Err(StoreError::VersionNewer { path: path.into(), found, known: DATA_VERSION });
    }
    if found == 0 {
        return Err(unreadable("holds 0, versions begin at 1"));
    }
    Ok(false)
}

/// Temporary file, sync, rename, sync of the directory.
pub(crate) fn write_durably(dir: &Path, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let result = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    result.map_err(|e| StoreError::io("write", path, e))?;
    sync_dir(dir)
}

fn open_or_replace(
    path: &Path,
    name: &str,
    purpose: Use,
    room: &Room,
    opener: &dyn Opener,
    report: &mut OpenReport,
) -> Result<Arc<dyn crate::engine::Engine>, StoreError> {
    let dir = path.join(name);
    match opener.open(&dir, name, purpose) {
        Err(error) if error.is_damage() => {
            // An engine without room gives up in ways that look like damage.
            room.check(0)?;
            let place = free_place(&path.join(QUARANTINE), name)?;
            fs::rename(&dir, &place).map_err(|e| StoreError::io("move", &dir, e))?;
            opener.moved(&dir, Some(&place));
            make_dir(&dir)?;
            sync_dir(&path.join(QUARANTINE))?;
            let quarantined = place.display();
            tracing::error!(database = name, %quarantined, %error, "replaced by an empty one");
            report.quarantined.push(Quarantined {
                name: name.into(),
                path: place,
                reason: error.to_string(),
            });
            opener.open(&dir, name, purpose)
        }
        Ok(engine) => {
            if let Some(cut) = engine.cut() {
                let place = format!("{name}-cut");
                report.quarantined.push(keep_cut(
                    &path.join(QUARANTINE),
                    name,
                    &place,
                    &cut,
                    &dir,
                )?);
            }
            Ok(engine)
        }
        result => result,
    }
}

/// Puts the copy of a database that was cut into quarantine, under a name that begins with `place`.
pub(crate) fn keep_cut(
    quarantine: &Path,
    name: &str,
    place: &str,
    cut: &Cut,
    dir: &Path,
) -> Result<Quarantined, StoreError> {
    let mut reason = cut.reason();
    let path = match &cut.copy {
        Some(copy) => {
            let path = free_place(quarantine, place)?;
            fs::rename(copy, &path).map_err(|e| StoreError::io("move", copy, e))?;
            sync_files(&path)?;
            sync_dir(quarantine)?;
            path
        }
        None => {
            reason.push_str("; it was too long to be copied before that");
            dir.into()
        }
    };
    tracing::error!(database = name, quarantined = %path.display(), reason, "damaged");
    Ok(Quarantined { name: name.into(), path, reason })
}
