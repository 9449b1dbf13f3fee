//! Which devices and chains a verifier expects, from its command line or a trust file.

use lucid_evidence::{Findings, Hash, PublicKey, Verdict};

/// Most lines of a trust file.
pub const TRUST_LINES_MAX: usize = 10_000;

/// Expected devices and chains; an empty list expects nothing in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Fingerprints of device keys, or the keys themselves.
    pub devices: Vec<Hash>,
    /// Genesis hashes.
    pub chains: Vec<Hash>,
}

/// A trust file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A line is neither a device nor a chain.
    #[error(
        "line {line} of the trust file: expected `device` or `chain` and 64 hexadecimal digits, \
         found {found:?}"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What stood there, cut at 80 characters.
        found: String,
    },
    /// Too many lines.
    #[error("trust file has more than {TRUST_LINES_MAX} lines")]
    TooLong,
    /// Nothing to trust: such a file would silently expect nothing.
    #[error("trust file names neither a device nor a chain")]
    Empty,
}

impl Trust {
    /// Reads a trust file: a line each `device FINGERPRINT` or `chain GENESIS`, `#` begins a
    /// comment.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let mut trust = Trust::default();
        for (number, line) in text.lines().enumerate() {
            if number == TRUST_LINES_MAX {
                return Err(TrustError::TooLong);
            }
            let content = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = content.split_whitespace().collect();
            let hash = words.get(1).and_then(|hex| Hash::from_hex(hex).ok());
            match (words.as_slice(), hash) {
                ([], _) => {}
                (["device", _], Some(hash)) => trust.devices.push(hash),
                (["chain", _], Some(hash)) => trust.chains.push(hash),
                _ => {
                    let found = line.trim().chars().take(80).collect();
                    return Err(TrustError::Line { line: number + 1, found });
                }
            }
        }
        if trust == Trust::default() {
            return Err(TrustError::Empty);
        }
        Ok(trust)
    }

    /// Compares the device key with the expected ones and says whether it was checked.
    pub(super) fn check_device(&self, key: Option<&PublicKey>, findings: &mut Findings) -> bool {
        if self.devices.is_empty() {
            return false;
        }
        let expected = key.is_some_and(|key| {
            self.devices.iter().any(|hash| *hash == key.fingerprint() || hash.0 == *key.as_bytes())
        });
        match (key, expected) {
            (Some(key), true) => {
                findings.pass("device", format!("{} is the device expected", key.fingerprint()));
            }
            (Some(key), false) => {
                let text =
                    format!("recorded by device {}, which is not expected", key.fingerprint());
                findings.add("device", Verdict::Unverifiable, text);
            }
            (None, _) => {
                let text = "no device key to compare with the one expected";
                findings.add("device", Verdict::Unverifiable, text);
            }
        }
        expected
    }

    /// Compares the chain with the expected ones and says whether it was checked.
    pub(super) fn check_chain(&self, chain: Option<Hash>, findings: &mut Findings) -> bool {
        if self.chains.is_empty() {
            return false;
        }
        let expected = chain.is_some_and(|chain| self.chains.contains(&chain));
        match (chain, expected) {
            (Some(chain), true) => {
                findings.pass("chain", format!("{chain} is the chain expected"));
            }
            (Some(chain), false) => {
                let text = format!("anchored on chain {chain}, which is not expected");
                findings.add("chain", Verdict::Unverifiable, text);
            }
            (None, _) => {
                let text = "no chain to compare with the one expected";
                findings.add("chain", Verdict::Unverifiable, text);
            }
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_file_is_read() {
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let text = format!("# ours\n\ndevice {a}  # the one in the hall\n chain {b}\n");
        assert_eq!(Trust::parse(&text), Ok(Trust { devices: vec![a], chains: vec![b] }));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let hash = Hash::of(b"a");
        for line in ["device", "device 12", &format!("node {hash}"), &format!("device {hash} x")] {
            let error = Trust::parse(&format!("chain {hash}\n{line}")).unwrap_err();
            assert!(matches!(error, TrustError::Line { line: 2, .. }), "{error}");
        }
        assert_eq!(Trust::parse("# nothing\n"), Err(TrustError::Empty));
        assert_eq!(Trust::parse(&"\n".repeat(10_001)), Err(TrustError::TooLong));
    }
}
