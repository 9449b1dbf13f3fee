//! The directory of wallets. One process at a time holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::backup::{self, BackupError, MAX_WALLETS};
use super::file::{self, FileError};
use super::random::{self, Random, RandomError};
use super::record::{Name, Record, RecordError, Secret, Wallet, WalletId, WordCount};
use super::seal::{self, Cost, Purpose, SealError, Unlock};
use crate::tron::Address;
use crate::tron::key::PrivateKey;
use crate::tron::mnemonic;

const KEYRING: &str = "keyring";
const LOCK: &str = "lock";
const EXTENSION: &str = "wallet";

/// Why a wallet cannot be had, made or changed. Never repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory cannot be listed or locked.
    #[error("cannot use the wallet directory {}", path.display())]
    Directory {
        /// The directory or its lock.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    Busy(PathBuf),
    /// Made before.
    #[error("{} already has a keyring", .0.display())]
    Exists(PathBuf),
    /// Not made yet.
    #[error("{} has no keyring; make wallets there first", .0.display())]
    Missing(PathBuf),
    /// A sealed file does not open.
    #[error("{} does not open", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: SealError,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A file opened and holds no wallet, or another than its name says.
    #[error("{} does not hold the wallet it should", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: RecordError,
    },
    /// What was given is no wallet.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No such wallet.
    #[error("there is no wallet {0}")]
    Unknown(WalletId),
    /// Two wallets would look alike.
    #[error("a wallet is already called {0:?}")]
    NameTaken(String),
    /// The key or address is here.
    #[error("address {address} is already here, as {name:?}")]
    AddressTaken {
        /// The address.
        address: Address,
        /// The wallet that has it.
        name: String,
    },
    /// There is nothing to sign with.
    #[error("{0:?} is watch-only: its key is elsewhere")]
    WatchOnly(String),
    /// Put aside.
    #[error("{0:?} is archived and signs nothing")]
    Archived(String),
    /// No room.
    #[error("a directory holds at most {MAX_WALLETS} wallets")]
    Full,
}

/// All wallets, and the files that are none.
#[derive(Debug, Default)]
pub struct Listing {
    /// Wallets by name.
    pub wallets: Vec<Wallet>,
    /// One error per file that does not open.
    pub damaged: Vec<WalletError>,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Wallets written.
    pub added: usize,
    /// Wallets that were here, with the same id; left as they are.
    pub present: usize,
}

/// An open directory of wallets.
#[derive(Debug)]
pub struct Wallets {
    path: PathBuf,
    master: Unlock,
    /// Held until dropped.
    _lock: File,
}

/// The key of a directory that is not held: commands and the running process take turns.
#[derive(Debug, Clone)]
pub struct Keyring {
    path: PathBuf,
    master: Unlock,
}

impl Keyring {
    /// Opens the directory without asking for the passphrase again.
    ///
    /// # Errors
    /// [`WalletError::Busy`] while another process has it.
    pub fn open(&self) -> Result<Wallets, WalletError> {
        let lock = lock(&self.path)?;
        Ok(Wallets { path: self.path.clone(), master: self.master.clone(), _lock: lock })
    }
}

impl Wallets {
    /// Lets the directory go and keeps what opens it.
    pub fn close(self) -> Keyring {
        Keyring { path: self.path, master: self.master }
    }

    /// Makes a directory, whose parent exists, with a new keyring.
    ///
    /// # Errors
    /// When there is a keyring, the passphrase is too short, or from the disk.
    pub fn create(
        path: &Path,
        unlock: &Unlock,
        cost: Cost,
        random: &mut dyn Random,
    ) -> Result<Self, WalletError> {
        file::private_directory(path)?;
        let lock = lock(path)?;
        let keyring = path.join(KEYRING);
        if file::read(&keyring)?.is_some() {
            return Err(WalletError::Exists(path.to_owned()));
        }
        let master = random::array::<32>(random)?;
        file::write(&keyring, &seal::seal(Purpose::Keyring, unlock, cost, &master[..], random)?)?;
        Ok(Self { path: path.to_owned(), master: Unlock::Key(master), _lock: lock })
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// When there is none, another process has it, or `unlock` does not open it.
    pub fn open(path: &Path, unlock: &Unlock) -> Result<Self, WalletError> {
        if !path.join(KEYRING).exists() {
            return Err(WalletError::Missing(path.to_owned()));
        }
        file::private_directory(path)?;
        let lock = lock(path)?;
        let master = master(path, unlock)?;
        Ok(Self { path: path.to_owned(), master, _lock: lock })
    }

    /// All wallets. A damaged file hides no other.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Listing, WalletError> {
        let mut listing = Listing::default();
        for id in self.ids()? {
            match self.record(id) {
                Ok(record) => listing.wallets.push(record.wallet),
                Err(error) => listing.damaged.push(error),
            }
        }
        listing.wallets.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        Ok(listing)
    }

    /// Makes a hot wallet of new recovery words, at m/44'/195'/0'/0/0.
    ///
    /// # Errors
    /// When the name is taken, there is no randomness, or from the disk.
    pub fn create_wallet(
        &self,
        name: Name,
        words: WordCount,
        now_s: u64,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        let entropy = random::array::<32>(random)?;
        let used = match words {
            WordCount::Twelve => &entropy[..16],
            WordCount::TwentyFour => &entropy[..],
        };
        let phrase = mnemonic::from_entropy(used).map_err(RecordError::from)?;
        self.import(name, Secret::words(&phrase, "", 0, 0)?, now_s, random)
    }

    /// Takes in a key or words from elsewhere.
    ///
    /// # Errors
    /// When the secret is none or here already, the name is taken, or from the disk.
    pub fn import(
        &self,
        name: Name,
        secret: Secret,
        now_s: u64,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        let key = secret.private_key()?.ok_or(RecordError::Malformed)?;
        self.add(name, key.address(), secret, now_s, random)
    }

    /// Watches an address whose key is elsewhere.
    ///
    /// # Errors
    /// When the address or name is here, or from the disk.
    pub fn watch(
        &self,
        name: Name,
        address: Address,
        now_s: u64,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        self.add(name, address, Secret::None, now_s, random)
    }

    /// Watches the address that a Ledger has at a path.
    ///
    /// # Errors
    /// When the path is none, the address or name is here, or from the disk.
    pub fn ledger(
        &self,
        name: Name,
        address: Address,
        path: &str,
        now_s: u64,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        self.add(name, address, Secret::ledger(path)?, now_s, random)
    }

    /// Gives a wallet another name.
    ///
    /// # Errors
    /// When the name is another wallet's, there is no such wallet, or from the disk.
    pub fn rename(
        &self,
        id: WalletId,
        name: Name,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        let mut record = self.record(id)?;
        self.refuse_name(&name, Some(id))?;
        record.wallet.name = name;
        self.write(&record, random)?;
        Ok(record.wallet)
    }

    /// Puts a wallet aside or takes it back. Nothing is deleted: money may still arrive there.
    ///
    /// # Errors
    /// When there is no such wallet, or from the disk.
    pub fn set_archived(
        &self,
        id: WalletId,
        archived: bool,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        let mut record = self.record(id)?;
        record.wallet.archived = archived;
        self.write(&record, random)?;
        Ok(record.wallet)
    }

    /// The key that signs for a wallet.
    ///
    /// # Errors
    /// When it is watch-only, archived, unknown or damaged.
    pub fn signer(&self, id: WalletId) -> Result<PrivateKey, WalletError> {
        let record = self.record(id)?;
        let name = || record.wallet.name.to_string();
        if record.wallet.archived {
            return Err(WalletError::Archived(name()));
        }
        record.private_key()?.ok_or_else(|| WalletError::WatchOnly(name()))
    }

    /// Hands out a secret to whoever shows the passphrase or key of the directory again.
    ///
    /// # Errors
    /// When `again` is wrong, or the wallet is watch-only, unknown or damaged.
    pub fn export(&self, id: WalletId, again: &Unlock) -> Result<Secret, WalletError> {
        master(&self.path, again)?;
        let record = self.record(id)?;
        if !record.wallet.kind.signs() {
            return Err(WalletError::WatchOnly(record.wallet.name.to_string()));
        }
        record.private_key()?;
        Ok(record.secret)
    }

    /// Puts another passphrase or key in place of the present one. Older copies of the keyring
    /// still open with the old one.
    ///
    /// # Errors
    /// When `old` is wrong, `new` is too short, or from the disk.
    pub fn change_unlock(
        &self,
        old: &Unlock,
        new: &Unlock,
        cost: Cost,
        random: &mut dyn Random,
    ) -> Result<(), WalletError> {
        let Unlock::Key(master) = master(&self.path, old)? else {
            return Err(SealError::Damaged.into());
        };
        let sealed = seal::seal(Purpose::Keyring, new, cost, &master[..], random)?;
        Ok(file::write(&self.path.join(KEYRING), &sealed)?)
    }

    /// All wallets as one file under its own passphrase, for whoever shows that of the directory.
    ///
    /// # Errors
    /// When `again` is wrong or any wallet is damaged: a backup that lacks one would be a trap.
    pub fn backup(
        &self,
        again: &Unlock,
        passphrase: &str,
        cost: Cost,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, WalletError> {
        master(&self.path, again)?;
        let ids = self.ids()?.into_iter();
        let mut records = ids.map(|id| self.record(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(backup::write(&mut records, &Unlock::passphrase(passphrase), cost, random)?)
    }

    /// Takes in the wallets of a backup that are not here. All are checked before one is written;
    /// after a crash between two of them the same call finishes the rest.
    ///
    /// # Errors
    /// When the backup does not open, or a name or address in it is another wallet's here.
    pub fn restore(
        &self,
        sealed: &[u8],
        passphrase: &str,
        random: &mut dyn Random,
    ) -> Result<Restored, WalletError> {
        let ids = self.ids()?;
        let records = backup::read(sealed, &Unlock::passphrase(passphrase))?;
        let total = records.len();
        let new: Vec<_> =
            records.into_iter().filter(|record| !ids.contains(&record.wallet.id)).collect();
        if ids.len() + new.len() > MAX_WALLETS {
            return Err(WalletError::Full);
        }
        let here = self.list()?.wallets;
        for record in &new {
            refuse_name(&here, &record.wallet.name, None)?;
            refuse_address(&here, &record.wallet)?;
        }
        for record in &new {
            self.write(record, random)?;
        }
        Ok(Restored { added: new.len(), present: total - new.len() })
    }

    fn add(
        &self,
        name: Name,
        address: Address,
        secret: Secret,
        created_s: u64,
        random: &mut dyn Random,
    ) -> Result<Wallet, WalletError> {
        if self.ids()?.len() >= MAX_WALLETS {
            return Err(WalletError::Full);
        }
        let id = WalletId(*random::array::<16>(random)?);
        let kind = secret.kind();
        let path = secret.path();
        let wallet = Wallet { id, name, kind, address, created_s, archived: false, path };
        let here = self.list()?.wallets;
        refuse_name(&here, &wallet.name, None)?;
        refuse_address(&here, &wallet)?;
        let record = Record { wallet, secret };
        self.write(&record, random)?;
        Ok(record.wallet)
    }

    fn refuse_name(&self, name: &Name, except: Option<WalletId>) -> Result<(), WalletError> {
        refuse_name(&self.list()?.wallets, name, except)
    }

    fn file(&self, id: WalletId) -> PathBuf {
        self.path.join(id.to_string()).with_extension(EXTENSION)
    }

    fn write(&self, record: &Record, random: &mut dyn Random) -> Result<(), WalletError> {
        let plain = record.encode()?;
        // The cost is for passphrases; the master key needs none.
        let sealed = seal::seal(Purpose::Wallet, &self.master, Cost::STANDARD, &plain, random)?;
        Ok(file::write(&self.file(record.wallet.id), &sealed)?)
    }

    fn record(&self, id: WalletId) -> Result<Record, WalletError> {
        let path = self.file(id);
        let sealed = file::read(&path)?.ok_or(WalletError::Unknown(id))?;
        let plain = seal::open(Purpose::Wallet, &self.master, &sealed)
            .map_err(|source| WalletError::Sealed { path: path.clone(), source })?;
        match Record::decode(&plain) {
            Ok(record) if record.wallet.id == id => Ok(record),
            Ok(_) => Err(WalletError::Contents { path, source: RecordError::Id }),
            Err(source) => Err(WalletError::Contents { path, source }),
        }
    }

    fn ids(&self) -> Result<Vec<WalletId>, WalletError> {
        let broken = |source| WalletError::Directory { path: self.path.clone(), source };
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            let ours = path.extension().is_some_and(|extension| extension == EXTENSION);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| ours);
            ids.extend(stem.and_then(|stem| stem.parse::<WalletId>().ok()));
        }
        ids.sort();
        Ok(ids)
    }
}

fn refuse_name(here: &[Wallet], name: &Name, except: Option<WalletId>) -> Result<(), WalletError> {
    let taken = |wallet: &&Wallet| Some(wallet.id) != except && wallet.name.resembles(name);
    match here.iter().find(taken) {
        Some(wallet) => Err(WalletError::NameTaken(wallet.name.to_string())),
        None => Ok(()),
    }
}

/// A key may join the wallet that watches its address; nothing else is here twice.
fn refuse_address(here: &[Wallet], new: &Wallet) -> Result<(), WalletError> {
    let signs = |wallet: &Wallet| wallet.kind.signs();
    let twice = |old: &&Wallet| old.address == new.address && (signs(old) || !signs(new));
    match here.iter().find(twice) {
        Some(old) => {
            let name = old.name.to_string();
            Err(WalletError::AddressTaken { address: new.address, name })
        }
        None => Ok(()),
    }
}

fn master(path: &Path, unlock: &Unlock) -> Result<Unlock, WalletError> {
    let keyring = path.join(KEYRING);
    let sealed = file::read(&keyring)?.ok_or_else(|| WalletError::Missing(path.to_owned()))?;
    let refused = |source| WalletError::Sealed { path: keyring.clone(), source };
    let bytes = seal::open(Purpose::Keyring, unlock, &sealed).map_err(refused)?;
    let key = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| refused(SealError::Damaged))?;
    Ok(Unlock::key(key))
}

fn lock(path: &Path) -> Result<File, WalletError> {
    let path = path.join(LOCK);
    let broken = |source| WalletError::Directory { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(broken)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalletError::Busy(path)),
        Err(TryLockError::Error(source)) => Err(broken(source)),
    }
}
