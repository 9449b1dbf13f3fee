//! The values of the chain database that are not structures of the chain itself.

use crate::persist::PART_BYTES;
use lucid_chain::{Block, CommitCertificate, Header, ValidatorSet};
use lucid_evidence::Hash;
use lucid_evidence::cbor::{CborError, Decoder, Encoder};

/// The head of the stored chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredHead {
    pub height: u64,
    pub id: Hash,
    pub certificate: CommitCertificate,
}

/// A block without its transactions, as it is stored.
pub(crate) struct StoredHeader {
    pub header: Header,
    pub last_commit: Option<CommitCertificate>,
}

pub(crate) fn encode_head(head: &StoredHead) -> Vec<u8> {
    Encoder::new()
        .array(3)
        .uint(head.height)
        .bytes(&head.id.0)
        .bytes(&head.certificate.to_bytes())
        .finish()
}

pub(crate) fn decode_head(bytes: &[u8]) -> Result<StoredHead, CborError> {
    let mut d = Decoder::new(bytes);
    d.array_of("head", 3)?;
    let height = d.u64("head.height")?;
    let id = d.hash("head.id")?;
    let certificate = CommitCertificate::from_bytes(d.bytes("head.certificate", PART_BYTES)?)?;
    d.end("head")?;
    Ok(StoredHead { height, id, certificate })
}

pub(crate) fn encode_block(block: &Block) -> Vec<u8> {
    let mut e = Encoder::new();
    e.array(2).bytes(&block.header.to_bytes());
    match &block.last_commit {
        Some(certificate) => e.bytes(&certificate.to_bytes()),
        None => e.null(),
    };
    e.finish()
}

pub(crate) fn decode_block(bytes: &[u8]) -> Result<StoredHeader, CborError> {
    let mut d = Decoder::new(bytes);
    d.array_of("block", 2)?;
    let header = Header::from_bytes(d.bytes("block.header", PART_BYTES)?)?;
    let last_commit = d.optional("block.last_commit", |d| {
        CommitCertificate::from_bytes(d.bytes("block.last_commit", PART_BYTES)?)
    })?;
    d.end("block")?;
    Ok(StoredHeader { header, last_commit })
}

pub(crate) fn encode_place(height: u64, place: u32) -> Vec<u8> {
    Encoder::new().array(2).uint(height).uint(u64::from(place)).finish()
}

pub(crate) fn decode_place(bytes: &[u8]) -> Result<(u64, u32), CborError> {
    let mut d = Decoder::new(bytes);
    d.array_of("place", 2)?;
    let place = (d.u64("place.height")?, d.u32("place.index")?);
    d.end("place")?;
    Ok(place)
}

pub(crate) fn encode_validators(set: &ValidatorSet, certificate: &CommitCertificate) -> Vec<u8> {
    Encoder::new().array(2).bytes(&set.to_bytes()).bytes(&certificate.to_bytes()).finish()
}

pub(crate) fn decode_validators(
    bytes: &[u8],
) -> Result<(ValidatorSet, CommitCertificate), CborError> {
    let mut d = Decoder::new(bytes);
    d.array_of("change", 2)?;
    let set = ValidatorSet::from_bytes(d.bytes("change.validators", PART_BYTES)?)?;
    let certificate = CommitCertificate::from_bytes(d.bytes("change.certificate", PART_BYTES)?)?;
    d.end("change")?;
    Ok((set, certificate))
}
