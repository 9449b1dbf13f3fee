//! How a source stands in the index: JSON with a version under `daemon/source/<id>`, its address
//! sealed.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_capture::SourceUri;
use lucid_evidence::SigningKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Retention, Source, SourceId, SourcesError};

/// What all keys of sources begin with.
pub const PREFIX: &[u8] = b"daemon/source/";
const VERSION: u32 = 1;
const NONCE_BYTES: usize = 24;
/// Separates this key from every other made from the device's.
const CONTEXT: &str = "lucid 2026-11 source address wrap v1";

/// Seals and opens addresses.
pub struct Seal(XChaCha20Poly1305);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u32,
    name: String,
    /// Nonce and sealed URI, hexadecimal.
    uri_sealed: String,
    audio: bool,
    enabled: bool,
    max_age_s: Option<u64>,
    max_bytes: Option<u64>,
    created_us: u64,
}

impl Seal {
    /// With a key made from the device's.
    pub fn new(device: &SigningKey) -> Self {
        let key = Zeroizing::new(blake3::derive_key(CONTEXT, &*device.seed()));
        Self(XChaCha20Poly1305::new(&Key::from(*key)))
    }
}

/// The key of a source.
pub fn key(id: &SourceId) -> Vec<u8> {
    [PREFIX, id.as_str().as_bytes()].concat()
}

/// The first key after all sources.
pub fn end() -> Vec<u8> {
    // The byte after the slash the prefix ends with.
    [&PREFIX[..PREFIX.len() - 1], b"0"].concat()
}

/// The error for a record that cannot be read.
pub fn damaged(key: &[u8], problem: &'static str) -> SourcesError {
    let id = String::from_utf8_lossy(key.get(PREFIX.len()..).unwrap_or_default()).into_owned();
    SourcesError::Damaged { id, problem }
}

/// The record's bytes.
///
/// # Errors
/// Only when the operating system gives no random numbers.
pub fn encode(seal: &Seal, source: &Source) -> Result<Vec<u8>, SourcesError> {
    let mut nonce = [0u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| SourcesError::Random(error.to_string()))?;
    let uri = source.uri.reveal();
    let payload = Payload { msg: uri.as_bytes(), aad: source.id.as_str().as_bytes() };
    let failed = |problem| SourcesError::Damaged { id: source.id.to_string(), problem };
    let sealed = seal
        .0
        .encrypt(&nonce.into(), payload)
        .map_err(|_| failed("its address cannot be sealed"))?;
    let record = Record {
        v: VERSION,
        name: source.name.clone(),
        uri_sealed: nonce.iter().chain(&sealed).map(|byte| format!("{byte:02x}")).collect(),
        audio: source.audio,
        enabled: source.enabled,
        max_age_s: source.retention.max_age_s,
        max_bytes: source.retention.max_bytes,
        created_us: source.created_us,
    };
    serde_json::to_vec(&record).map_err(|_| failed("it cannot be written"))
}

/// The source of a record.
///
/// # Errors
/// [`SourcesError::Damaged`].
pub fn decode(seal: &Seal, key: &[u8], bytes: &[u8]) -> Result<Source, SourcesError> {
    let failed = |problem| damaged(key, problem);
    let id = key.get(PREFIX.len()..).and_then(|id| std::str::from_utf8(id).ok());
    let id = id.and_then(SourceId::parse).ok_or_else(|| failed("its id is not one"))?;
    let record: Record = serde_json::from_slice(bytes).map_err(|_| failed("it is not a record"))?;
    if record.v != VERSION {
        return Err(failed("it has an unknown version"));
    }
    let sealed = from_hex(&record.uri_sealed).ok_or_else(|| failed("its address is not hex"))?;
    let (nonce, sealed) =
        sealed.split_at_checked(NONCE_BYTES).ok_or_else(|| failed("its address is cut short"))?;
    let nonce = XNonce::try_from(nonce).map_err(|_| failed("its address is cut short"))?;
    let payload = Payload { msg: sealed, aad: id.as_str().as_bytes() };
    let uri = seal.0.decrypt(&nonce, payload).map(Zeroizing::new);
    let uri = uri.map_err(|_| failed("its address does not open with this device's key"))?;
    let uri = std::str::from_utf8(&uri).ok().and_then(|text| SourceUri::parse(text).ok());
    let retention = Retention { max_age_s: record.max_age_s, max_bytes: record.max_bytes };
    Ok(Source {
        id,
        name: record.name,
        uri: uri.ok_or_else(|| failed("its address is not one"))?,
        audio: record.audio,
        enabled: record.enabled,
        retention,
        created_us: record.created_us,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(*pair.get(1)?)?).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}
