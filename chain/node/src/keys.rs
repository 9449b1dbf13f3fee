//! The keys of the chain database. The first byte tells the kind; numbers are big-endian, so keys
//! sort by them.
//!
//! | key | value |
//! |---|---|
//! | `g` | genesis |
//! | `c` parity | head: height, id, certificate; two slots, so that a torn write leaves one |
//! | `b` height | header and the certificate of the block before |
//! | `x` height place | a transaction |
//! | `i` transaction id | height and place |
//! | `e` session height place | nothing; the session's transactions |
//! | `s` session | closed session, as it was when it was closed |
//! | `t` session | height of its tombstone |
//! | `d` group | ids of 32 blocks, as leaves of the history tree |
//! | `n` level index | root of a perfect subtree of the history tree, level 5 and up |
//! | `v` height | validators after this block, and its certificate |
//! | `p` parity | guard: height, round, id, parts; written before signing |
//! | `q` parity part | the guarded block's bytes |
//! | `z` slot, `z` slot part | snapshot: height, parts, length, hash; its bytes |
//!
//! What stands at heights above the head's was never committed and is not seen.

use lucid_chain::TxId;
use lucid_evidence::SessionId;

pub(crate) const GENESIS: &[u8] = b"g";

fn number(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn head(height: u64) -> Vec<u8> {
    vec![b'c', (height % 2) as u8]
}

pub(crate) fn block(height: u64) -> Vec<u8> {
    number(b'b', height)
}

pub(crate) fn transaction(height: u64, place: u32) -> Vec<u8> {
    let mut key = number(b'x', height);
    key.extend_from_slice(&place.to_be_bytes());
    key
}

pub(crate) fn transaction_index(id: &TxId) -> Vec<u8> {
    [b"i", &id.0.0[..]].concat()
}

pub(crate) fn session_event(session: &SessionId, height: u64, place: u32) -> Vec<u8> {
    let (height, place) = (height.to_be_bytes(), place.to_be_bytes());
    [b"e", &session.as_bytes()[..], &height, &place].concat()
}

/// All keys of [`session_event`]: the first, and the first after them.
pub(crate) const SESSION_EVENTS: (&[u8], &[u8]) = (b"e", b"f");

/// Session and height in a key of [`session_event`].
pub(crate) fn event_session(key: &[u8]) -> Option<(SessionId, u64)> {
    let (height, _) = event_place(key)?;
    let session = key.get(1..1 + SessionId::LEN)?;
    Some((SessionId::from_bytes(session.try_into().ok()?).ok()?, height))
}

/// Height and place in a key of [`session_event`].
pub(crate) fn event_place(key: &[u8]) -> Option<(u64, u32)> {
    let rest = key.strip_prefix(b"e")?.get(SessionId::LEN..)?;
    let (height, place) = rest.split_at_checked(8)?;
    Some((u64::from_be_bytes(height.try_into().ok()?), u32::from_be_bytes(place.try_into().ok()?)))
}

pub(crate) fn closed_session(session: &SessionId) -> Vec<u8> {
    [b"s", &session.as_bytes()[..]].concat()
}

pub(crate) fn tombstone(session: &SessionId) -> Vec<u8> {
    [b"t", &session.as_bytes()[..]].concat()
}

pub(crate) fn group(group: u64) -> Vec<u8> {
    number(b'd', group)
}

pub(crate) fn node(level: u32, index: u64) -> Vec<u8> {
    let mut key = vec![b'n', level as u8];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn validators(height: u64) -> Vec<u8> {
    number(b'v', height)
}

/// The height in a key of [`validators`] or [`block`].
pub(crate) fn key_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

pub(crate) fn guard(height: u64) -> Vec<u8> {
    vec![b'p', (height % 2) as u8]
}

pub(crate) fn guard_part(height: u64, part: u32) -> Vec<u8> {
    let mut key = vec![b'q', (height % 2) as u8];
    key.extend_from_slice(&part.to_be_bytes());
    key
}

pub(crate) fn snapshot(slot: u8) -> Vec<u8> {
    vec![b'z', slot]
}

pub(crate) fn snapshot_part(slot: u8, part: u32) -> Vec<u8> {
    let mut key = vec![b'z', slot];
    key.extend_from_slice(&part.to_be_bytes());
    key
}
