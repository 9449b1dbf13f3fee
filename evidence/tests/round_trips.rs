//! Whatever a recorder may write is read as the same, and no other bytes are read as it.
#![allow(clippy::unwrap_used)] // what is broken stops the test

use lucid_evidence::bundle::{self, Disclosure};
use lucid_evidence::chunk::{ChunkHeader, ChunkSealer, Gap, GapReason, MediaKind, TimeSpan};
use lucid_evidence::manifest::{
    ClockJump, CodecInfo, EndReason, GapRecord, Manifest, SignedManifest, SourceInfo,
};
use lucid_evidence::proof::{DisclosedKeys, Proof};
use lucid_evidence::seal::{ChunkKey, SessionSecret};
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Checkpoint, Hash, SessionId, SignedCheckpoint, SigningKey, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use std::convert::Infallible;
use std::io::Cursor;

fn device() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn session_key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn session() -> impl Strategy<Value = SessionId> {
    (0u64..1 << 48, any::<[u8; 10]>()).prop_map(|(ms, random)| SessionId::new(ms, random))
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn gap() -> impl Strategy<Value = Gap> {
    let reason = prop::sample::select(&GapReason::ALL[..]);
    (any::<u64>(), reason).prop_map(|(length_us, reason)| Gap { length_us, reason })
}

fn codec() -> impl Strategy<Value = CodecInfo> {
    let texts = (prop::option::of(".{0,40}"), prop::option::of(".{0,40}"), ".{0,40}", ".{0,40}");
    (texts, 0u64..65_536, 0u64..65_536, any::<bool>()).prop_map(
        |((video, audio, encoder, reason), width, height, hardware)| CodecInfo {
            video,
            audio,
            width,
            height,
            encoder,
            hardware,
            reason,
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let record = (any::<u64>(), any::<u64>(), any::<u64>(), gap()).prop_map(
        |(before_chunk, stream_us, wall_us, gap)| GapRecord {
            before_chunk,
            stream_us,
            wall_us,
            gap,
        },
    );
    let jump =
        (any::<u64>(), any::<i64>()).prop_map(|(stream_us, by_us)| ClockJump { stream_us, by_us });
    let texts = (".{0,60}", ".{0,60}", ".{0,60}", ".{0,60}", ".{0,60}");
    let lists = (
        vec(".{0,20}", 0..5),
        vec(record, 0..5),
        vec(jump, 0..5),
        vec(any::<u64>(), 0..9),
        prop::option::of(hash()),
    );
    let times = (any::<u64>(), any::<u64>(), any::<u64>());
    let end = prop::sample::select(&EndReason::ALL[..]);
    (session(), texts, codec(), lists, times, end, 0u64..=1 << 20, hash()).prop_map(
        |(session, texts, codec, lists, times, end_reason, tree_size, root)| {
            let (kind, name, address, device_name, software) = texts;
            let (participants, gaps, clock_jumps, checkpoint_heights, policy) = lists;
            let (start_us, end_us, duration_us) = times;
            Manifest {
                session,
                session_key: session_key().public(),
                source: SourceInfo { kind, name, address },
                codec,
                device_name,
                device_key: device().public(),
                software,
                policy,
                participants,
                start_us,
                end_us,
                duration_us,
                end_reason,
                tree_size,
                root,
                gaps,
                clock_jumps,
                checkpoint_heights,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_manifest(manifest in manifest(), at: prop::sample::Index, bit in 0u8..8) {
        let bytes = manifest.encode();
        prop_assert_eq!(Manifest::decode(&bytes).unwrap(), manifest.clone());
        let signed = manifest.sign(&device());
        prop_assert_eq!(SignedManifest::verify(signed.as_bytes()).unwrap(), signed.clone());
        let mut changed = signed.as_bytes().to_vec();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        prop_assert!(SignedManifest::verify(&changed).is_err());
    }

    #[test]
    fn a_checkpoint(session in session(), tree_size: u64, root in hash(), time_us: u64) {
        let checkpoint = Checkpoint { session, tree_size, root, time_us };
        let signed = checkpoint.sign(&session_key());
        let read = SignedCheckpoint::verify(signed.as_bytes(), &session_key().public());
        prop_assert_eq!(read.as_ref(), Ok(&signed));
        prop_assert_eq!(*signed.checkpoint(), checkpoint);
    }

    #[test]
    fn disclosed_keys(
        session in session(), first_chunk: u64, keys in vec(any::<[u8; 32]>(), 0..9),
    ) {
        let keys: Vec<_> = keys.into_iter().map(ChunkKey::from_bytes).collect();
        let disclosed = DisclosedKeys { session, first_chunk, keys };
        let read = DisclosedKeys::decode(&disclosed.encode()).unwrap();
        prop_assert_eq!((read.session, read.first_chunk), (session, first_chunk));
        prop_assert_eq!(read.encode(), disclosed.encode());
    }
}

/// What one chunk is made of: an initialisation segment, fragments, and the gap before it.
type Media = (u8, Vec<Vec<u8>>, Option<Gap>);

fn media() -> impl Strategy<Value = Media> {
    let reason = prop::sample::select(&GapReason::ALL[..]);
    let gap = (1u64..1 << 40, reason).prop_map(|(length_us, reason)| Gap { length_us, reason });
    (0u8..3, vec(vec(any::<u8>(), 0..3000), 0..4), prop::option::of(gap))
}

/// Records `chunks` of one session and writes a bundle of those from `first` on.
fn recorded(mut manifest: Manifest, chunks: &[Media], first: usize, form: u8) -> Vec<u8> {
    let secret = SessionSecret::from_bytes([3; 32]);
    let (mut headers, mut sealed) = (Vec::new(), Vec::new());
    let mut tree = Tree::<Blake3>::new();
    let mut clock = 0u64;
    manifest.gaps.clear();
    for ((init, fragments, gap_before), index) in chunks.iter().zip(0u64..) {
        let nonce = [index as u8; 16];
        let session = manifest.session;
        let mut sealer = ChunkSealer::new(session, index, MediaKind::Video, &secret, nonce);
        let init = vec![*init; usize::from(*init) * 20];
        let mut bytes = sealer.push(&init).unwrap().concat();
        for fragment in fragments {
            bytes.extend(sealer.push(fragment).unwrap().concat());
        }
        if let Some(gap) = *gap_before {
            let (stream_us, wall_us) = (clock, 0);
            manifest.gaps.push(GapRecord { before_chunk: index, stream_us, wall_us, gap });
            clock += gap.length_us;
        }
        let time = TimeSpan {
            wall_start_us: 0,
            wall_end_us: 0,
            stream_start_us: clock,
            stream_end_us: clock + 1_000_000,
        };
        clock += 1_000_000;
        let (last, header) = sealer.finish(time, init.len() as u64, *gap_before).unwrap();
        bytes.extend(last);
        tree.push(header.leaf());
        headers.push(header);
        sealed.push(bytes);
    }
    (manifest.tree_size, manifest.root, manifest.duration_us) = (tree.size(), tree.root(), clock);
    let proof = Proof {
        session: manifest.session,
        leaves: tree.leaves().to_vec(),
        first_chunk: first as u64,
        chunk_count: (headers.len() - first) as u64,
        checkpoints: vec![],
        anchor: None,
    };
    let disclosure = match form {
        0 => Disclosure::Sealed,
        1 => Disclosure::Keys(&secret),
        _ => Disclosure::Video(&secret),
    };
    let mut out = Cursor::new(Vec::new());
    let load = |h: &ChunkHeader| Ok::<_, Infallible>(sealed[h.index as usize].clone());
    let signed = manifest.sign(&device());
    bundle::write(&mut out, &signed, &proof, &headers[first..], &disclosure, load, |_, _| {})
        .unwrap();
    out.into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_bundle_of_any_recording_is_valid_and_a_changed_one_is_not(
        manifest in manifest(), chunks in vec(media(), 0..5), first: prop::sample::Index,
        form in 0u8..3, at: prop::sample::Index, bit in 0u8..8,
    ) {
        let first = first.index(chunks.len() + 1);
        let bundle = recorded(manifest, &chunks, first, form);
        let content = bundle::read(&bundle, &|_, _| {});
        prop_assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
        let mut changed = bundle;
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let content = bundle::read(&changed, &|_, _| {});
        prop_assert_ne!(content.findings.verdict(), Verdict::Valid, "byte {}", at);
    }
}
