//! The published vectors of the standards that the format stands on. The fixtures name their
//! origin.
#![allow(clippy::unwrap_used, clippy::panic)] // what is broken stops the test

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_evidence::cbor::{Decoder, Encoder};
use lucid_evidence::seal::{PieceAddress, SessionSecret, read_frame};
use lucid_evidence::{Hash, PublicKey, SessionId, Signature, SigningKey, cose};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/evidence/vectors");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn cases(fixture: &Value) -> &[Value] {
    let cases = fixture["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    assert_eq!(text.len() % 2, 0);
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

#[test]
fn blake3_hashes_and_derives_keys_as_published() {
    let vectors = fixture("blake3");
    let context = vectors["context"].as_str().unwrap();
    for case in cases(&vectors) {
        let length = case["length"].as_u64().unwrap();
        let input: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        assert_eq!(Hash::of(&input).to_string(), case["hash"].as_str().unwrap());
        let (head, tail) = input.split_at(input.len() / 3);
        assert_eq!(Hash::of_parts(&[head, tail]), Hash::of(&input));
        let derived = Hash(blake3::derive_key(context, &input));
        assert_eq!(derived.to_string(), case["derive_key"].as_str().unwrap());
    }
}

#[test]
fn xchacha20_poly1305_is_that_of_the_draft() {
    let vector = fixture("xchacha20poly1305");
    let cipher = XChaCha20Poly1305::new(&Key::from(array::<32>(&vector["key"])));
    let nonce = XNonce::from(array::<24>(&vector["nonce"]));
    let mut message = bytes(&vector["plaintext"]);
    let aad = bytes(&vector["aad"]);
    let tag = cipher.encrypt_inout_detached(&nonce, &aad, message.as_mut_slice().into()).unwrap();
    assert_eq!(message, bytes(&vector["ciphertext"]));
    assert_eq!(tag.as_slice(), bytes(&vector["tag"]));
}

/// The seal is that cipher under the documented key, nonce and associated data, all built here from
/// the document.
#[test]
fn a_piece_is_sealed_with_the_documented_key_nonce_and_data() {
    let plaintext = bytes(&fixture("xchacha20poly1305")["plaintext"]);
    let session: SessionId = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
    let secret = [0x80; 32];
    for (chunk, piece, last) in [(0, 0, false), (7, 3, false), (7, 3, true), (1 << 40, 4095, true)]
    {
        let at = PieceAddress { session, chunk, piece, nonce: [0x40; 16] };
        let key = SessionSecret::from_bytes(secret).chunk_key(chunk);
        let mut framed = Vec::new();
        key.seal(&at, &plaintext, last, false, &mut framed).unwrap();

        let input = [&secret[..], &chunk.to_be_bytes()].concat();
        let derived = blake3::derive_key("lucid 2026-11 piece key v1", &input);
        assert_eq!(*key.expose(), derived);
        let commitment = blake3::derive_key("lucid 2026-11 chunk key commitment v1", &derived);
        assert_eq!(key.commitment(), Hash(commitment));
        let number: u64 = if last { piece | 1 << 63 } else { piece };
        let nonce = [&[0x40; 16][..], &number.to_be_bytes()].concat();
        let mut aad = vec![1];
        aad.extend(session.as_bytes());
        aad.extend(chunk.to_be_bytes());
        aad.extend(piece.to_be_bytes());
        aad.extend([0, u8::from(last)]);
        let mut sealed = plaintext.clone();
        let tag = XChaCha20Poly1305::new(&Key::from(derived))
            .encrypt_inout_detached(
                &XNonce::try_from(&nonce[..]).unwrap(),
                &aad,
                sealed.as_mut_slice().into(),
            )
            .unwrap();
        sealed.extend(tag);
        let mut expected = vec![u8::from(last) << 1];
        expected.extend((sealed.len() as u32).to_be_bytes());
        expected.extend(sealed);
        assert_eq!(framed, expected);
        let frame = read_frame(&framed, chunk, piece).unwrap();
        assert_eq!(key.open(&at, &frame).unwrap().plaintext, plaintext);
    }
}

#[test]
fn ed25519_signs_and_verifies_as_in_rfc_8032() {
    for case in cases(&fixture("ed25519")) {
        let key = SigningKey::from_seed(&array(&case["seed"]));
        assert_eq!(key.public().to_string(), case["public"].as_str().unwrap());
        let (message, signature) = (bytes(&case["message"]), Signature(array(&case["signature"])));
        assert_eq!(key.sign(&message), signature);
        assert_eq!(key.public().verify(&message, &signature), Ok(()));
        assert!(key.public().verify(&[&message[..], b"x"].concat(), &signature).is_err());
    }
}

/// Strict verification takes one of the twelve: points of mixed order are no danger while the
/// equation holds without the cofactor and the encodings are canonical.
#[test]
fn the_edge_cases_of_ed25519_are_judged_strictly() {
    let vectors = fixture("ed25519-edge-cases");
    assert_eq!(cases(&vectors).len(), 12);
    for case in cases(&vectors) {
        let judged = PublicKey::from_bytes(array(&case["public"])).and_then(|key| {
            key.verify(&bytes(&case["message"]), &Signature(array(&case["signature"])))
        });
        assert_eq!(judged.is_ok(), case["accept"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn a_signature_and_a_key_have_one_encoding() {
    // L, the order of the base point, little-endian.
    let order =
        bytes(&Value::from("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"));
    let key = SigningKey::from_seed(&[7; 32]);
    let good = key.sign(b"message");
    let mut other = good;
    let mut carry = 0;
    for (byte, add) in other.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "S + L fits");
    assert!(key.public().verify(b"message", &good).is_ok());
    assert!(key.public().verify(b"message", &other).is_err(), "S + L is the same number twice");
    // The canonical points of small order, and y = p + 3, another name of the point with y = 3.
    for text in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert!(PublicKey::from_bytes(array(&Value::from(text))).is_err(), "{text}");
    }
    let three =
        array(&Value::from("0300000000000000000000000000000000000000000000000000000000000000"));
    assert!(PublicKey::from_bytes(three).is_ok(), "y = 3 is a point");
}

#[test]
fn cose_signs_what_the_working_groups_example_signs() {
    let vector = fixture("cose");
    let (protected, payload) = (bytes(&vector["protected"]), bytes(&vector["payload"]));
    let to_be_signed = Encoder::new()
        .array(4)
        .text("Signature1")
        .bytes(&protected)
        .bytes(&[])
        .bytes(&payload)
        .finish();
    assert_eq!(to_be_signed, bytes(&vector["to_be_signed"]));
    let key = SigningKey::from_seed(&array(&vector["seed"]));
    assert_eq!(key.public(), PublicKey::from_bytes(array(&vector["public"])).unwrap());
    let signed = bytes(&vector["signed"]);
    let signature = Signature(signed[signed.len() - 64..].try_into().unwrap());
    assert_eq!(key.sign(&to_be_signed), signature);
    assert_eq!(key.public().verify(&to_be_signed, &signature), Ok(()));
    // The example names its key in the header that nobody signs; this format leaves nothing there.
    assert!(cose::verify1(&key.public(), "application/vnd.lucid.manifest+cbor", &signed).is_err());
}

/// Our envelope read field by field, and its signature checked over the structure built from the
/// standard.
#[test]
fn our_envelope_is_cose_sign1() {
    let key = SigningKey::from_seed(&[7; 32]);
    let kind = "application/vnd.lucid.checkpoint+cbor";
    let signed = cose::sign1(&key, kind, b"payload");
    let mut d = Decoder::new(&signed);
    d.tag("tag", 18).unwrap();
    d.array_of("envelope", 4).unwrap();
    let protected = d.bytes("protected", 99).unwrap();
    d.map("unprotected", 0).unwrap();
    let payload = d.bytes("payload", 99).unwrap();
    let signature = Signature(d.fixed("signature").unwrap());
    d.end("envelope").unwrap();
    let header = Encoder::new().map(2).uint(1).int(-8).uint(3).text(kind).finish();
    assert_eq!(protected, header);
    let to_be_signed = Encoder::new()
        .array(4)
        .text("Signature1")
        .bytes(protected)
        .bytes(&[])
        .bytes(payload)
        .finish();
    assert_eq!(key.public().verify(&to_be_signed, &signature), Ok(()));
}
