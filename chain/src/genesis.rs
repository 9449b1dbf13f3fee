//! The genesis of a chain: its name, time, parameters and first validators. Its hash names the
//! chain.

use crate::parameters::Parameters;
use crate::validators::ValidatorSet;
use crate::{CHAIN_VERSION, hash_in};
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};

const CONTEXT: &str = "lucid 2026-11 genesis v1";
/// Longest name of a chain, in bytes.
pub const NAME_MAX_BYTES: usize = 64;

/// What a chain begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    name: String,
    /// When the chain was founded, microseconds since 1970.
    pub time_us: u64,
    /// The parameters until a vote changes them.
    pub parameters: Parameters,
    /// The nodes that sign the first block.
    pub validators: ValidatorSet,
}

/// A name that is empty, too long or not plain text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chain name {found:?} must have 1 to {NAME_MAX_BYTES} bytes without control characters")]
pub struct NameError {
    /// What was given, cut at 80 characters.
    pub found: String,
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(NameError { found: name.chars().take(80).collect() });
    }
    Ok(())
}

impl Genesis {
    /// Founds a chain.
    pub fn new(
        name: impl Into<String>,
        time_us: u64,
        parameters: Parameters,
        validators: ValidatorSet,
    ) -> Result<Self, NameError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Genesis { name, time_us, parameters, validators })
    }

    /// The name of the chain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash that names the chain everywhere.
    pub fn hash(&self) -> Hash {
        hash_in(CONTEXT, &self.to_bytes())
    }

    /// The deterministic encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(5).uint(0).uint(CHAIN_VERSION).uint(1).text(&self.name).uint(2).uint(self.time_us);
        e.uint(3);
        self.parameters.encode(&mut e);
        e.uint(4);
        self.validators.encode(&mut e);
        e.finish()
    }

    /// Reads [`Genesis::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        d.map("genesis", 5)?;
        d.version("genesis.version", CHAIN_VERSION)?;
        let name = d.key("genesis.name", 1)?.text("genesis.name", NAME_MAX_BYTES)?.to_owned();
        check_name(&name).map_err(|error| d.value_error("genesis.name", error))?;
        let time_us = d.key("genesis.time", 2)?.u64("genesis.time")?;
        let parameters = Parameters::decode(d.key("genesis.parameters", 3)?)?;
        let validators = ValidatorSet::decode(d.key("genesis.validators", 4)?)?;
        if validators.count() > parameters.max_nodes() {
            let found = validators.count();
            let problem = format!("{found} validators are more than max_nodes allows");
            return Err(d.value_error("genesis.validators", problem));
        }
        d.end("genesis")?;
        Ok(Genesis { name, time_us, parameters, validators })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameter;
    use lucid_evidence::SigningKey;

    fn genesis(name: &str) -> Genesis {
        let validators = vec![SigningKey::from_seed(&[1; 32]).public()];
        let validators = ValidatorSet::new(validators).unwrap();
        Genesis::new(name, 1_793_000_000_000_000, Parameters::default(), validators).unwrap()
    }

    #[test]
    fn it_is_read_back_and_every_change_gives_another_hash() {
        let first = genesis("one");
        assert_eq!(Genesis::from_bytes(&first.to_bytes()), Ok(first.clone()));
        assert_ne!(first.hash(), genesis("two").hash());
        let mut other = first.clone();
        other.time_us += 1;
        assert_ne!(first.hash(), other.hash());
        other = first.clone();
        other.parameters = other.parameters.with(Parameter::Cooldown, 17).unwrap();
        assert_ne!(first.hash(), other.hash());
    }

    #[test]
    fn bad_names_and_bad_bytes_are_refused() {
        let good = genesis("x");
        for name in ["", "a\nb", &"x".repeat(65)] {
            let validators = good.validators.clone();
            assert!(Genesis::new(name, 0, Parameters::default(), validators).is_err());
        }
        let bytes = good.to_bytes();
        for end in 0..bytes.len() {
            assert!(Genesis::from_bytes(&bytes[..end]).is_err());
        }
    }
}
