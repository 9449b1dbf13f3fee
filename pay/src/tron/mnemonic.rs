//! Recovery words (BIP-39, English): 12, 15, 18, 21 or 24, lower case, one space between.

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

/// Why words are refused. A word is never repeated in an error: it may belong to a real phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    /// Another number of words.
    #[error("a phrase has 12, 15, 18, 21 or 24 words, this has {0}")]
    Count(usize),
    /// Not in the list.
    #[error("word {0} is not in the list of words")]
    Unknown(usize),
    /// A word wrong or swapped.
    #[error("the words do not fit together: one is wrong or two are swapped")]
    Checksum,
    /// Not 16 to 32 bytes, in steps of 4.
    #[error("words are made of 16, 20, 24, 28 or 32 random bytes, not of {0}")]
    Entropy(usize),
}

fn map(error: bip39::Error, count: usize) -> MnemonicError {
    match error {
        bip39::Error::BadWordCount(count) => MnemonicError::Count(count),
        bip39::Error::UnknownWord(at) => MnemonicError::Unknown(at + 1),
        bip39::Error::BadEntropyBitCount(bits) => MnemonicError::Entropy(bits / 8),
        bip39::Error::InvalidChecksum => MnemonicError::Checksum,
        bip39::Error::AmbiguousLanguages(_) => MnemonicError::Count(count),
    }
}

/// Seed of the words and the passphrase, for [`super::key::PrivateKey::derive`].
pub fn seed(words: &str, passphrase: &str) -> Result<Zeroizing<[u8; 64]>, MnemonicError> {
    let count = words.split(' ').count();
    if !matches!(count, 12 | 15 | 18 | 21 | 24) {
        return Err(MnemonicError::Count(count));
    }
    // Exactly one space, nothing around: what is normalised silently is restored wrongly elsewhere.
    if let Some(at) = words
        .split(' ')
        .position(|word| word.is_empty() || !word.bytes().all(|c| c.is_ascii_lowercase()))
    {
        return Err(MnemonicError::Unknown(at + 1));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, words)
        .map_err(|error| map(error, count))?;
    Ok(Zeroizing::new(mnemonic.to_seed(passphrase)))
}

/// Words of random bytes: 16 make 12 words, 32 make 24.
pub fn from_entropy(entropy: &[u8]) -> Result<Zeroizing<String>, MnemonicError> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy)
        .map_err(|_| MnemonicError::Entropy(entropy.len()))?;
    Ok(Zeroizing::new(mnemonic.to_string()))
}
