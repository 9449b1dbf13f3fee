//! The fuzz targets: each takes any bytes to one decoder and checks what must hold whatever they
//! are.
//!
//! They are ordinary functions. libFuzzer calls them from `tests/fuzz`, and an ordinary test
//! replays the corpus.

mod chain;
mod desktop;
mod device;
mod entries;
mod pay;
pub mod seeds;

pub use chain::{anchor, block, chain_values, transaction};
pub use desktop::{desktop_keeper, rdp_clipboard, rdp_records, rdp_wire};
pub use device::{archive, media, records, uri};
pub use entries::{altered_bundle, entries};
pub use pay::{pay_abi, pay_answer, pay_journal, pay_mnemonic, pay_text, pay_transaction};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_evidence::checkpoint::{self, Checkpoint, SignedCheckpoint};
use lucid_evidence::chunk::ChunkHeader;
use lucid_evidence::manifest::{self, Manifest, SignedManifest};
use lucid_evidence::proof::{DisclosedKeys, Proof};
use lucid_evidence::seal::{ChunkKey, PIECE_MAX_BYTES, PieceAddress, read_frame};
use lucid_evidence::tree::{self, Blake3, Tree};
use lucid_evidence::{Hash, PublicKey, SessionId, Signature, SigningKey, bundle, cose};

/// A target: its name, which is that of its corpus too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] = &[
    ("anchor", anchor),
    ("archive", archive),
    ("block", block),
    ("bundle", bundle),
    ("chain_values", chain_values),
    ("checkpoint", checkpoint),
    ("chunk_header", chunk_header),
    ("desktop_keeper", desktop_keeper),
    ("entries", entries),
    ("keys", keys),
    ("manifest", manifest),
    ("media", media),
    ("pay_abi", pay_abi),
    ("pay_answer", pay_answer),
    ("pay_journal", pay_journal),
    ("pay_mnemonic", pay_mnemonic),
    ("pay_text", pay_text),
    ("pay_transaction", pay_transaction),
    ("piece", piece),
    ("proof", proof),
    ("rdp_clipboard", rdp_clipboard),
    ("rdp_records", rdp_records),
    ("rdp_wire", rdp_wire),
    ("records", records),
    ("text", text),
    ("transaction", transaction),
    ("tree", tree),
    ("uri", uri),
];

const SEED: [u8; 32] = [0x11; 32];

/// The signed manifest, from the envelope or, signed here, from the payload. What decodes encodes
/// to the same bytes.
pub fn manifest(data: &[u8]) {
    let _ = SignedManifest::verify(data);
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(manifest.encode(), data);
    }
    let signed = cose::sign1(&SigningKey::from_seed(&SEED), manifest::CONTENT_TYPE, data);
    if let Ok(signed) = SignedManifest::verify(&signed) {
        assert_eq!(signed.manifest().encode(), data);
    }
}

/// The chunk header.
pub fn chunk_header(data: &[u8]) {
    if let Ok(header) = ChunkHeader::decode(data) {
        assert_eq!(header.encode(), data);
        assert_eq!(header.leaf(), tree::leaf_hash(data));
    }
}

/// `proof.cbor`.
pub fn proof(data: &[u8]) {
    if let Ok(proof) = Proof::decode(data) {
        assert_eq!(proof.encode(), data);
        assert!(proof.first_chunk + proof.chunk_count <= proof.leaves.len() as u64);
    }
}

/// `keys.cbor`.
pub fn keys(data: &[u8]) {
    if let Ok(keys) = DisclosedKeys::decode(data) {
        assert_eq!(keys.encode(), data);
    }
}

/// The signed checkpoint, from the envelope or, signed here, from the payload.
pub fn checkpoint(data: &[u8]) {
    let key = SigningKey::from_seed(&SEED);
    for content_type in [checkpoint::CONTENT_TYPE, manifest::CONTENT_TYPE] {
        if let Ok(payload) = cose::verify1(&key.public(), content_type, data) {
            assert_eq!(cose::sign1(&key, content_type, payload), data);
        }
    }
    let _ = SignedCheckpoint::verify(data, &key.public());
    if let Ok(checkpoint) = Checkpoint::decode(data) {
        assert_eq!(checkpoint.encode(), data);
        let signed = checkpoint.sign(&key);
        assert!(SignedCheckpoint::verify(signed.as_bytes(), &key.public()).is_ok());
    }
}

/// A sealed piece: the frame of any bytes, and any bytes authentic in a frame, as one with the key
/// could write them.
pub fn piece(data: &[u8]) {
    let key = [0x33; 32];
    let session = SessionId::new(1_793_000_000_000, [5; 10]);
    let at = PieceAddress { session, chunk: 7, piece: 3, nonce: [9; 16] };
    if let Ok(frame) = read_frame(data, 7, 3) {
        assert!(ChunkKey::from_bytes(key).open(&at, &frame).is_err(), "a tag was guessed");
    }
    let Some((flags, body)) = data.split_first() else { return };
    let flags = flags & 3;
    let (mut nonce, mut associated) = ([0; 24], vec![1]);
    nonce[..16].copy_from_slice(&at.nonce);
    nonce[16..].copy_from_slice(&(at.piece | u64::from(flags >> 1) << 63).to_be_bytes());
    associated.extend(session.as_bytes());
    associated.extend(at.chunk.to_be_bytes());
    associated.extend(at.piece.to_be_bytes());
    associated.extend([flags & 1, flags >> 1]);
    let mut sealed = body.to_vec();
    let tag = XChaCha20Poly1305::new(&Key::from(key))
        .encrypt_inout_detached(&XNonce::from(nonce), &associated, sealed.as_mut_slice().into())
        .expect("a short message is sealed");
    sealed.extend(tag);
    let mut framed = vec![flags];
    framed.extend((sealed.len() as u32).to_be_bytes());
    framed.extend(sealed);
    let Ok(frame) = read_frame(&framed, 7, 3) else {
        assert!(body.len() > PIECE_MAX_BYTES);
        return;
    };
    match ChunkKey::from_bytes(key).open(&at, &frame) {
        Ok(opened) => {
            assert!(opened.plaintext.len() <= PIECE_MAX_BYTES);
            assert_eq!(opened.last, flags & 2 != 0);
            assert!(flags & 1 != 0 || opened.plaintext == body);
        }
        Err(_) => assert!(flags & 1 != 0, "what is not compressed opens"),
    }
}

/// A whole bundle of any bytes.
pub fn bundle(data: &[u8]) {
    let content = bundle::read(&data.to_vec(), &|_, _| {});
    let _ = content.findings.verdict().exit_code();
}

/// Inclusion and consistency proofs of any bytes; and for a small tree, that what verifies is what
/// is drawn.
pub fn tree(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<18>() else { return };
    let hashes: Vec<Hash> = rest.as_chunks::<32>().0.iter().copied().map(Hash).collect();
    let number = |at: usize| head[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let root = hashes.last().copied().unwrap_or(Hash([0; 32]));
    let (one, two) = (number(0), number(8));
    let found = tree::verify_inclusion::<Blake3>(&root, one, two, &root, &hashes);
    assert!(!found || (one == 0 && two == 1));
    let _ = tree::verify_consistency::<Blake3>(one, &root, two, &root, &hashes);

    let size = u64::from(head[16] % 64) + 1;
    let grown = Tree::<Blake3>::from_leaves((0..size).map(|n| tree::leaf_hash(&n.to_be_bytes())));
    let (index, old) = (u64::from(head[17]) % size, one % size + 1);
    let leaf = tree::leaf_hash(&index.to_be_bytes());
    let drawn = grown.inclusion(index, size).expect("the leaf is there");
    // The drawn proof with bytes of the input laid over it.
    let mut changed = drawn.clone();
    for (hash, other) in changed.iter_mut().zip(&hashes) {
        *hash = *other;
    }
    changed.extend(hashes.iter().skip(drawn.len()));
    let verifies = tree::verify_inclusion::<Blake3>(&leaf, index, size, &grown.root(), &changed);
    assert_eq!(verifies, changed == drawn);
    let old_root = grown.root_at(old).expect("the tree was as large");
    let drawn = grown.consistency(old, size).expect("the tree was as large");
    let holds = |proof: &[Hash]| {
        tree::verify_consistency::<Blake3>(old, &old_root, size, &grown.root(), proof)
    };
    assert!(holds(&drawn));
    assert_eq!(holds(&hashes), hashes == drawn);
}

/// The text forms of ids, hashes and keys, and a signature of any bytes.
pub fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text.to_lowercase());
    }
    if let Ok(hash) = text.parse::<Hash>() {
        assert_eq!(hash.to_string(), text.to_lowercase());
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text.to_lowercase());
    }
    if let Some((id, rest)) = data.split_first_chunk::<16>()
        && let Ok(id) = SessionId::from_bytes(*id)
    {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.unix_ms() < 1 << 48);
        let _ = rest;
    }
    if let Some((key, rest)) = data.split_first_chunk::<32>()
        && let Some((signature, message)) = rest.split_first_chunk::<64>()
        && let Ok(key) = PublicKey::from_bytes(*key)
    {
        let _ = key.verify(message, &Signature(*signature));
    }
}
