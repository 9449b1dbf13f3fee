//! Well-formed inputs from which fuzzing starts.

use crate::sample::{Chain, Sample};
use lucid_capture::catalogue::{ChunkMap, ChunkRecord, FragmentEntry, Run};
use lucid_capture::fmp4;
use lucid_capture::recorder::Stamp;
use lucid_chain::ledger::ClosedSession;
use lucid_chain::transaction::Kind;
use lucid_evidence::chunk::MediaKind;
use lucid_evidence::cose;
use lucid_pay::chain::multisig::{self, Proposal};
use lucid_pay::payout::record::{self, Entry, Record};
use lucid_pay::payout::types::{Request, Route};
use lucid_pay::tron::transaction::{Frame, RefBlock, Unsigned};
use lucid_pay::tron::{Address, Usdt};
use lucid_rdp::desktop::{Definition, Limits, keeper};
use lucid_rdp::event::EventKind;
use lucid_rdp::policy::{Capability, Policy};
use lucid_store::{DataDir, Options};

/// Well-formed inputs, each with its target's name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let sample = Sample::new();
    let mut seeds = vec![
        ("manifest", sample.manifest.encode()),
        ("manifest", sample.signed.as_bytes().to_vec()),
        ("proof", sample.proof.encode()),
        ("text", sample.manifest.session.to_string().into_bytes()),
        ("text", sample.manifest.root.to_string().into_bytes()),
        ("text", sample.manifest.device_key.to_string().into_bytes()),
        ("piece", sample.sealed[0].clone()),
        ("piece", vec![0, 1, 2, 3]),
        ("piece", vec![2]),
    ];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x29, 0, 0, b'l', b'u', b'c', b'i', b'd'];
    seeds.push(("piece", [&[1][..], &zstd].concat()));
    let mut proof = vec![0; 17];
    proof.extend([9, 4]);
    proof.extend(sample.proof.leaves.iter().flat_map(|leaf| leaf.0));
    seeds.push(("tree", proof));
    for header in &sample.headers {
        seeds.push(("chunk_header", header.encode()));
    }
    for checkpoint in &sample.proof.checkpoints {
        seeds.push(("checkpoint", checkpoint.clone()));
    }
    for (at, (name, bundle)) in (0u8..).zip(sample.bundles()) {
        if name == "keys" {
            let entries = crate::container::take_apart(&bundle);
            let keys = entries.into_iter().find(|(name, _)| name == "keys.cbor");
            seeds.extend(keys.map(|(_, data)| ("keys", data)));
        }
        if bundle.len() < 10_000 {
            seeds.push(("bundle", bundle));
        }
        seeds.push(("entries", vec![at]));
        seeds.push(("entries", vec![at, 2, 0, 0, 60, 0, 1, b'x', 1, 3, 2]));
        for forgery in 0..4 {
            seeds.push(("entries", vec![at | 0x80, forgery, 0, 9, 0, 2, 24, 24]));
        }
    }
    seeds.extend(of_the_chain(&sample));
    seeds.extend(of_the_device(&sample));
    seeds.extend(of_the_desktop());
    seeds.extend(of_payments());
    seeds
}

/// Pieces as the desktop's targets take them: each after one byte with its length.
fn in_pieces(kind: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let mut seed = vec![kind];
    for piece in pieces {
        seed.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        seed.extend_from_slice(piece);
    }
    seed
}

fn of_the_desktop() -> Vec<(&'static str, Vec<u8>)> {
    let mut policy = Policy::default();
    Capability::ALL.into_iter().for_each(|one| policy.grant(one));
    let at = Stamp { stream_us: 5, wall_us: 1_793_000_000_000_000 };
    let title = EventKind::Window { title: "notes".into(), application: "editor".into() };
    let keys = EventKind::Keys { count: 7, hidden: 2, strokes: Vec::new() };
    let events = [title.encode(at), keys.encode(at)];
    // A key, and the pointer: fast-path input of two events.
    let input = [0, 0x08, 12, 0x01, 0x1e, 0x20, 0x00, 0x08, 10, 0, 20, 0];
    // A message for channel 1004, in MCS, X.224 and TPKT; and one for the channel of the picture.
    let message = |channel: u8, data: &[u8]| {
        let length = 15 + data.len() as u8;
        let head = [1, 3, 0, 0, length, 2, 0xf0, 0x80, 0x64, 0, 6, 3, channel, 0x70, 0x80];
        [&head[..], &[data.len() as u8], data].concat()
    };
    let whole = [4, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4];
    let (first, last) =
        ([8, 0, 0, 0, 1, 0, 0, 0, 1, 2], [8, 0, 0, 0, 2, 0, 0, 0, 3, 4, 5, 6, 7, 8]);
    let layout = [
        2, 0, 0, 0, 56, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
        0, 0, 208, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 100, 0, 0, 0,
    ];
    let capabilities = [7, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 12, 0, 2, 0, 0, 0, 30, 0, 0, 0];
    let text = [2, 0, 0, 0, 6, 0, 0, 0, 13, 0, 0, 0, 0, 0];
    let answer = [5, 0, 1, 0, 6, 0, 0, 0, b'h', 0, b'i', 0, 0, 0];
    let mut files = vec![2, 0, 0, 0, 46, 0, 0, 0, 0xf1, 0xc0, 0, 0];
    files.extend("FileGroupDescriptorW\0".encode_utf16().flat_map(u16::to_le_bytes));
    let dib = [&[40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 24, 0][..], &[0; 24], &[1, 2, 3, 0]];
    vec![
        ("desktop_keeper", keeper_order()),
        (
            "desktop_keeper",
            keeper::Request::OpenFile { relative: "a/b.txt".into() }.encode().to_vec(),
        ),
        ("desktop_keeper", keeper::Request::CreateFile { name: "b.txt".into() }.encode().to_vec()),
        ("desktop_keeper", keeper::Answer::List(vec![(1, true), (2, false)]).encode().to_vec()),
        ("rdp_records", Policy::default().encode()),
        ("rdp_records", policy.encode()),
        ("rdp_records", events.concat()),
        ("rdp_records", b"bench\\anna".to_vec()),
        ("rdp_wire", input.to_vec()),
        ("rdp_wire", message(0xec, &whole)),
        ("rdp_wire", message(0xeb, &whole)),
        ("rdp_wire", in_pieces(2, &[&whole, &first, &last])),
        ("rdp_wire", in_pieces(3, &[&[0x50, 0, 1, 0], &[0x10, 1, 0, 0, 0, 0], &[0x30, 1, 9]])),
        ("rdp_wire", [&[3][..], &layout].concat()),
        ("rdp_clipboard", in_pieces(1, &[&capabilities, &text, &[0xf0, 1], &answer])),
        ("rdp_clipboard", in_pieces(1, &[&capabilities, &files, &[0xf1, 1], &answer])),
        ("rdp_clipboard", [&[0][..], &dib.concat()].concat()),
        ("rdp_clipboard", b"\0file:///a%20b\r\n# c\r\n".to_vec()),
    ]
}

fn of_the_chain(sample: &Sample) -> Vec<(&'static str, Vec<u8>)> {
    let chain = Chain::of(sample);
    let anchor = chain.anchor();
    let mut seeds = vec![("anchor", anchor.to_bytes())];
    for block in &chain.blocks {
        seeds.push(("block", block.to_bytes()));
        for transaction in &block.transactions {
            let kind = Kind::ALL.iter().position(|kind| *kind == transaction.kind());
            if let (Some(kind), Ok(signed)) =
                (kind, cose::open(transaction.as_bytes(), transaction.kind().content_type()))
            {
                seeds.push(("transaction", [&[kind as u8], signed.payload()].concat()));
            }
            seeds.push(("transaction", transaction.as_bytes().to_vec()));
        }
    }
    let header = &chain.blocks[0].header;
    let trust = format!("device {}\nchain {} # of the sample\n", header.previous, header.genesis);
    let values = [
        anchor.genesis.to_bytes(),
        header.to_bytes(),
        anchor.certificate.to_bytes(),
        anchor.genesis.validators.to_bytes(),
        ClosedSession {
            device: sample.manifest.device_key,
            manifest: sample.signed.hash(),
            tree_size: 3,
            root: sample.manifest.root,
            opened: 2,
            closed: 5,
            tombstone: Some(9),
        }
        .to_bytes(),
        trust.into_bytes(),
        lucid_chain::Ledger::new(anchor.genesis.clone()).snapshot(),
    ];
    for (choice, value) in (0u8..).zip(values) {
        seeds.push(("chain_values", [&[choice], &value[..]].concat()));
    }
    seeds
}

fn of_the_device(sample: &Sample) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    let samples = [
        fmp4::RunSample { size: 4, duration: 3000, offset: 0, sync: true },
        fmp4::RunSample { size: 3, duration: 3000, offset: -90, sync: false },
    ];
    let run = |track| fmp4::TrackRun { track, start: 90_000, samples: &samples, data: b"picture" };
    seeds.push(("media", fmp4::fragment(3, &[run(1), run(2)])));
    for codec in [fmp4::VideoCodec::Jpeg, fmp4::VideoCodec::Avc(vec![1, 100, 0, 31, 255, 225])] {
        let video = fmp4::VideoConfig { codec, width: 1280, height: 720, pixel_aspect: (1, 1) };
        let codec = fmp4::AudioCodec::Opus { pre_skip: 312 };
        let audio = fmp4::AudioConfig { codec, rate: 48_000, channels: 2 };
        seeds.push(("media", fmp4::init_segment(&video, Some(&audio))));
    }
    for uri in [
        "rtsp://user:p%40ss@camera.example:8554/stream?x=1",
        "rtsps://[fe80::1]/a",
        "v4l2:///dev/video0?width=640&height=480",
        "libcamera://",
        "file:///tmp/a%20b.mp4?loop=1",
        "screen://:0.1",
        "test://?pattern=ball",
    ] {
        seeds.push(("uri", uri.into()));
    }
    let header = &sample.headers[1];
    let fragment = FragmentEntry {
        first_piece: 1,
        pieces: 1,
        bytes: 300,
        start_us: 22_000_000,
        duration_us: 1_000_000,
        keyframe: true,
    };
    let map = ChunkMap {
        session: header.session,
        index: header.index,
        kind: header.kind,
        nonce: header.nonce,
        init_bytes: header.init_bytes,
        init_pieces: 1,
        runs: vec![Run { volume: 4, first_piece: 0 }],
        fragments: vec![fragment],
        wall_start_us: header.time.wall_start_us,
        wall_end_us: header.time.wall_end_us,
        stream_start_us: header.time.stream_start_us,
        stream_end_us: header.time.stream_end_us,
        gap_before: header.gap_before,
        clock_jump_us: -3_600_000_000,
    };
    seeds.push(("records", map.encode()));
    let events = ChunkMap { kind: MediaKind::Events, ..map.clone() };
    seeds.push(("records", events.encode()));
    seeds.push(("records", ChunkRecord { header: header.clone(), map }.encode()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (directory, _) =
        DataDir::open(folder.path(), Options::default()).expect("an empty data directory opens");
    let mut bytes = Vec::new();
    lucid_store::export(&directory, &mut bytes).expect("an empty data directory is exported");
    seeds.push(("archive", bytes));
    seeds
}

fn of_payments() -> Vec<(&'static str, Vec<u8>)> {
    let someone = Address::from_evm([7; 20]);
    let frame = Frame {
        block: RefBlock { bytes: [1; 2], hash: [2; 8] },
        timestamp: 1_760_000_000_000,
        expiration: 1_760_000_600_000,
        fee_limit: 30_000_000,
        memo: b"memo".to_vec(),
        permission_id: 2,
    };
    let share = multisig::share_account(someone, &[someone], 1).ok();
    let unsigned = share.and_then(|share| Unsigned::build(&share, frame).ok());
    let mut seeds = Vec::new();
    if let Some(unsigned) = unsigned {
        seeds.push(("pay_text", Proposal::new(unsigned.clone()).to_text().into_bytes()));
        seeds.push(("pay_transaction", unsigned.bytes));
    }
    for text in [&someone.to_string(), "12.5", "0.000001", "m/44'/195'/0'/0/0"] {
        seeds.push(("pay_text", text.into()));
    }
    for count in [16, 32] {
        seeds.push(("pay_mnemonic", vec![7; count]));
    }
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon";
    seeds.push(("pay_mnemonic", format!("{words} abandon about").into()));
    for call in [
        format!("transfer(address,uint256)\n{someone}\n5000000"),
        "pay(string,bytes,bytes4,int8,bool)\nwords\n0x00ff\n01020304\n-128\ntrue".to_owned(),
    ] {
        seeds.push(("pay_abi", call.into()));
    }
    let topic = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let word = format!("{:0>64}", "07".repeat(20));
    let receipt = format!(
        r#"{{"id":"{topic}","fee":1,"blockNumber":2,"receipt":{{"result":"SUCCESS"}},"log":[{{"#
    ) + &format!(
        r#""address":"{}","topics":["{topic}","{word}","{word}"],"data":"{:064x}"}}]}}"#,
        "07".repeat(20),
        5
    );
    let block = format!(
        r#"{{"blockID":"{}","block_header":{{"raw_data":{{"timestamp":1}}}}}}"#,
        "00".repeat(32)
    );
    let code = r#"{"result":{"code":"CONTRACT_VALIDATE_ERROR","message":"6e6f"}}"#;
    let busy = r#"{"result":false,"code":"SERVER_BUSY","message":"later","txid":""}"#;
    for answer in [receipt.as_str(), block.as_str(), code, busy, "{}"] {
        seeds.push(("pay_answer", answer.into()));
    }
    let request = Request {
        payee: someone,
        amount: Usdt::whole(5),
        reason: "work".into(),
        evidence: [3; 32],
        route: Route::Direct,
        credits: None,
        requested_by: "ann".into(),
        key: None,
    };
    let (payout, by) = (request.id(), "bob".to_owned());
    let records = [
        Record::Requested { request, batch: None, second: true },
        Record::Approved { payout, by: by.clone() },
        Record::Cancelled { payout, by, cause: "no".into() },
    ];
    let entries: Vec<Entry> = records.into_iter().map(|record| Entry { at: 1, record }).collect();
    seeds.push(("pay_journal", [&[0][..], &record::encode(&entries)].concat()));
    seeds.push(("pay_journal", vec![1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]));
    seeds.push(("pay_journal", [&[2, 0, 9, 1][..], b"one\0two\0three"].concat()));
    seeds.push(("pay_journal", [&[2, 0, 60, 0][..], b"one\0two"].concat()));
    seeds
}

/// A desktop that is to be started, as the daemon says it.
fn keeper_order() -> Vec<u8> {
    let definition = Definition {
        name: "accounts".into(),
        width: 1280,
        height: 720,
        command: Some("exec xterm".into()),
        restart: true,
    };
    let limits = Limits { disk_bytes: Some(1 << 30), ..Limits::default() };
    let order = keeper::Order { index: 7, key: "dsk-abcdefgh".into(), definition, limits };
    keeper::Request::Start(Box::new(order)).encode().to_vec()
}
