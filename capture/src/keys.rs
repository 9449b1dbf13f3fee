//! Keys on this device: the device key, and for each session its secret and its signing key.
//!
//! Session keys lie in files of their own, one a session, not in a database: a log-structured
//! database keeps old versions of what was deleted, a file can be overwritten and removed. A flash
//! card may still hold the old block until it is reused, so a session file is also encrypted under
//! a key that is derived from the device key.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::{SessionId, SigningKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The version of the files written here.
const FILE_VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Session secret, signing seed, and whether the seed is still there.
const SESSION_PLAIN_BYTES: usize = 65;
const SESSION_FILE_BYTES: usize = 1 + NONCE_BYTES + SESSION_PLAIN_BYTES + TAG_BYTES;
const DEVICE_FILE_BYTES: usize = 1 + 32 + 16;
const WRAP_CONTEXT: &str = "lucid 2026-11 session key wrap v1";
const DEVICE_FILE: &str = "device.key";

/// What can go wrong with keys. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A file that is not what was written there.
    #[error("key file {} is damaged: {problem}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], KeyStoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyStoreError::Random(error.to_string()))?;
    Ok(bytes)
}

/// The keys of a session.
#[derive(Debug)]
pub struct SessionKeys {
    /// Opens and seals its chunks.
    pub secret: SessionSecret,
    /// Signs its checkpoints; gone once the session has ended.
    pub signer: Option<SigningKey>,
}

/// The device key and the directory of session keys.
#[derive(Debug)]
pub struct KeyStore {
    dir: PathBuf,
    device: SigningKey,
}

impl KeyStore {
    /// Opens the keys in `dir`, making the directory and the device key where they are missing.
    pub fn open(dir: &Path) -> Result<Self, KeyStoreError> {
        fs::create_dir_all(dir).map_err(|source| failed("create", dir, source))?;
        let path = dir.join(DEVICE_FILE);
        let device = match read_limited(&path, DEVICE_FILE_BYTES)? {
            Some(bytes) => read_device(&path, &bytes)?,
            None => {
                let seed = Zeroizing::new(random::<32>()?);
                let mut bytes = Zeroizing::new(vec![FILE_VERSION]);
                bytes.extend_from_slice(&*seed);
                let check = blake3::hash(&bytes);
                bytes.extend_from_slice(&check.as_bytes()[..16]);
                write_whole(&path, &bytes)?;
                SigningKey::from_seed(&seed)
            }
        };
        Ok(KeyStore { dir: dir.into(), device })
    }

    /// The device key, which signs manifests.
    pub fn device(&self) -> &SigningKey {
        &self.device
    }

    /// Makes and stores fresh keys for a session.
    pub fn create(&self, session: SessionId) -> Result<SessionKeys, KeyStoreError> {
        let secret = SessionSecret::from_bytes(random()?);
        let seed = Zeroizing::new(random::<32>()?);
        self.write(session, &secret, Some(&seed))?;
        Ok(SessionKeys { secret, signer: Some(SigningKey::from_seed(&seed)) })
    }

    /// The keys of a session; none if they were destroyed or never were.
    pub fn load(&self, session: SessionId) -> Result<Option<SessionKeys>, KeyStoreError> {
        let path = self.path(session);
        let Some(file) = read_limited(&path, SESSION_FILE_BYTES)? else { return Ok(None) };
        let damaged = |problem| KeyStoreError::Damaged { path: path.clone(), problem };
        if file.len() != SESSION_FILE_BYTES {
            return Err(damaged("wrong length"));
        }
        if file[0] != FILE_VERSION {
            return Err(damaged("unknown version"));
        }
        let (nonce, sealed) = file[1..].split_at(NONCE_BYTES);
        let nonce = XNonce::try_from(nonce).map_err(|_| damaged("wrong length"))?;
        let payload = Payload { msg: sealed, aad: session.as_bytes() };
        let plain = self.cipher().decrypt(&nonce, payload).map(Zeroizing::new);
        let plain = plain.map_err(|_| damaged("it does not authenticate"))?;
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(&plain[..32]);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&plain[32..64]);
        let signer = (plain[64] == 1).then(|| SigningKey::from_seed(&seed));
        Ok(Some(SessionKeys { secret: SessionSecret::from_bytes(*secret), signer }))
    }

    /// The sessions whose keys are there, ascending.
    pub fn sessions(&self) -> Result<Vec<SessionId>, KeyStoreError> {
        let list = |source| failed("list", &self.dir, source);
        let mut sessions = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(list)? {
            let name = entry.map_err(list)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".key"));
            sessions.extend(id.and_then(|id| id.parse::<SessionId>().ok()));
        }
        sessions.sort_unstable();
        Ok(sessions)
    }

    /// Forgets a session's signing key: nothing more can be said in its name.
    pub fn retire_signer(&self, session: SessionId) -> Result<(), KeyStoreError> {
        match self.load(session)? {
            Some(SessionKeys { secret, signer: Some(_) }) => {
                // Held open, so that what the rename leaves behind can be overwritten after it, and
                // at no moment is there a file without the secret: the recording opens with it.
                let path = self.path(session);
                let old = OpenOptions::new().write(true).open(&path);
                let old = old.map_err(|source| failed("open", &path, source))?;
                self.write(session, &secret, None)?;
                overwrite(&old, &path)
            }
            _ => Ok(()),
        }
    }

    /// Destroys a session's keys: what it recorded can never be opened again.
    pub fn destroy(&self, session: SessionId) -> Result<(), KeyStoreError> {
        let path = self.path(session);
        if !path.exists() {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).open(&path);
        overwrite(&file.map_err(|source| failed("open", &path, source))?, &path)?;
        fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        sync_dir(&self.dir)
    }

    fn write(
        &self,
        session: SessionId,
        secret: &SessionSecret,
        seed: Option<&[u8; 32]>,
    ) -> Result<(), KeyStoreError> {
        let mut plain = Zeroizing::new([0; SESSION_PLAIN_BYTES]);
        plain[..32].copy_from_slice(secret.expose());
        if let Some(seed) = seed {
            plain[32..64].copy_from_slice(seed);
            plain[64] = 1;
        }
        let nonce = random::<NONCE_BYTES>()?;
        let path = self.path(session);
        let payload = Payload { msg: &plain[..], aad: session.as_bytes() };
        let sealed = self.cipher().encrypt(&nonce.into(), payload).map_err(|_| {
            KeyStoreError::Damaged { path: path.clone(), problem: "cannot be sealed" }
        })?;
        write_whole(&path, &[&[FILE_VERSION][..], &nonce, &sealed].concat())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(blake3::derive_key(WRAP_CONTEXT, &*self.device.seed()));
        XChaCha20Poly1305::new(&Key::from(*key))
    }

    fn path(&self, session: SessionId) -> PathBuf {
        self.dir.join(format!("{session}.key"))
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.into(), source }
}

/// Makes a session's file unreadable in place, which erases it on ordinary disks.
fn overwrite(mut file: &File, path: &Path) -> Result<(), KeyStoreError> {
    let noise = random::<SESSION_FILE_BYTES>()?;
    file.rewind()
        .and_then(|()| file.write_all(&noise))
        .and_then(|()| file.sync_all())
        .map_err(|source| failed("overwrite", path, source))
}

fn read_device(path: &Path, bytes: &[u8]) -> Result<SigningKey, KeyStoreError> {
    let damaged = |problem| KeyStoreError::Damaged { path: path.into(), problem };
    if bytes.len() != DEVICE_FILE_BYTES {
        return Err(damaged("wrong length"));
    }
    if bytes[0] != FILE_VERSION {
        return Err(damaged("unknown version"));
    }
    if blake3::hash(&bytes[..33]).as_bytes()[..16] != bytes[33..] {
        return Err(damaged("wrong checksum"));
    }
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&bytes[1..33]);
    Ok(SigningKey::from_seed(&seed))
}

/// The file's bytes, at most one more than `limit`; none if there is no file.
fn read_limited(path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path, error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| failed("read", path, source))?;
    Ok(Some(bytes))
}

/// Writes a file so that after a power cut either the old or the new one is there: temporary file,
/// sync, rename, sync of the directory. Readable by this user alone.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| failed("write", path, source))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn sync_dir(dir: &Path) -> Result<(), KeyStoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| failed("sync", dir, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_go_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId::new(1, [1; 10]);
        let store = KeyStore::open(dir.path()).unwrap();
        let made = store.create(session).unwrap();
        let again = KeyStore::open(dir.path()).unwrap();
        assert_eq!(again.device().public(), store.device().public());
        let loaded = again.load(session).unwrap().unwrap();
        assert_eq!(loaded.secret.expose(), made.secret.expose());
        assert_eq!(loaded.signer.unwrap().public(), made.signer.unwrap().public());
        again.retire_signer(session).unwrap();
        let retired = again.load(session).unwrap().unwrap();
        assert!(retired.signer.is_none());
        assert_eq!(retired.secret.expose(), made.secret.expose());
        again.destroy(session).unwrap();
        assert!(again.load(session).unwrap().is_none());
        again.destroy(session).unwrap();
    }

    #[test]
    fn a_retired_signer_is_erased_only_once_the_secret_is_safe() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId::new(1, [1; 10]);
        let store = KeyStore::open(dir.path()).unwrap();
        let made = store.create(session).unwrap();
        let before = fs::read(store.path(session)).unwrap();
        let mut old = File::open(store.path(session)).unwrap();
        // The new file cannot be written: nothing may have happened to the old one.
        let in_the_way = store.path(session).with_extension("new");
        fs::create_dir(&in_the_way).unwrap();
        store.retire_signer(session).unwrap_err();
        assert_eq!(fs::read(store.path(session)).unwrap(), before);
        fs::remove_dir(&in_the_way).unwrap();
        store.retire_signer(session).unwrap();
        let kept = store.load(session).unwrap().unwrap();
        assert_eq!(kept.secret.expose(), made.secret.expose());
        let mut left = Vec::new();
        old.read_to_end(&mut left).unwrap();
        assert!(left.len() == before.len() && left != before);
    }

    #[test]
    fn neither_secret_nor_seed_stands_in_the_file_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId::new(1, [1; 10]);
        let store = KeyStore::open(dir.path()).unwrap();
        let keys = store.create(session).unwrap();
        let path = dir.path().join(format!("{session}.key"));
        let mut bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|window| window == keys.secret.expose()));
        bytes[40] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(store.load(session), Err(KeyStoreError::Damaged { .. })));
        fs::write(&path, b"short").unwrap();
        assert!(matches!(store.load(session), Err(KeyStoreError::Damaged { .. })));
        fs::write(dir.path().join(DEVICE_FILE), [1; 49]).unwrap();
        assert!(matches!(KeyStore::open(dir.path()), Err(KeyStoreError::Damaged { .. })));
    }

    #[test]
    fn a_file_of_another_session_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(dir.path()).unwrap();
        let (a, b) = (SessionId::new(1, [1; 10]), SessionId::new(2, [2; 10]));
        store.create(a).unwrap();
        fs::copy(store.path(a), store.path(b)).unwrap();
        assert!(matches!(store.load(b), Err(KeyStoreError::Damaged { .. })));
    }
}
