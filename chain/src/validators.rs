//! The set of nodes that sign blocks: each has one vote, and more than two thirds decide.

use crate::hash_in;
use crate::parameters::NODES_MAX;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey};

const CONTEXT: &str = "lucid 2026-11 validator set v1";

/// From 1 to 100 validators in ascending order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet(Vec<PublicKey>);

/// Keys that make no validator set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// None or too many.
    #[error("{found} validators; there must be from 1 to {NODES_MAX}")]
    Size {
        /// How many there were.
        found: usize,
    },
    /// The same key twice.
    #[error("validator {0} stands there twice")]
    Twice(PublicKey),
    /// An encoded set that is not in ascending order.
    #[error("validator {0} is not in ascending order of keys")]
    Order(PublicKey),
}

impl ValidatorSet {
    /// A set of these keys, in whatever order they come.
    pub fn new(mut keys: Vec<PublicKey>) -> Result<Self, ValidatorSetError> {
        keys.sort_unstable();
        Self::from_sorted(keys)
    }

    fn from_sorted(keys: Vec<PublicKey>) -> Result<Self, ValidatorSetError> {
        if keys.is_empty() || keys.len() > NODES_MAX as usize {
            return Err(ValidatorSetError::Size { found: keys.len() });
        }
        for pair in keys.windows(2) {
            match pair[0].cmp(&pair[1]) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(ValidatorSetError::Twice(pair[1])),
                std::cmp::Ordering::Greater => return Err(ValidatorSetError::Order(pair[1])),
            }
        }
        Ok(ValidatorSet(keys))
    }

    /// The keys in ascending order.
    pub fn keys(&self) -> &[PublicKey] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The key with this number.
    pub fn key(&self, index: u32) -> Option<&PublicKey> {
        self.0.get(index as usize)
    }

    /// The number of a key in the set.
    pub fn index_of(&self, key: &PublicKey) -> Option<u32> {
        self.0.binary_search(key).ok().map(|index| index as u32)
    }

    /// The smallest number of votes that is more than two thirds.
    pub fn quorum(&self) -> usize {
        self.0.len() * 2 / 3 + 1
    }

    /// The hash that headers carry.
    pub fn hash(&self) -> Hash {
        let mut e = Encoder::new();
        self.encode(&mut e);
        hash_in(CONTEXT, &e.finish())
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.array(self.0.len() as u64);
        for key in &self.0 {
            e.bytes(key.as_bytes());
        }
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        let count = d.array("validators", u64::from(NODES_MAX))?;
        let mut keys = Vec::with_capacity(count as usize);
        for _ in 0..count {
            keys.push(d.public_key("validators.key")?);
        }
        Self::from_sorted(keys).map_err(|error| d.value_error("validators", error))
    }

    /// The encoding on its own, as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        self.encode(&mut e);
        e.finish()
    }

    /// Reads [`ValidatorSet::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let set = Self::decode(&mut d)?;
        d.end("validators")?;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_evidence::SigningKey;

    fn keys(count: u8) -> Vec<PublicKey> {
        (0..count).map(|n| SigningKey::from_seed(&[n; 32]).public()).collect()
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        for (count, quorum) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (100, 67)] {
            let set = ValidatorSet::new(keys(count)).unwrap();
            assert_eq!(set.quorum(), quorum, "{count} validators");
            assert!(quorum * 3 > usize::from(count) * 2);
            assert!((quorum - 1) * 3 <= usize::from(count) * 2);
        }
    }

    #[test]
    fn order_of_arrival_does_not_matter_and_the_encoding_has_one_order() {
        let mut forwards = keys(5);
        let set = ValidatorSet::new(forwards.clone()).unwrap();
        forwards.reverse();
        assert_eq!(ValidatorSet::new(forwards).unwrap().hash(), set.hash());
        assert_eq!(ValidatorSet::from_bytes(&set.to_bytes()), Ok(set.clone()));
        let mut e = Encoder::new();
        e.array(2).bytes(set.0[1].as_bytes()).bytes(set.0[0].as_bytes());
        assert!(ValidatorSet::from_bytes(&e.finish()).is_err());
    }

    #[test]
    fn none_too_many_and_twice_are_refused() {
        assert_eq!(ValidatorSet::new(vec![]), Err(ValidatorSetError::Size { found: 0 }));
        assert_eq!(ValidatorSet::new(keys(101)), Err(ValidatorSetError::Size { found: 101 }));
        let one = keys(1)[0];
        assert_eq!(ValidatorSet::new(vec![one, one]), Err(ValidatorSetError::Twice(one)));
    }
}
