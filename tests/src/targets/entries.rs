//! A canonical container with altered entries. Two adversaries: one has the file alone, the other
//! the device's and the session's keys too.

use crate::container::{assemble, take_apart};
use crate::sample::{DEVICE_SEED, SESSION_SEED, Sample};
use lucid_evidence::manifest::{self, Manifest};
use lucid_evidence::proof::Proof;
use lucid_evidence::tree::{Blake3, Tree, leaf_hash};
use lucid_evidence::{Checkpoint, SigningKey, Verdict, bundle, cose};
use std::sync::LazyLock;

/// Alterations drawn from one input.
const STEPS_MAX: usize = 8;

type Entries = Vec<(String, Vec<u8>)>;

struct Bases {
    sample: Sample,
    bundles: Vec<Entries>,
}

static BASES: LazyLock<Bases> = LazyLock::new(|| {
    let sample = Sample::new();
    let bundles = sample.bundles().iter().map(|(_, bytes)| take_apart(bytes)).collect();
    Bases { sample, bundles }
});

/// Takes numbers and byte strings from the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.byte().min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Overwrites, inserts or removes bytes at a place.
    fn patch(&mut self, bytes: &mut Vec<u8>) {
        let at = (self.byte() << 8 | self.byte()).min(bytes.len());
        let way = self.byte() % 3;
        let new = self.bytes();
        let end = if way == 0 { at } else { (at + new.len()).min(bytes.len()) };
        let put = if way == 1 { &[][..] } else { new };
        bytes.splice(at..end, put.iter().copied());
    }
}

fn find<'a>(entries: &'a mut Entries, name: &str) -> Option<&'a mut Vec<u8>> {
    entries.iter_mut().find(|(found, _)| found == name).map(|(_, data)| data)
}

/// One alteration that anyone can make who has the file.
fn alter(entries: &mut Entries, input: &mut Input<'_>) {
    let place = input.byte() % (entries.len() + 1);
    if place == entries.len() {
        let name = String::from_utf8_lossy(input.bytes()).into_owned();
        entries.push((name, input.bytes().to_vec()));
        return;
    }
    match input.byte() % 6 {
        0 | 1 => input.patch(&mut entries[place].1),
        2 => {
            entries.remove(place);
        }
        3 => {
            let copy = entries[place].clone();
            entries.insert(input.byte() % (entries.len() + 1), copy);
        }
        4 => {
            let other = input.byte() % entries.len();
            entries.swap(place, other);
        }
        _ => entries[place].0 = String::from_utf8_lossy(input.bytes()).into_owned(),
    }
}

/// One alteration that needs the keys: of a header, the manifest or a checkpoint, hashed and signed
/// again.
fn forge(entries: &mut Entries, input: &mut Input<'_>) {
    let device = SigningKey::from_seed(&DEVICE_SEED);
    let Some(mut proof) = find(entries, "proof.cbor").and_then(|data| Proof::decode(data).ok())
    else {
        return;
    };
    let mut manifest = BASES.sample.manifest.encode();
    if let Some(data) = find(entries, "manifest.cose")
        && let Ok(envelope) = cose::open(data, manifest::CONTENT_TYPE)
    {
        manifest = envelope.payload().to_vec();
    }
    match input.byte() % 4 {
        0 => input.patch(&mut manifest),
        1 => {
            let index = input.byte() % 3;
            if let Some(data) = find(entries, &format!("chunks/{index:06}.bin"))
                && let Some((length, rest)) = data.split_first_chunk::<4>()
                && let Some((header, sealed)) =
                    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
            {
                let (mut header, sealed) = (header.to_vec(), sealed.to_vec());
                input.patch(&mut header);
                if let Some(leaf) = proof.leaves.get_mut(index) {
                    *leaf = leaf_hash(&header);
                }
                *data = (header.len() as u32).to_be_bytes().to_vec();
                data.extend(header);
                data.extend(sealed);
            }
        }
        2 => {
            let checkpoint = Checkpoint {
                session: proof.session,
                tree_size: input.byte() as u64,
                root: Tree::<Blake3>::from_leaves(proof.leaves.iter().copied()).root(),
                time_us: input.byte() as u64,
            };
            let signed = checkpoint.sign(&SigningKey::from_seed(&SESSION_SEED));
            proof.checkpoints.push(signed.as_bytes().to_vec());
        }
        _ => {
            proof.first_chunk = input.byte() as u64;
            proof.chunk_count = input.byte() as u64;
        }
    }
    if let Ok(mut decoded) = Manifest::decode(&manifest) {
        decoded.root = Tree::<Blake3>::from_leaves(proof.leaves.iter().copied()).root();
        manifest = decoded.encode();
    }
    if let Some(data) = find(entries, "manifest.cose") {
        *data = cose::sign1(&device, manifest::CONTENT_TYPE, &manifest);
    }
    if let Some(data) = find(entries, "proof.cbor") {
        *data = proof.encode();
    }
}

fn same_form(bundle: &Entries, entries: &Entries) -> bool {
    let same = |own: &(String, Vec<u8>), other: &(String, Vec<u8>)| {
        own == other
            || (own.0 == "proof.cbor"
                && own.0 == other.0
                && Proof::decode(&other.1).is_ok_and(|other| {
                    let all = &BASES.sample.proof.checkpoints;
                    let fewer = other.checkpoints.iter().all(|one| all.contains(one));
                    let whole = Proof { checkpoints: all.clone(), ..other };
                    fewer && whole.encode() == own.1
                }))
    };
    bundle.len() == entries.len() && bundle.iter().zip(entries).all(|(own, other)| same(own, other))
}

/// The altered entries that an input stands for, and whether keys were used; none if the input
/// leads to no container.
fn altered(data: &[u8]) -> Option<(Entries, bool)> {
    let mut input = Input(data);
    let choice = input.byte();
    let forging = choice & 0x80 != 0;
    let mut entries = BASES.bundles[choice % BASES.bundles.len()].clone();
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            break;
        }
        if forging {
            forge(&mut entries, &mut input);
        } else {
            alter(&mut entries, &mut input);
        }
        if entries.is_empty() {
            return None;
        }
    }
    let fits = entries.iter().all(|(name, _)| name.len() <= 0xffff);
    fits.then_some((entries, forging))
}

/// The bundle that an input of this target stands for.
pub fn altered_bundle(data: &[u8]) -> Option<Vec<u8>> {
    altered(data).map(|(entries, _)| assemble(&entries))
}

/// Alters the entries of a sample bundle and has the result judged. Whoever has no key gets `valid`
/// only for chunks and a manifest that are the recorder's own.
pub fn entries(data: &[u8]) {
    let Some((entries, forging)) = altered(data) else { return };
    let content = bundle::read(&assemble(&entries), &|_, _| {});
    if content.findings.verdict() == Verdict::Valid && !forging {
        for (name, data) in &entries {
            let own = name == "README.txt"
                || name == "proof.cbor"
                || name == "keys.cbor"
                || name.starts_with("video")
                || BASES.bundles.iter().flatten().any(|(n, d)| n == name && d == data);
            assert!(own, "{name} was altered and passed");
        }
        // What is neither hashed nor signed has one form for what the bundle shows. A checkpoint
        // may be left out: the bundle then proves less.
        let again = BASES.bundles.iter().any(|bundle| same_form(bundle, &entries));
        assert!(again, "the bundle passed in a form that nobody writes");
    }
}
