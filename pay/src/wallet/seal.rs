//! The envelope of every secret file: AES-256-GCM under a key made of a passphrase or of 32 bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `LUCIDPAY` |
//! | 1 | version, 1 |
//! | 1 | purpose: 1 keyring, 2 wallet, 3 backup |
//! | 1 | unlocked by: 1 passphrase (Argon2id, version 0x13), 2 key |
//! | 1 | Argon2id lanes, 0 for a key |
//! | 4 | Argon2id memory in KiB, 0 for a key |
//! | 4 | Argon2id passes, 0 for a key |
//! | 16 | salt |
//! | 12 | nonce |
//! | 16 | key check |
//! | 8 | first bytes of the SHA-256 of all before |
//! | n + 16 | ciphertext and tag; the 72 bytes before are authenticated with it |
//!
//! Numbers are big-endian. The root is Argon2id's output or the key; from it HMAC-SHA-256 of a
//! label and the salt makes the AES key and the key check. Every envelope has a new salt, so no two
//! share an AES key and nonces cannot collide. The key check binds the envelope to one key, which
//! GCM alone does not, and tells a wrong passphrase from damage.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use zeroize::Zeroizing;

use super::random::{self, Random, RandomError};
use crate::tron::sha256;

const MAGIC: &[u8; 8] = b"LUCIDPAY";
const VERSION: u8 = 1;
const BY_PASSPHRASE: u8 = 1;
const BY_KEY: u8 = 2;
/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 72;
/// Header without its digest.
const DIGESTED_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
/// Most bytes an envelope may hold.
pub const MAX_PLAIN_BYTES: usize = 4 * 1024 * 1024;
/// Largest envelope (bytes).
pub const MAX_SEALED_BYTES: usize = HEADER_BYTES + MAX_PLAIN_BYTES + TAG_BYTES;
/// Fewest characters of a new passphrase.
pub const MIN_PASSPHRASE_CHARS: usize = 12;
/// Most bytes of a passphrase.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short to keep anything.
    #[error("a passphrase has at least {MIN_PASSPHRASE_CHARS} characters, this has {0}")]
    Short(usize),
    /// Longer than anyone types.
    #[error("a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes, this has {0}")]
    Long(usize),
    /// Cheaper than what resists guessing, or dearer than this machine should pay.
    #[error(
        "Argon2id takes {} to {} KiB, {} to {} passes and 1 to {} lanes; \
         this says {memory_kib} KiB, {passes} passes, {lanes} lanes",
        Cost::MIN_MEMORY_KIB,
        Cost::MAX_MEMORY_KIB,
        Cost::MIN_PASSES,
        Cost::MAX_PASSES,
        Cost::MAX_LANES
    )]
    Cost {
        /// Memory (KiB).
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u8,
    },
    /// More than an envelope holds.
    #[error("an envelope holds at most {MAX_PLAIN_BYTES} bytes, not {0}")]
    TooLarge(usize),
    /// Cut off.
    #[error("the file is cut off after {0} bytes")]
    Truncated(usize),
    /// Another kind of file.
    #[error("this is not a file of lucid-pay")]
    Foreign,
    /// Made by a later program.
    #[error("the file has version {0}, this program knows version {VERSION}")]
    Version(u8),
    /// A keyring where a backup is wanted, or the like.
    #[error("this is {found}, wanted is {wanted}")]
    Purpose {
        /// What the file says it is.
        found: Purpose,
        /// What was asked for.
        wanted: Purpose,
    },
    /// Made for a key and opened with a passphrase.
    #[error("the file opens with a passphrase, a key was given")]
    WantsPassphrase,
    /// Made for a passphrase and opened with a key.
    #[error("the file opens with a key from a credential, a passphrase was given")]
    WantsKey,
    /// The file is whole; the passphrase is another.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The file is whole; the key is another.
    #[error("the key is not the one this file was made with")]
    WrongKey,
    /// Not what was written.
    #[error("the file is damaged or was changed")]
    Damaged,
    /// No salt, no nonce.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Argon2id refused, as for want of memory.
    #[error("no key can be made of the passphrase")]
    Derivation(#[source] argon2::Error),
}

/// What an envelope is for; one is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The key of a directory.
    Keyring,
    /// One wallet.
    Wallet,
    /// All wallets.
    Backup,
}

impl Purpose {
    const fn byte(self) -> u8 {
        match self {
            Self::Keyring => 1,
            Self::Wallet => 2,
            Self::Backup => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Keyring),
            2 => Some(Self::Wallet),
            3 => Some(Self::Backup),
            _ => None,
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keyring => "a keyring",
            Self::Wallet => "a wallet",
            Self::Backup => "a backup",
        })
    }
}

/// What Argon2id spends on one guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u8,
}

impl Cost {
    /// 64 MiB, 3 passes, 1 lane: RFC 9106's choice for little memory, in one lane.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// Least memory (KiB), OWASP's for two passes.
    pub const MIN_MEMORY_KIB: u32 = 19 * 1024;
    /// Most memory (KiB).
    pub const MAX_MEMORY_KIB: u32 = 512 * 1024;
    /// Fewest passes.
    pub const MIN_PASSES: u32 = 2;
    /// Most passes.
    pub const MAX_PASSES: u32 = 16;
    /// Most lanes.
    pub const MAX_LANES: u8 = 4;
    /// Cheap, for tests that open hundreds of files.
    #[cfg(test)]
    pub(crate) const TEST: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };

    /// A cost within the limits.
    ///
    /// # Errors
    /// [`SealError::Cost`] outside them.
    pub fn new(memory_kib: u32, passes: u32, lanes: u8) -> Result<Self, SealError> {
        let enough = memory_kib >= Self::MIN_MEMORY_KIB && passes >= Self::MIN_PASSES;
        if enough {
            Self { memory_kib, passes, lanes }.bounded()
        } else {
            Err(SealError::Cost { memory_kib, passes, lanes })
        }
    }

    /// Only the upper limits: a cheap file is a weakness of the one who made it, not of the reader.
    fn bounded(self) -> Result<Self, SealError> {
        let Self { memory_kib, passes, lanes } = self;
        let fits = memory_kib <= Self::MAX_MEMORY_KIB
            && (1..=Self::MAX_PASSES).contains(&passes)
            && (1..=Self::MAX_LANES).contains(&lanes);
        if fits { Ok(self) } else { Err(SealError::Cost { memory_kib, passes, lanes }) }
    }
}

/// What opens an envelope. Wiped when dropped.
#[derive(Clone)]
pub enum Unlock {
    /// Typed by the operator.
    Passphrase(Zeroizing<String>),
    /// 32 bytes from a credential.
    Key(Zeroizing<[u8; 32]>),
}

impl Unlock {
    /// By a passphrase.
    pub fn passphrase(text: &str) -> Self {
        Self::Passphrase(Zeroizing::new(text.to_owned()))
    }

    /// By a key.
    pub fn key(bytes: [u8; 32]) -> Self {
        Self::Key(Zeroizing::new(bytes))
    }

    fn root(&self, cost: Option<Cost>, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        match (self, cost) {
            (Self::Key(key), None) => Ok(key.clone()),
            (Self::Key(_), Some(_)) => Err(SealError::WantsPassphrase),
            (Self::Passphrase(_), None) => Err(SealError::WantsKey),
            (Self::Passphrase(text), Some(cost)) => {
                if text.len() > MAX_PASSPHRASE_BYTES {
                    return Err(SealError::Long(text.len()));
                }
                let Cost { memory_kib, passes, lanes } = cost.bounded()?;
                let params = Params::new(memory_kib, passes, lanes.into(), Some(32))
                    .map_err(|_| SealError::Cost { memory_kib, passes, lanes })?;
                let mut root = Zeroizing::new([0; 32]);
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(text.as_bytes(), salt, &mut root[..])
                    .map_err(SealError::Derivation)?;
                Ok(root)
            }
        }
    }
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Unlock by passphrase",
            Self::Key(_) => "Unlock by key",
        })
    }
}

/// HMAC-SHA-256 under a root of 32 bytes.
fn labelled(root: &[u8; 32], label: &[u8], salt: &[u8]) -> Zeroizing<[u8; 32]> {
    // A key shorter than the block is filled with zeros (RFC 2104).
    let mut block = Zeroizing::new([0u8; 64]);
    block[..32].copy_from_slice(root);
    let mut mac = Hmac::<sha2::Sha256>::new((&*block).into());
    mac.update(label);
    mac.update(salt);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keys(root: &[u8; 32], salt: &[u8]) -> (Aes256Gcm, [u8; 16]) {
    let key = labelled(root, b"lucid-pay/1/encrypt", salt);
    let whole = labelled(root, b"lucid-pay/1/check", salt);
    let mut check = [0; 16];
    check.copy_from_slice(&whole[..16]);
    (Aes256Gcm::new((&*key).into()), check)
}

/// Seals `plain`. `cost` is spent on a passphrase and ignored for a key.
///
/// # Errors
/// When the passphrase is too short or long, `plain` too large, or randomness or memory is missing.
pub fn seal(
    purpose: Purpose,
    unlock: &Unlock,
    cost: Cost,
    plain: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    if plain.len() > MAX_PLAIN_BYTES {
        return Err(SealError::TooLarge(plain.len()));
    }
    let cost = match unlock {
        Unlock::Key(_) => None,
        Unlock::Passphrase(text) => match text.chars().count() {
            few if few < MIN_PASSPHRASE_CHARS => return Err(SealError::Short(few)),
            _ => Some(cost),
        },
    };
    let salt = random::array::<16>(random)?;
    let nonce = random::array::<12>(random)?;
    let (cipher, check) = keys(&*unlock.root(cost, &salt[..])?, &salt[..]);
    let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + TAG_BYTES);
    sealed.extend_from_slice(MAGIC);
    let by = if cost.is_some() { BY_PASSPHRASE } else { BY_KEY };
    let Cost { memory_kib, passes, lanes } =
        cost.unwrap_or(Cost { memory_kib: 0, passes: 0, lanes: 0 });
    sealed.extend_from_slice(&[VERSION, purpose.byte(), by, lanes]);
    sealed.extend_from_slice(&memory_kib.to_be_bytes());
    sealed.extend_from_slice(&passes.to_be_bytes());
    sealed.extend_from_slice(&salt[..]);
    sealed.extend_from_slice(&nonce[..]);
    sealed.extend_from_slice(&check);
    let digest = sha256(&sealed);
    sealed.extend_from_slice(&digest[..HEADER_BYTES - DIGESTED_BYTES]);
    let cipher_text = cipher
        .encrypt((&*nonce).into(), Payload { msg: plain, aad: &sealed })
        .map_err(|_| SealError::TooLarge(plain.len()))?;
    sealed.extend_from_slice(&cipher_text);
    Ok(sealed)
}

/// Opens an envelope.
///
/// # Errors
/// A distinct one for a wrong passphrase or key, a cut file, a changed file, another kind of file.
pub fn open(
    purpose: Purpose,
    unlock: &Unlock,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if sealed.len() > MAX_SEALED_BYTES {
        return Err(SealError::TooLarge(sealed.len()));
    }
    if sealed.len() >= MAGIC.len() && !sealed.starts_with(MAGIC) {
        return Err(SealError::Foreign);
    }
    let (Some((header, cipher_text)), true) =
        (sealed.split_first_chunk::<HEADER_BYTES>(), sealed.len() >= HEADER_BYTES + TAG_BYTES)
    else {
        return Err(SealError::Truncated(sealed.len()));
    };
    if sha256(&header[..DIGESTED_BYTES])[..HEADER_BYTES - DIGESTED_BYTES]
        != header[DIGESTED_BYTES..]
    {
        return Err(SealError::Damaged);
    }
    let [_, _, _, _, _, _, _, _, version, found, by, lanes, m0, m1, m2, m3, p0, p1, p2, p3, ..] =
        *header;
    if version != VERSION {
        return Err(SealError::Version(version));
    }
    let found = Purpose::of(found).ok_or(SealError::Damaged)?;
    if found != purpose {
        return Err(SealError::Purpose { found, wanted: purpose });
    }
    let memory_kib = u32::from_be_bytes([m0, m1, m2, m3]);
    let passes = u32::from_be_bytes([p0, p1, p2, p3]);
    let cost = match by {
        BY_PASSPHRASE => Some(Cost { memory_kib, passes, lanes }),
        BY_KEY if (memory_kib, passes, lanes) == (0, 0, 0) => None,
        _ => return Err(SealError::Damaged),
    };
    let salt = &header[20..36];
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&header[36..48]);
    let (cipher, check) = keys(&*unlock.root(cost, salt)?, salt);
    if check[..] != header[48..DIGESTED_BYTES] {
        return Err(match unlock {
            Unlock::Passphrase(_) => SealError::WrongPassphrase,
            Unlock::Key(_) => SealError::WrongKey,
        });
    }
    cipher
        .decrypt((&nonce).into(), Payload { msg: cipher_text, aad: header })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Damaged)
}
