//! What a wallet file holds, as bytes: who the wallet is and what signs for it.
//!
//! One byte of version (1), 16 of id, one of kind, one of "archived", 8 of creation time, 21 of
//! address, 4 of account, 4 of index, then name, secret and BIP-39 passphrase, each after its
//! length in 2 bytes. Numbers are big-endian; what a kind does not use is zero or empty. A Ledger's
//! path stands where other kinds have their secret.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::tron::Address;
use crate::tron::hex;
use crate::tron::key::{self, KeyError, PrivateKey};
use crate::tron::mnemonic::{self, MnemonicError};

const VERSION: u8 = 1;
/// Most characters of a name.
pub const MAX_NAME_CHARS: usize = 64;
/// Most bytes of a BIP-39 passphrase.
pub const MAX_WORDS_PASSPHRASE_BYTES: usize = 256;
/// Largest record (bytes): 24 words of 8 letters, the longest name and passphrase, and the rest.
pub const MAX_RECORD_BYTES: usize = 1024;

/// Why something is not a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Empty, too long, or with what cannot be seen.
    #[error("a name has 1 to {MAX_NAME_CHARS} visible characters and no space at either end")]
    Name,
    /// Not 32 digits.
    #[error("a wallet's id is 32 hexadecimal digits")]
    Id,
    /// Longer than this program keeps.
    #[error("a passphrase of recovery words has at most {MAX_WORDS_PASSPHRASE_BYTES} bytes")]
    Passphrase,
    /// The words are none.
    #[error(transparent)]
    Words(#[from] MnemonicError),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Written by a later program.
    #[error("the wallet has version {0}, this program knows version {VERSION}")]
    Version(u8),
    /// Ends early, goes on, or says what no wallet says.
    #[error("the wallet's bytes do not make a wallet")]
    Malformed,
    /// The key signs for somebody else.
    #[error("the key does not belong to the wallet's address {0}")]
    Mismatch(Address),
}

/// Name of a wallet: 1 to 64 characters, all visible, none that turns the direction of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether people would take both for one.
    pub fn resembles(&self, other: &Self) -> bool {
        self.0.to_lowercase() == other.0.to_lowercase()
    }
}

impl FromStr for Name {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let hidden = |c: char| {
            c.is_control()
                || (c.is_whitespace() && c != ' ')
                || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        };
        let length = text.len() <= 4 * MAX_NAME_CHARS
            && (1..=MAX_NAME_CHARS).contains(&text.chars().count());
        if !length || text.trim() != text || text.chars().any(hidden) {
            return Err(RecordError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Random id of a wallet; also its file's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalletId(pub [u8; 16]);

impl fmt::Display for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for WalletId {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let lower = text.len() == 32 && !text.bytes().any(|c| c.is_ascii_uppercase());
        let bytes = lower.then(|| hex::decode(text).ok()).flatten();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(RecordError::Id)
    }
}

/// How many recovery words a new wallet gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordCount {
    /// 128 bits.
    Twelve,
    /// 256 bits.
    TwentyFour,
}

/// What a wallet can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only looks on; the key is elsewhere.
    WatchOnly,
    /// Signs with a key of recovery words.
    Words,
    /// Signs with a single key.
    Key,
    /// A Ledger has the key and signs at the console.
    Ledger,
}

impl Kind {
    /// Whether the key is in the file, so that this program signs by itself.
    pub fn signs(self) -> bool {
        matches!(self, Self::Words | Self::Key)
    }
}

/// What may be shown of a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// Its id.
    pub id: WalletId,
    /// Its name.
    pub name: Name,
    /// What it can do.
    pub kind: Kind,
    /// Its address.
    pub address: Address,
    /// When it came here (seconds since 1970, UTC).
    pub created_s: u64,
    /// Put aside: it stays, and signs nothing.
    pub archived: bool,
    /// Where a Ledger has the key, such as `m/44'/195'/0'/0/0`.
    pub path: Option<String>,
}

/// What signs for a wallet. Never shown by `Debug`.
#[derive(Clone)]
pub enum Secret {
    /// Nothing here.
    None,
    /// Recovery words.
    Words {
        /// The words, one space between.
        phrase: Zeroizing<String>,
        /// Their BIP-39 passphrase, mostly empty.
        passphrase: Zeroizing<String>,
        /// Account of the path.
        account: u32,
        /// Index of the path.
        index: u32,
    },
    /// A key.
    Key(PrivateKey),
    /// Nothing here: a Ledger has the key at this path.
    Ledger(String),
}

impl Secret {
    /// A path of a Ledger, checked.
    ///
    /// # Errors
    /// When it is no path.
    pub fn ledger(path: &str) -> Result<Self, RecordError> {
        key::parse_path(path)?;
        Ok(Self::Ledger(path.to_owned()))
    }

    /// Where a Ledger has the key.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Ledger(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// Checked words.
    ///
    /// # Errors
    /// When they are no words of BIP-39, the passphrase is too long or the path has no key.
    pub fn words(
        phrase: &str,
        passphrase: &str,
        account: u32,
        index: u32,
    ) -> Result<Self, RecordError> {
        if passphrase.len() > MAX_WORDS_PASSPHRASE_BYTES {
            return Err(RecordError::Passphrase);
        }
        let secret = Self::Words {
            phrase: Zeroizing::new(phrase.to_owned()),
            passphrase: Zeroizing::new(passphrase.to_owned()),
            account,
            index,
        };
        secret.private_key()?;
        Ok(secret)
    }

    /// What the secret makes of a wallet.
    pub fn kind(&self) -> Kind {
        match self {
            Self::None => Kind::WatchOnly,
            Self::Words { .. } => Kind::Words,
            Self::Key(_) => Kind::Key,
            Self::Ledger(_) => Kind::Ledger,
        }
    }

    /// The key, if there is one.
    ///
    /// # Errors
    /// When words or path are no key.
    pub fn private_key(&self) -> Result<Option<PrivateKey>, RecordError> {
        match self {
            Self::None | Self::Ledger(_) => Ok(None),
            Self::Key(key) => Ok(Some(key.clone())),
            Self::Words { phrase, passphrase, account, index } => {
                let seed = mnemonic::seed(phrase, passphrase)?;
                let path = key::account_path(*account, *index);
                Ok(Some(PrivateKey::derive(&seed[..], &path)?))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret of kind {:?}", self.kind())
    }
}

/// A wallet with its secret.
#[derive(Debug, Clone)]
pub struct Record {
    /// What may be shown.
    pub wallet: Wallet,
    /// What may not.
    pub secret: Secret,
}

impl Record {
    /// The key that signs for the wallet, checked against its address.
    ///
    /// # Errors
    /// [`RecordError::Mismatch`], or when the secret is no key.
    pub fn private_key(&self) -> Result<Option<PrivateKey>, RecordError> {
        let key = self.secret.private_key()?;
        match key {
            Some(key) if key.address() != self.wallet.address => {
                Err(RecordError::Mismatch(self.wallet.address))
            }
            key => Ok(key),
        }
    }

    /// The bytes. They never grow out of their allocation, which would leave copies behind.
    ///
    /// # Errors
    /// When something is longer than a record may be.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, RecordError> {
        let Wallet { id, name, address, created_s, archived, .. } = &self.wallet;
        let key;
        let (kind, account, index, secret, passphrase): (u8, u32, u32, &[u8], &str) =
            match &self.secret {
                Secret::None => (0, 0, 0, &[], ""),
                Secret::Words { phrase, passphrase, account, index } => {
                    (1, *account, *index, phrase.as_bytes(), passphrase)
                }
                Secret::Key(private) => {
                    key = private.to_bytes();
                    (2, 0, 0, &key[..], "")
                }
                Secret::Ledger(path) => (3, 0, 0, path.as_bytes(), ""),
            };
        let texts = [name.as_str().as_bytes(), secret, passphrase.as_bytes()];
        if texts.iter().map(|text| text.len()).sum::<usize>() > MAX_RECORD_BYTES - 64 {
            return Err(RecordError::Malformed);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_RECORD_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&[kind, u8::from(*archived)]);
        bytes.extend_from_slice(&created_s.to_be_bytes());
        bytes.extend_from_slice(&address.to_bytes());
        bytes.extend_from_slice(&account.to_be_bytes());
        bytes.extend_from_slice(&index.to_be_bytes());
        for text in texts {
            let length = u16::try_from(text.len()).map_err(|_| RecordError::Malformed)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text);
        }
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] writes, and nothing else.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let id = WalletId(take(&mut rest)?);
        let [kind, archived] = take(&mut rest)?;
        let created_s = u64::from_be_bytes(take(&mut rest)?);
        let address =
            Address::from_bytes(&take::<21>(&mut rest)?).map_err(|_| RecordError::Malformed)?;
        let account = u32::from_be_bytes(take(&mut rest)?);
        let index = u32::from_be_bytes(take(&mut rest)?);
        let name = text(&mut rest)?;
        let secret = text(&mut rest)?;
        let passphrase = text(&mut rest)?;
        let name: Name = utf8(name)?.parse()?;
        let plain = (account, index) == (0, 0) && passphrase.is_empty();
        let secret = match kind {
            0 if plain && secret.is_empty() => Secret::None,
            1 if passphrase.len() <= MAX_WORDS_PASSPHRASE_BYTES => Secret::Words {
                phrase: Zeroizing::new(utf8(secret)?.to_owned()),
                passphrase: Zeroizing::new(utf8(passphrase)?.to_owned()),
                account,
                index,
            },
            2 if plain => Secret::Key(PrivateKey::from_bytes(secret)?),
            3 if plain => Secret::ledger(utf8(secret)?)?,
            _ => return Err(RecordError::Malformed),
        };
        if !rest.is_empty() || archived > 1 {
            return Err(RecordError::Malformed);
        }
        let kind = secret.kind();
        let (path, archived) = (secret.path(), archived == 1);
        let wallet = Wallet { id, name, kind, address, created_s, archived, path };
        Ok(Self { wallet, secret })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(RecordError::Malformed)?;
    *rest = tail;
    Ok(*head)
}

fn text<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], RecordError> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (head, tail) = rest.split_at_checked(length).ok_or(RecordError::Malformed)?;
    *rest = tail;
    Ok(head)
}

fn utf8(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed)
}
