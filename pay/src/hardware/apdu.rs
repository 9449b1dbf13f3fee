//! Commands and answers of Ledger's TRON app.

use crate::tron::Address;
use crate::tron::key::{self, KeyError};
use crate::tron::signature::{self, Signature, SignatureError};

const CLA: u8 = 0xe0;
const PUBLIC_KEY: u8 = 0x02;
const SIGN: u8 = 0x04;
const CONFIGURATION: u8 = 0x06;
const CONFIRM: u8 = 0x01;
const SINGLE: u8 = 0x10;
const FIRST: u8 = 0x00;
const MORE: u8 = 0x80;
const LAST: u8 = 0x90;
/// Most data bytes of one command that carries a part of a transaction.
pub const PART_BYTES_MAX: usize = 250;
/// Longest transaction, in bytes; the device shows and hashes it as it comes.
pub const TRANSACTION_BYTES_MAX: usize = 4_096;

/// What the device says instead of an answer, by its status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 6985.
    #[error("it was denied on the device")]
    Denied,
    /// 5515 or 6982.
    #[error("the device is locked; unlock it and open the TRON app")]
    Locked,
    /// 6a80.
    #[error("the TRON app cannot read this transaction; it may be too new for the app")]
    Data,
    /// 6a8a.
    #[error("the TRON app does not sign for this path")]
    Path,
    /// 6a8b, 6a8c, 6a8d.
    #[error("a setting of the TRON app forbids it; allow {0} on the device")]
    Setting(&'static str),
    /// 6d00, 6e00, 6e01, 6511.
    #[error("the TRON app is not open on the device, or too old")]
    App,
    /// Anything else.
    #[error("the device answers with status {0:04x}")]
    Other(u16),
}

impl Refused {
    fn of(status: u16) -> Self {
        match status {
            0x6985 => Self::Denied,
            0x5515 | 0x6982 => Self::Locked,
            0x6a80 => Self::Data,
            0x6a8a => Self::Path,
            0x6a8b => Self::Setting("transactions with data"),
            0x6a8c => Self::Setting("custom contracts"),
            0x6a8d => Self::Setting("signing by hash"),
            0x6d00 | 0x6e00 | 0x6e01 | 0x6511 => Self::App,
            other => Self::Other(other),
        }
    }
}

/// Why a command cannot be made or an answer not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApduError {
    /// The device refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not a path.
    #[error(transparent)]
    Path(#[from] KeyError),
    /// Longer than the app takes.
    #[error("a transaction of {0} bytes is more than the device is given (4096)")]
    TooLong(usize),
    /// A part that cannot be split where the app can go on.
    #[error("a field of {0} bytes does not fit one command; the device cannot show it")]
    Field(usize),
    /// An answer of another form.
    #[error("the device's answer is no {0}")]
    Answer(&'static str),
    /// A signature that is none.
    #[error("the device's signature is refused")]
    Signature(#[from] SignatureError),
}

/// The app on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct App {
    /// Transactions with data are allowed.
    pub data: bool,
    /// Contracts the app does not know are allowed.
    pub custom_contracts: bool,
    /// Its version.
    pub version: (u8, u8, u8),
}

fn command(instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Vec<u8> {
    // Data never has more than 255 bytes here.
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    [&[CLA, instruction, p1, p2, length], data].concat()
}

fn path_bytes(path: &str) -> Result<Vec<u8>, KeyError> {
    let steps = key::parse_path(path)?;
    let count = u8::try_from(steps.len()).map_err(|_| KeyError::Path)?;
    let indices = steps.iter().flat_map(|index| index.to_be_bytes());
    Ok(std::iter::once(count).chain(indices).collect())
}

/// Asks for the app's version and settings.
pub fn configuration() -> Vec<u8> {
    command(CONFIGURATION, 0, 0, &[])
}

/// Asks for a public key; `confirm` shows the address on the device, to compare.
///
/// # Errors
/// When the path is none.
pub fn public_key(path: &str, confirm: bool) -> Result<Vec<u8>, ApduError> {
    let p1 = if confirm { CONFIRM } else { 0 };
    Ok(command(PUBLIC_KEY, p1, 0, &path_bytes(path)?))
}

/// The commands that make the device show and sign `raw_data`, in order. The answer to the last one
/// is the signature.
///
/// The app reads the transaction as a stream; a command never ends within a field.
///
/// # Errors
/// When the path is none, or the transaction does not fit.
pub fn sign(path: &str, raw_data: &[u8]) -> Result<Vec<Vec<u8>>, ApduError> {
    if raw_data.len() > TRANSACTION_BYTES_MAX {
        return Err(ApduError::TooLong(raw_data.len()));
    }
    let mut parts = vec![path_bytes(path)?];
    let mut rest = raw_data;
    while !rest.is_empty() {
        let length = field(rest).ok_or(ApduError::Answer("transaction to sign"))?;
        let (field, after) = rest.split_at(length);
        rest = after;
        if field.len() > PART_BYTES_MAX {
            return Err(ApduError::Field(field.len()));
        }
        match parts.last_mut() {
            Some(part) if part.len() + field.len() <= PART_BYTES_MAX => {
                part.extend_from_slice(field);
            }
            _ => parts.push(field.to_vec()),
        }
    }
    let last = parts.len() - 1;
    let kind = |at: usize| match at {
        0 if last == 0 => SINGLE,
        0 => FIRST,
        at if at == last => LAST,
        _ => MORE,
    };
    Ok(parts.iter().enumerate().map(|(at, part)| command(SIGN, kind(at), 0, part)).collect())
}

/// Length of the protobuf field at the beginning.
fn field(bytes: &[u8]) -> Option<usize> {
    let (tag, mut at) = varint(bytes)?;
    match tag & 7 {
        0 => at += varint(bytes.get(at..)?)?.1,
        2 => {
            let (length, size) = varint(bytes.get(at..)?)?;
            at = at.checked_add(size)?.checked_add(usize::try_from(length).ok()?)?;
        }
        _ => return None,
    }
    (at <= bytes.len()).then_some(at)
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The data of an answer whose status is good.
///
/// # Errors
/// What the status says otherwise.
pub fn data(answer: &[u8]) -> Result<&[u8], ApduError> {
    let (data, status) =
        answer.split_last_chunk::<2>().ok_or(ApduError::Answer("answer with a status"))?;
    match u16::from_be_bytes(*status) {
        0x9000 => Ok(data),
        other => Err(Refused::of(other).into()),
    }
}

/// Reads the answer to [`configuration`].
///
/// # Errors
/// When it is none.
pub fn read_configuration(answer: &[u8]) -> Result<App, ApduError> {
    match *data(answer)? {
        [flags, major, minor, patch, ..] => Ok(App {
            data: flags & 1 != 0,
            custom_contracts: flags & 2 != 0,
            version: (major, minor, patch),
        }),
        _ => Err(ApduError::Answer("configuration of the TRON app")),
    }
}

/// Reads the answer to [`public_key`]: the key and its address, which must belong together.
///
/// # Errors
/// When it is none.
pub fn read_public_key(answer: &[u8]) -> Result<([u8; 65], Address), ApduError> {
    let wrong = || ApduError::Answer("public key with its address");
    let (&[length], rest) = data(answer)?.split_first_chunk::<1>().ok_or_else(wrong)?;
    let (key, rest) = rest.split_at_checked(usize::from(length)).ok_or_else(wrong)?;
    let key: [u8; 65] = key.try_into().map_err(|_| wrong())?;
    let (&[length], rest) = rest.split_first_chunk::<1>().ok_or_else(wrong)?;
    let text = rest.get(..usize::from(length)).ok_or_else(wrong)?;
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let address: Address = text.parse().map_err(|_| wrong())?;
    match Address::of_public_key(&key) == address {
        true => Ok((key, address)),
        false => Err(wrong()),
    }
}

/// Reads the answer to the last command of [`sign`], and checks that `signer` signed `txid`.
///
/// # Errors
/// When it is none, or another key's.
pub fn read_signature(
    answer: &[u8],
    txid: &[u8; 32],
    signer: Address,
) -> Result<Signature, ApduError> {
    let bytes = data(answer)?.get(..signature::LENGTH);
    let signature = Signature::from_bytes(bytes.ok_or(ApduError::Answer("signature"))?)?;
    let found = signature.recover(txid)?;
    match found == signer {
        true => Ok(signature),
        false => Err(SignatureError::Signer { found, claimed: signer }.into()),
    }
}
