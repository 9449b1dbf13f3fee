//! The record of administrative actions: numbered, each naming the hash of the one before it, so
//! that a missing or changed entry shows. The last hash is what a chain statement can vouch for.

use std::sync::PoisonError;

use lucid_store::Batch;
use serde::{Deserialize, Serialize};

use super::AuthError;
use super::records::{Records, encode, end_of};

const AUDIT: &[u8] = b"auth/audit/";
/// Entries kept; beyond, the oldest goes with each new one.
const ENTRIES_MAX: u64 = 100_000;
/// Longest text of one field, in characters.
const FIELD_CHARS_MAX: usize = 256;

/// One action.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    pub v: u32,
    pub at_us: u64,
    /// An account, or `console`, `button`, `system`.
    pub actor: String,
    /// What was done, as `thing.verb`.
    pub action: String,
    /// To what; no secrets.
    pub subject: String,
    /// BLAKE3 of the entry before, 64 hexadecimal digits; zeros for the first.
    pub previous: String,
}

impl Records {
    /// Appends an action, durably.
    pub fn append_audit(&self, actor: &str, action: &str, subject: &str) -> Result<(), AuthError> {
        let _one_at_a_time = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.store.scan_back(AUDIT, &end_of(AUDIT), 1)?.into_iter().next();
        let (number, previous) = match &last {
            None => (0, [0; 32].into()),
            Some((key, value)) => (number_of(key) + 1, blake3::hash(value)),
        };
        let short = |text: &str| text.chars().take(FIELD_CHARS_MAX).collect::<String>();
        let record = AuditRecord {
            v: 1,
            at_us: crate::http::time::now_us(),
            actor: short(actor),
            action: short(action),
            subject: short(subject),
            previous: previous.to_hex().to_string(),
        };
        let mut batch = Batch::of_reserve();
        batch.put(key_of(number), encode(&record)?);
        if let Some(oldest) = number.checked_sub(ENTRIES_MAX) {
            batch.delete(key_of(oldest));
        }
        tracing::info!(actor, action, subject, "audit");
        self.commit(batch)
    }
}

fn key_of(number: u64) -> Vec<u8> {
    [AUDIT, &number.to_be_bytes()].concat()
}

fn number_of(key: &[u8]) -> u64 {
    let tail = key.get(AUDIT.len()..).and_then(|tail| tail.try_into().ok());
    tail.map_or(0, u64::from_be_bytes)
}
