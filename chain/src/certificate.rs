//! The commit certificate: the signatures by which more than two thirds of the validators made a
//! block final.

use crate::parameters::NODES_MAX;
use crate::validators::ValidatorSet;
use crate::{CHAIN_VERSION, hash_in};
use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use lucid_evidence::{Hash, PublicKey, Signature, SigningKey};

/// What a precommit signature begins with, so that it is a signature over nothing else.
pub const PRECOMMIT_CONTEXT: &[u8; 26] = b"lucid 2026-11 precommit v1";
const LAST_COMMIT_CONTEXT: &str = "lucid 2026-11 last commit v1";

/// The exact bytes a validator signs to commit to a block:
/// context, genesis hash, height (u64), round (u32), block id.
pub fn precommit_bytes(genesis: &Hash, height: u64, round: u32, block: &Hash) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(26 + 32 + 8 + 4 + 32);
    bytes.extend_from_slice(PRECOMMIT_CONTEXT);
    bytes.extend_from_slice(&genesis.0);
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&round.to_be_bytes());
    bytes.extend_from_slice(&block.0);
    bytes
}

/// Signs a block. Who calls this has first made durable that height and round are taken.
pub fn sign_precommit(
    key: &SigningKey,
    genesis: &Hash,
    height: u64,
    round: u32,
    block: &Hash,
) -> Signature {
    key.sign(&precommit_bytes(genesis, height, round, block))
}

/// The proof that a block is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitCertificate {
    /// The block's height.
    pub height: u64,
    /// The round in which it was decided; the proposers of the rounds before missed their turn.
    pub round: u32,
    /// The block's id.
    pub block: Hash,
    /// Validator numbers, strictly ascending, with their precommit signatures.
    pub signatures: Vec<(u32, Signature)>,
}

/// Why a certificate does not make its block final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is about another block.
    #[error(
        "certificate is for block {found} at height {found_height}, expected block {expected} \
         at height {expected_height}"
    )]
    Block {
        /// The block that was expected.
        expected: Hash,
        /// Its height.
        expected_height: u64,
        /// The block in the certificate.
        found: Hash,
        /// The height in the certificate.
        found_height: u64,
    },
    /// A validator number that the set does not have.
    #[error("certificate for height {height} is signed by validator {index} of {validators}")]
    UnknownValidator {
        /// The height.
        height: u64,
        /// The number.
        index: u32,
        /// How many validators there are.
        validators: usize,
    },
    /// Two signatures of one validator, or numbers out of order.
    #[error("certificate for height {height} names validator {index} twice or out of order")]
    Order {
        /// The height.
        height: u64,
        /// The number.
        index: u32,
    },
    /// A signature that does not verify.
    #[error("certificate for height {height}: the signature of validator {key} does not verify")]
    Signature {
        /// The height.
        height: u64,
        /// Whose signature it should be.
        key: PublicKey,
    },
    /// Too few signatures.
    #[error(
        "certificate for height {height} has {signed} of {validators} signatures; {quorum} are \
         needed"
    )]
    Quorum {
        /// The height.
        height: u64,
        /// Valid signatures.
        signed: usize,
        /// Validators in the set.
        validators: usize,
        /// Signatures that are needed.
        quorum: usize,
    },
}

impl CommitCertificate {
    /// Checks that more than two thirds of `validators` signed block `block` at `height` of the
    /// chain `genesis`. Returns the keys that signed.
    pub fn verify<'v>(
        &self,
        genesis: &Hash,
        height: u64,
        block: &Hash,
        validators: &'v ValidatorSet,
    ) -> Result<Vec<&'v PublicKey>, CertificateError> {
        if self.height != height || self.block != *block {
            return Err(CertificateError::Block {
                expected: *block,
                expected_height: height,
                found: self.block,
                found_height: self.height,
            });
        }
        let message = precommit_bytes(genesis, height, self.round, block);
        let mut signers = Vec::with_capacity(self.signatures.len());
        let mut last = None;
        for (index, signature) in &self.signatures {
            if last.is_some_and(|last| last >= *index) {
                return Err(CertificateError::Order { height, index: *index });
            }
            last = Some(*index);
            let key = validators.key(*index).ok_or(CertificateError::UnknownValidator {
                height,
                index: *index,
                validators: validators.count(),
            })?;
            key.verify(&message, signature)
                .map_err(|_| CertificateError::Signature { height, key: *key })?;
            signers.push(key);
        }
        let (signed, quorum) = (signers.len(), validators.quorum());
        if signed < quorum {
            let validators = validators.count();
            return Err(CertificateError::Quorum { height, signed, validators, quorum });
        }
        Ok(signers)
    }

    /// The hash by which the next header carries it; `None` stands in the first block.
    pub fn hash_of(certificate: Option<&CommitCertificate>) -> Hash {
        let bytes = certificate.map(CommitCertificate::to_bytes).unwrap_or_default();
        hash_in(LAST_COMMIT_CONTEXT, &bytes)
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.map(5).uint(0).uint(CHAIN_VERSION).uint(1).uint(self.height);
        e.uint(2).uint(u64::from(self.round)).uint(3).bytes(&self.block.0).uint(4);
        e.array(self.signatures.len() as u64);
        for (index, signature) in &self.signatures {
            e.array(2).uint(u64::from(*index)).bytes(&signature.0);
        }
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map("certificate", 5)?;
        d.version("certificate.version", CHAIN_VERSION)?;
        let height = d.key("certificate.height", 1)?.u64("certificate.height")?;
        let round = d.key("certificate.round", 2)?.u32("certificate.round")?;
        let block = d.key("certificate.block", 3)?.hash("certificate.block")?;
        let count = d
            .key("certificate.signatures", 4)?
            .array("certificate.signatures", u64::from(NODES_MAX))?;
        let mut signatures: Vec<(u32, Signature)> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            d.array_of("certificate.signature", 2)?;
            let index = d.u64_up_to("certificate.validator", u64::from(NODES_MAX) - 1)? as u32;
            if signatures.last().is_some_and(|(last, _)| *last >= index) {
                return Err(d.value_error("certificate.validator", "not in ascending order"));
            }
            signatures.push((index, Signature(d.fixed("certificate.signature")?)));
        }
        Ok(CommitCertificate { height, round, block, signatures })
    }

    /// The deterministic encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        self.encode(&mut e);
        e.finish()
    }

    /// Reads [`CommitCertificate::to_bytes`]. It says nothing until verified.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let certificate = Self::decode(&mut d)?;
        d.end("certificate")?;
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pool {
        keys: Vec<SigningKey>,
        set: ValidatorSet,
    }

    fn pool(count: u8) -> Pool {
        let mut keys: Vec<_> = (0..count).map(|n| SigningKey::from_seed(&[n; 32])).collect();
        keys.sort_by_key(SigningKey::public);
        let set = ValidatorSet::new(keys.iter().map(SigningKey::public).collect()).unwrap();
        Pool { keys, set }
    }

    fn certificate(pool: &Pool, signers: &[u32]) -> CommitCertificate {
        let (genesis, block) = (Hash::of(b"genesis"), Hash::of(b"block"));
        let signatures = signers
            .iter()
            .map(|n| (*n, sign_precommit(&pool.keys[*n as usize], &genesis, 7, 2, &block)))
            .collect();
        CommitCertificate { height: 7, round: 2, block, signatures }
    }

    fn verify(pool: &Pool, certificate: &CommitCertificate) -> Result<usize, CertificateError> {
        let genesis = Hash::of(b"genesis");
        certificate.verify(&genesis, 7, &Hash::of(b"block"), &pool.set).map(|signers| signers.len())
    }

    #[test]
    fn more_than_two_thirds_are_needed() {
        let pool = pool(4);
        assert_eq!(verify(&pool, &certificate(&pool, &[0, 1, 3])), Ok(3));
        assert_eq!(verify(&pool, &certificate(&pool, &[0, 1, 2, 3])), Ok(4));
        let error = verify(&pool, &certificate(&pool, &[1, 2])).unwrap_err();
        let text = "certificate for height 7 has 2 of 4 signatures; 3 are needed";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_validator_counts_once() {
        let pool = pool(4);
        let mut twice = certificate(&pool, &[0, 1]);
        twice.signatures.push(twice.signatures[1]);
        assert_eq!(verify(&pool, &twice), Err(CertificateError::Order { height: 7, index: 1 }));
        assert!(CommitCertificate::from_bytes(&twice.to_bytes()).is_err());
    }

    #[test]
    fn forged_moved_and_foreign_signatures_are_refused() {
        let pool = pool(4);
        let good = certificate(&pool, &[0, 1, 2]);
        let mut forged = good.clone();
        forged.signatures[1].1.0[5] ^= 1;
        assert!(matches!(verify(&pool, &forged), Err(CertificateError::Signature { .. })));
        let mut moved = good.clone();
        moved.round = 3;
        assert!(matches!(verify(&pool, &moved), Err(CertificateError::Signature { .. })));
        let mut renamed = good.clone();
        renamed.signatures[2].0 = 3;
        assert!(matches!(verify(&pool, &renamed), Err(CertificateError::Signature { .. })));
        let mut unknown = good.clone();
        unknown.signatures[2].0 = 4;
        assert!(matches!(verify(&pool, &unknown), Err(CertificateError::UnknownValidator { .. })));
        let other_chain = good.verify(&Hash::of(b"other"), 7, &good.block, &pool.set);
        assert!(matches!(other_chain, Err(CertificateError::Signature { .. })));
        let other_block = good.verify(&Hash::of(b"genesis"), 7, &Hash::of(b"b"), &pool.set);
        assert!(matches!(other_block, Err(CertificateError::Block { .. })));
    }

    #[test]
    fn it_is_read_back() {
        let pool = pool(5);
        let good = certificate(&pool, &[0, 1, 2, 4]);
        assert_eq!(CommitCertificate::from_bytes(&good.to_bytes()), Ok(good.clone()));
        assert_ne!(CommitCertificate::hash_of(Some(&good)), CommitCertificate::hash_of(None));
    }
}
