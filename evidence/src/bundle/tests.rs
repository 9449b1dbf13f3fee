//! Bundles of a small recording: what is written is read as valid, and nothing in it can be
//! changed.

use super::write::Disclosure;
use super::*;
use crate::checkpoint::Checkpoint;
use crate::chunk::{ChunkSealer, Gap, GapReason, TimeSpan};
use crate::manifest::{GapRecord, SignedManifest};
use crate::proof::Proof;
use crate::seal::SessionSecret;
use crate::tree::{Blake3, Tree};
use crate::{SigningKey, Verdict};
use std::collections::HashMap;
use std::io::Cursor;

struct Recording {
    manifest: SignedManifest,
    proof: Proof,
    headers: Vec<ChunkHeader>,
    sealed: HashMap<u64, Vec<u8>>,
    secret: SessionSecret,
}

/// Three small chunks; the initialisation segment changes before the last, and a gap stands before
/// the second.
fn recording() -> Recording {
    let device = SigningKey::from_seed(&[1; 32]);
    let session_key = SigningKey::from_seed(&[2; 32]);
    let mut manifest = crate::manifest::tests::example(&device, session_key.public());
    let secret = SessionSecret::from_bytes([3; 32]);
    let mut headers = Vec::new();
    let mut sealed = HashMap::new();
    let mut tree = Tree::<Blake3>::new();
    let gap = Gap { length_us: 500, reason: GapReason::SourceLost };
    let mut clock = 0;
    let mut checkpoints = Vec::new();
    for (index, init) in [(0u64, "init-a"), (1, "init-a"), (2, "init-b")] {
        let kind = MediaKind::Video;
        let mut sealer =
            ChunkSealer::new(manifest.session, index, kind, &secret, [index as u8; 16]);
        let mut bytes = Vec::new();
        for part in [init.to_owned(), format!("fragment {index}."), "x".repeat(40)] {
            bytes.extend(sealer.push(part.as_bytes()).unwrap().concat());
        }
        let gap_before = (index == 1).then_some(gap);
        if let Some(gap) = gap_before {
            clock += gap.length_us;
        }
        let time = TimeSpan {
            wall_start_us: clock,
            wall_end_us: clock + 1000,
            stream_start_us: clock,
            stream_end_us: clock + 1000,
        };
        clock += 1000;
        let (last, header) = sealer.finish(time, init.len() as u64, gap_before).unwrap();
        bytes.extend(last);
        tree.push(header.leaf());
        sealed.insert(index, bytes);
        headers.push(header);
        let checkpoint = Checkpoint {
            session: manifest.session,
            tree_size: tree.size(),
            root: tree.root(),
            time_us: clock,
        };
        checkpoints.push(checkpoint.sign(&session_key).as_bytes().to_vec());
    }
    manifest.gaps = vec![GapRecord { before_chunk: 1, stream_us: 1000, wall_us: 1000, gap }];
    manifest.tree_size = 3;
    manifest.root = tree.root();
    manifest.duration_us = clock;
    let proof = Proof {
        session: manifest.session,
        leaves: tree.leaves().to_vec(),
        first_chunk: 0,
        chunk_count: 3,
        checkpoints,
        anchor: None,
    };
    Recording { manifest: manifest.sign(&device), proof, headers, sealed, secret }
}

impl Recording {
    fn bundle_of(&self, first: u64, count: u64, disclosure: &Disclosure<'_>) -> Vec<u8> {
        self.bundle(first, count, &[], disclosure)
    }

    fn bundle_without(&self, absent: &[u64], disclosure: &Disclosure<'_>) -> Vec<u8> {
        self.bundle(0, 3, absent, disclosure)
    }

    fn bundle(
        &self,
        first: u64,
        count: u64,
        absent: &[u64],
        disclosure: &Disclosure<'_>,
    ) -> Vec<u8> {
        let proof = Proof { first_chunk: first, chunk_count: count, ..self.proof.clone() };
        let headers = &self.headers[first as usize..(first + count) as usize];
        let chunks = write::Chunks { headers, absent };
        let mut out = Cursor::new(Vec::new());
        let load = |header: &ChunkHeader| -> Result<Vec<u8>, std::convert::Infallible> {
            Ok(self.sealed[&header.index].clone())
        };
        let mut told = (0, 0);
        let progress = |done, total| told = (done, total);
        let length =
            write(&mut out, &self.manifest, &proof, chunks, disclosure, load, progress).unwrap();
        assert_eq!(length, out.get_ref().len() as u64);
        assert_eq!(told.0, told.1);
        out.into_inner()
    }
}

fn verdict(bundle: &[u8]) -> Verdict {
    read(&bundle.to_vec(), &|_, _| {}).findings.verdict()
}

fn all_forms(recording: &Recording) -> Vec<Vec<u8>> {
    let secret = &recording.secret;
    vec![
        recording.bundle_of(0, 3, &Disclosure::Video(secret)),
        recording.bundle_of(0, 3, &Disclosure::Keys(secret)),
        recording.bundle_of(0, 3, &Disclosure::Sealed),
        recording.bundle_of(1, 1, &Disclosure::Video(secret)),
        recording.bundle_of(1, 2, &Disclosure::Video(secret)),
        recording.bundle_of(3, 0, &Disclosure::Sealed),
    ]
}

#[test]
fn every_form_of_a_bundle_is_read_as_written() {
    let recording = recording();
    for bundle in all_forms(&recording) {
        let content = read(&bundle, &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
        assert_eq!(content.manifest.as_ref(), Some(&recording.manifest));
        assert_eq!(content.checkpoints.len(), 3);
    }
}

#[test]
fn the_videos_are_the_disclosed_plaintext_in_order() {
    let recording = recording();
    let bundle = recording.bundle_of(0, 3, &Disclosure::Video(&recording.secret));
    let entries = zip::walk(&bundle).unwrap();
    let data = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        bundle[entry.data_offset as usize..entry.end() as usize].to_vec()
    };
    let x = "x".repeat(40);
    let first = format!("init-afragment 0.{x}fragment 1.{x}");
    assert_eq!(data("video.mp4"), first.as_bytes());
    assert_eq!(data("video-2.mp4"), format!("init-bfragment 2.{x}").as_bytes());
}

#[test]
fn no_bit_of_a_bundle_is_free() {
    let recording = recording();
    for (form, bundle) in all_forms(&recording).into_iter().enumerate() {
        for at in 0..bundle.len() {
            let mut changed = bundle.clone();
            changed[at] ^= 1 << (at % 8);
            assert_ne!(verdict(&changed), Verdict::Valid, "form {form}, byte {at}");
        }
    }
}

#[test]
fn every_truncation_and_every_addition_shows() {
    let recording = recording();
    for bundle in all_forms(&recording) {
        for end in 0..bundle.len() {
            let found = verdict(&bundle[..end]);
            assert_ne!(found, Verdict::Valid, "cut at {end}");
            assert_ne!(found, Verdict::Tampered, "cut at {end}");
        }
        assert_eq!(verdict(&[&bundle[..], b"x"].concat()), Verdict::Tampered);
    }
}

/// Rebuilds a container from entries, so that only what is inside can give a change away.
fn rebuild(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut writer = zip::Writer::new(&mut out);
    for (name, data) in entries {
        writer.entry(name, &[data]).unwrap();
    }
    writer.finish().unwrap();
    out.into_inner()
}

fn take_apart(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    zip::walk(&bundle.to_vec())
        .unwrap()
        .into_iter()
        .map(|e| (e.name.clone(), bundle[e.data_offset as usize..e.end() as usize].to_vec()))
        .collect()
}

#[test]
fn a_rebuilt_container_hides_nothing() {
    let recording = recording();
    let bundle = recording.bundle_of(0, 3, &Disclosure::Video(&recording.secret));
    let entries = take_apart(&bundle);
    assert_eq!(rebuild(&entries), bundle);
    for place in 0..entries.len() {
        for at in 0..entries[place].1.len() {
            let mut changed = entries.clone();
            changed[place].1[at] ^= 1 << (at % 8);
            let found = verdict(&rebuild(&changed));
            assert_ne!(found, Verdict::Valid, "{} byte {at}", entries[place].0);
        }
        let mut without = entries.clone();
        without.remove(place);
        assert_ne!(verdict(&rebuild(&without)), Verdict::Valid, "without {}", entries[place].0);
        let mut twice = entries.clone();
        twice.insert(place, entries[place].clone());
        assert_ne!(verdict(&rebuild(&twice)), Verdict::Valid);
        for other in 0..place {
            let mut swapped = entries.clone();
            let data = swapped[place].1.clone();
            swapped[place].1 = std::mem::replace(&mut swapped[other].1, data);
            assert_ne!(verdict(&rebuild(&swapped)), Verdict::Valid, "{other} and {place}");
        }
    }
    let mut climbing = entries.clone();
    climbing.push(("../../etc/passwd".into(), b"root".to_vec()));
    assert_eq!(verdict(&rebuild(&climbing)), Verdict::Tampered);
}

#[test]
fn a_chunk_that_is_neither_there_nor_withheld_is_incomplete() {
    let recording = recording();
    let bundle = recording.bundle_of(0, 3, &Disclosure::Sealed);
    let mut entries = take_apart(&bundle);
    entries.retain(|(name, _)| name != "chunks/000001.bin");
    assert_eq!(verdict(&rebuild(&entries)), Verdict::Incomplete);
}

#[test]
fn a_disclosed_bundle_whose_chunks_were_taken_out_is_incomplete_and_the_rest_still_proved() {
    let recording = recording();
    let whole = take_apart(&recording.bundle_of(0, 3, &Disclosure::Video(&recording.secret)));
    let sets = [&[0][..], &[1], &[2], &[0, 1], &[0, 1, 2]];
    for (number, absent) in sets.into_iter().enumerate() {
        let mut entries = whole.clone();
        entries.retain(|(name, _)| absent.iter().all(|chunk| *name != chunk_name(*chunk)));
        let content = read(&rebuild(&entries), &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Incomplete, "{:?}", content.findings);
        for place in 0..entries.len() {
            let name = entries[place].0.clone();
            // Every byte is changed without one of these sets.
            for at in (number..entries[place].1.len()).step_by(sets.len()) {
                let mut changed = entries.clone();
                changed[place].1[at] ^= 1 << (at % 8);
                let found = verdict(&rebuild(&changed));
                let mut complete = whole.clone();
                let same = complete.iter_mut().find(|(other, _)| *other == name).unwrap();
                same.1[at] ^= 1 << (at % 8);
                // A missing chunk may have made the MP4 what it is, and nothing else needs its key.
                let of_missing = name.starts_with("video") || name == KEYS;
                let least = verdict(&rebuild(&complete));
                let least = if of_missing { least.min(Verdict::Incomplete) } else { least };
                assert!(found >= least, "without {absent:?}, {name} byte {at}: {found:?}");
                let mut cut = entries.clone();
                cut[place].1.truncate(at);
                assert_ne!(verdict(&rebuild(&cut)), Verdict::Valid, "{name} cut at {at}");
            }
        }
    }
}

#[test]
fn a_bundle_made_without_a_chunk_is_incomplete_and_its_video_proved() {
    let recording = recording();
    for absent in 0..3 {
        for disclosure in [
            Disclosure::Video(&recording.secret),
            Disclosure::Keys(&recording.secret),
            Disclosure::Sealed,
        ] {
            let bundle = recording.bundle_without(&[absent], &disclosure);
            let content = read(&bundle, &|_, _| {});
            assert_eq!(content.findings.verdict(), Verdict::Incomplete, "{:?}", content.findings);
            let named = format!("{} is missing", chunk_name(absent));
            assert!(content.findings.iter().any(|finding| finding.text == named));
            let said = "the video is what the chunks hold";
            let proved = content.findings.iter().any(|finding| finding.text == said);
            assert_eq!(proved, matches!(disclosure, Disclosure::Video(_)));
        }
    }
}

#[test]
fn other_files_cannot_be_judged() {
    for bytes in [&b""[..], b"PK", b"hello, world, this is text", &[0; 4000]] {
        assert_eq!(verdict(bytes), Verdict::Unverifiable);
    }
    let foreign = rebuild(&[("letter.txt".into(), b"dear".to_vec())]);
    assert_eq!(verdict(&foreign), Verdict::Unverifiable);
}

#[test]
fn a_hole_between_chunks_that_nobody_declared_is_incomplete() {
    let mut recording = recording();
    let mut manifest = recording.manifest.manifest().clone();
    let mut tree = Tree::<Blake3>::new();
    for header in &mut recording.headers {
        if header.index == 2 {
            header.time.stream_start_us += 20_000_000;
            header.time.stream_end_us += 20_000_000;
        }
        tree.push(header.leaf());
    }
    manifest.root = tree.root();
    manifest.duration_us += 20_000_000;
    recording.proof.leaves = tree.leaves().to_vec();
    recording.proof.checkpoints.truncate(2);
    recording.manifest = manifest.sign(&SigningKey::from_seed(&[1; 32]));
    let bundle = recording.bundle_of(0, 3, &Disclosure::Sealed);
    let content = read(&bundle, &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Incomplete);
    assert!(content.findings.iter().any(|f| f.text.contains("20.000 s before chunk 2")));
}

#[test]
fn a_second_key_for_the_same_chunk_is_refused() {
    let recording = recording();
    let bundle = recording.bundle_of(0, 3, &Disclosure::Keys(&recording.secret));
    let mut entries = take_apart(&bundle);
    let place = entries.iter().position(|(name, _)| name == "keys.cbor").unwrap();
    let mut keys = crate::proof::DisclosedKeys::decode(&entries[place].1).unwrap();
    keys.keys[1] = crate::seal::ChunkKey::from_bytes([9; 32]);
    entries[place].1 = keys.encode();
    let content = read(&rebuild(&entries), &|_, _| {});
    assert_eq!(content.findings.verdict(), Verdict::Tampered);
    assert!(content.findings.iter().any(|f| f.text.contains("not the one committed to")));
}

#[test]
fn numbers_beyond_32_bits_go_into_zip64_fields() {
    let wide = 5u64 << 30;
    assert_eq!(zip::local_header("video.mp4", wide, 0).len(), 30 + 9 + 20);
    assert_eq!(zip::local_header("video.mp4", 1, 0).len(), 30 + 9);
    let entry = |header_offset, length| zip::Entry {
        name: "a".into(),
        header_offset,
        data_offset: header_offset + 31,
        length,
        crc: 0,
    };
    assert_eq!(zip::directory(&[entry(0, 1)], 40).len(), 46 + 1 + 22);
    assert_eq!(zip::directory(&[entry(wide, wide)], 3 * wide).len(), 46 + 1 + 28 + 56 + 20 + 22);
}

/// The verdict on the whole sealed bundle after the device signed another manifest.
fn judged_with(change: impl FnOnce(&mut crate::manifest::Manifest)) -> Verdict {
    let mut recording = recording();
    let mut manifest = recording.manifest.manifest().clone();
    change(&mut manifest);
    recording.manifest = manifest.sign(&SigningKey::from_seed(&[1; 32]));
    verdict(&recording.bundle_of(0, 3, &Disclosure::Sealed))
}

#[test]
fn gaps_that_contradict_each_other_or_the_chunks_are_refused() {
    assert_eq!(judged_with(|_| {}), Verdict::Valid);
    let twice = |m: &mut crate::manifest::Manifest| m.gaps.insert(0, m.gaps[0]);
    assert_eq!(judged_with(twice), Verdict::Tampered);
    assert_eq!(judged_with(|m| m.gaps[0].before_chunk = 4), Verdict::Tampered);
    assert_eq!(judged_with(|m| m.gaps[0].stream_us += 1), Verdict::Tampered);
    assert_eq!(judged_with(|m| m.gaps[0].gap.length_us = u64::MAX), Verdict::Tampered);
    assert_eq!(judged_with(|m| m.gaps.clear()), Verdict::Tampered);
    assert_eq!(judged_with(|m| m.duration_us += 1), Verdict::Incomplete);
    assert_eq!(judged_with(|m| m.duration_us -= 1), Verdict::Tampered);
    let at_end = |length_us| {
        move |m: &mut crate::manifest::Manifest| {
            let gap = Gap { length_us, reason: GapReason::Crash };
            let stream_us = m.duration_us;
            m.gaps.push(GapRecord { before_chunk: 3, stream_us, wall_us: 9, gap });
            m.duration_us += 70;
        }
    };
    assert_eq!(judged_with(at_end(70)), Verdict::Valid);
    assert_eq!(judged_with(at_end(60)), Verdict::Tampered);
}

#[test]
fn a_session_without_chunks_accounts_for_its_time_too() {
    let mut recording = recording();
    let mut manifest = recording.manifest.manifest().clone();
    manifest.tree_size = 0;
    manifest.root = Tree::<Blake3>::new().root();
    manifest.gaps.clear();
    manifest.duration_us = 0;
    recording.proof.leaves.clear();
    recording.proof.checkpoints.clear();
    let mut judged = |manifest: &crate::manifest::Manifest| {
        recording.manifest = manifest.clone().sign(&SigningKey::from_seed(&[1; 32]));
        verdict(&recording.bundle_of(0, 0, &Disclosure::Sealed))
    };
    assert_eq!(judged(&manifest), Verdict::Valid);
    manifest.duration_us = 3_600_000_000;
    assert_eq!(judged(&manifest), Verdict::Incomplete);
    let gap = Gap { length_us: 3_600_000_000, reason: GapReason::SourceLost };
    manifest.gaps = vec![GapRecord { before_chunk: 0, stream_us: 0, wall_us: 0, gap }];
    assert_eq!(judged(&manifest), Verdict::Valid);
}

#[test]
fn checkpoints_out_of_order_or_repeated_are_refused() {
    for order in [&[0, 1, 1, 2][..], &[1, 0, 2], &[0, 1, 2, 2]] {
        let mut recording = recording();
        let all = recording.proof.checkpoints.clone();
        recording.proof.checkpoints = order.iter().map(|at| all[*at].clone()).collect();
        let found = verdict(&recording.bundle_of(0, 3, &Disclosure::Sealed));
        assert_eq!(found, Verdict::Tampered, "{order:?}");
    }
}

#[test]
fn a_bundle_without_chunks_has_one_form_and_says_what_is_withheld() {
    let recording = recording();
    let bundle = recording.bundle_of(3, 0, &Disclosure::Sealed);
    assert_eq!(bundle, recording.bundle_of(1, 0, &Disclosure::Sealed));
    let content = read(&bundle, &|_, _| {});
    assert!(content.findings.iter().any(|f| f.text.contains("3 are withheld")));
}

#[test]
fn names_cannot_speak_to_the_terminal() {
    let recording = recording();
    let mut entries = take_apart(&recording.bundle_of(0, 3, &Disclosure::Sealed));
    entries.push(("\u{1b}[2Kvalid".into(), b"x".to_vec()));
    let bundle = rebuild(&entries);
    for end in [bundle.len(), bundle.len() - 40, bundle.len() - 200] {
        let content = read(&bundle[..end].to_vec(), &|_, _| {});
        assert_ne!(content.findings.verdict(), Verdict::Valid);
        assert!(content.findings.iter().all(|f| !f.text.contains('\u{1b}')));
    }
}

/// A disk that fails wherever the evidence is read, after the container was.
struct Failing(Vec<u8>, std::ops::Range<usize>);

impl ReadAt for Failing {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let at = offset as usize;
        if at < self.1.end && self.1.start < at + buffer.len() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn a_failing_disk_is_not_called_tampering() {
    let recording = recording();
    let bundle = recording.bundle_of(0, 3, &Disclosure::Video(&recording.secret));
    for entry in zip::walk(&bundle).unwrap() {
        let last = entry.end() as usize;
        let content = read(&Failing(bundle.clone(), last - 1..last), &|_, _| {});
        assert_eq!(content.findings.verdict(), Verdict::Unverifiable, "{}", entry.name);
    }
}
