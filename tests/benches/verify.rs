//! How long does judging a bundle of 1 GiB take, beside `b3sum` reading the same bytes?
//!
//! A sealed bundle is hashed; a disclosed one is also opened, and its MP4 compared.
//! `LUCID_BENCH_MIB` makes it smaller.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use lucid_evidence::bundle::{Disclosure, ReadAt, read, write};
use lucid_evidence::chunk::{ChunkHeader, ChunkSealer, MediaKind, TimeSpan};
use lucid_evidence::manifest::{CodecInfo, EndReason, Manifest, SourceInfo};
use lucid_evidence::proof::Proof;
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::tree::{Blake3, Tree};
use lucid_evidence::{Checkpoint, SessionId, SigningKey, Verdict};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

struct Bundle(File, u64);

impl ReadAt for Bundle {
    fn size(&self) -> u64 {
        self.1
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn main() {
    let mib: u64 = std::env::var("LUCID_BENCH_MIB").map_or(1024, |text| text.parse().unwrap());
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("judging a bundle of {mib} MiB, 5 rounds, best of each, the file in the page cache");
    for (name, disclosed) in [("sealed", false), ("disclosed with its MP4", true)] {
        let path = dir.path().join("bench.lucid");
        make(&path, mib << 20, disclosed);
        let size = std::fs::metadata(&path).unwrap().len();
        // Read once, so that neither pays for the disk.
        std::fs::read(&path).unwrap();
        let verify = best(|| {
            let started = Instant::now();
            let content = read(&Bundle(File::open(&path).unwrap(), size), &|_, _| {});
            assert_eq!(content.findings.verdict(), Verdict::Valid, "{:?}", content.findings);
            Some(started.elapsed())
        });
        let b3sum = best(|| {
            let started = Instant::now();
            let output = Command::new("b3sum").arg(&path).output().ok()?;
            assert!(output.status.success());
            Some(started.elapsed())
        });
        let (Some(verify), Some(b3sum)) = (verify, b3sum) else {
            println!("b3sum is not installed");
            return;
        };
        println!(
            "{name:<24} {:>6.3} s, b3sum {:>6.3} s: {:.2} times as long",
            verify.as_secs_f64(),
            b3sum.as_secs_f64(),
            verify.as_secs_f64() / b3sum.as_secs_f64()
        );
    }
}

fn best(mut run: impl FnMut() -> Option<Duration>) -> Option<Duration> {
    (0..5).filter_map(|_| run()).min()
}

/// A bundle of about so many bytes: all sealed chunks, or half chunks and half MP4.
fn make(path: &Path, bytes: u64, disclosed: bool) {
    let device = SigningKey::from_seed(&[1; 32]);
    let session_key = SigningKey::from_seed(&[2; 32]);
    let session = SessionId::new(1_793_000_000_000, [3; 10]);
    let secret = SessionSecret::from_bytes([4; 32]);
    let media = if disclosed { bytes / 2 } else { bytes };
    let spool = path.with_extension("spool");
    let mut file = BufWriter::new(File::create(&spool).unwrap());
    let mut noise = blake3::Hasher::new().update(b"bench").finalize_xof();
    let (mut tree, mut headers, mut places) = (Tree::<Blake3>::new(), Vec::new(), HashMap::new());
    let (mut at, mut clock) = (0u64, 0);
    let mut fragment = vec![0; 1 << 20];
    for index in 0..media.div_ceil(9 << 20) {
        let kind = MediaKind::Video;
        let mut sealer = ChunkSealer::new(session, index, kind, &secret, [index as u8; 16]);
        let mut sealed = sealer.push(b"initialisation segment").unwrap().concat();
        for _ in 0..9 {
            noise.fill(&mut fragment);
            sealed.extend(sealer.push(&fragment).unwrap().concat());
        }
        let time = TimeSpan {
            wall_start_us: clock,
            wall_end_us: clock + 1,
            stream_start_us: clock,
            stream_end_us: clock + 1,
        };
        clock += 1;
        let (last, header) = sealer.finish(time, 22, None).unwrap();
        sealed.extend(last);
        file.write_all(&sealed).unwrap();
        places.insert(index, (at, sealed.len()));
        at += sealed.len() as u64;
        tree.push(header.leaf());
        headers.push(header);
    }
    drop(file);
    let checkpoint =
        Checkpoint { session, tree_size: tree.size(), root: tree.root(), time_us: clock };
    let manifest = Manifest {
        session,
        session_key: session_key.public(),
        source: SourceInfo { kind: "test".into(), name: "bench".into(), address: "test://".into() },
        codec: CodecInfo {
            video: None,
            audio: None,
            width: 0,
            height: 0,
            encoder: "none".into(),
            hardware: false,
            reason: "noise".into(),
        },
        device_name: "bench".into(),
        device_key: device.public(),
        software: "bench".into(),
        policy: None,
        participants: vec![],
        start_us: 0,
        end_us: clock,
        duration_us: clock,
        end_reason: EndReason::Stopped,
        tree_size: tree.size(),
        root: tree.root(),
        gaps: vec![],
        clock_jumps: vec![],
        checkpoint_heights: vec![],
    };
    let proof = Proof {
        session,
        leaves: tree.leaves().to_vec(),
        first_chunk: 0,
        chunk_count: tree.size(),
        checkpoints: vec![checkpoint.sign(&session_key).as_bytes().to_vec()],
        anchor: None,
    };
    let spooled = File::open(&spool).unwrap();
    let load = |header: &ChunkHeader| -> io::Result<Vec<u8>> {
        let (offset, length) = places[&header.index];
        let mut sealed = vec![0; length];
        spooled.read_exact_at(&mut sealed, offset)?;
        Ok(sealed)
    };
    let disclosure = if disclosed { Disclosure::Video(&secret) } else { Disclosure::Sealed };
    let out = BufWriter::new(File::create(path).unwrap());
    write(out, &manifest.sign(&device), &proof, &headers[..], &disclosure, load, |_, _| {})
        .unwrap();
    std::fs::remove_file(spool).unwrap();
}
