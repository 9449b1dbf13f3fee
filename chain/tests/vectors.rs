//! The test vectors of `docs/chain.md`: a small chain made from fixed seeds, written down in
//! `tests/fixtures/chain/` and compared byte for byte.
//!
//! `LUCID_WRITE_VECTORS=1` writes them anew.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use lucid_chain::anchor::{ChainSource, prove};
use lucid_chain::certificate::{precommit_bytes, sign_precommit};
use lucid_chain::history::history_leaf;
use lucid_chain::ledger::{Effect, MemoryArchive};
use lucid_chain::transaction::{
    Body, NodeRegister, NodeRetire, ParameterProposal, ParameterVote, SessionClose, SessionOpen,
    Statement, Subject, Tombstone,
};
use lucid_chain::{
    AnchorProof, Block, CommitCertificate, Genesis, Header, Ledger, Parameter, Parameters,
    Transaction, ValidatorSet,
};
use lucid_evidence::tree::{Blake3, Nodes, Tree};
use lucid_evidence::{Checkpoint, Hash, SessionId, SigningKey};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;

/// 1 November 2026, 12:00:00 UTC, in microseconds since 1970.
const START_US: u64 = 1_793_534_400_000_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn session() -> SessionId {
    SessionId::new(START_US / 1000, [0x77; 10])
}

struct Chain {
    ledger: Ledger,
    archive: MemoryArchive,
    blocks: Vec<(Block, CommitCertificate)>,
    changes: Vec<(u64, ValidatorSet)>,
    history: Tree,
}

impl Chain {
    fn new() -> Self {
        let founders = (1..=4).map(|seed| key(seed).public()).collect();
        let set = ValidatorSet::new(founders).unwrap();
        let genesis = Genesis::new("vectors", START_US, Parameters::default(), set).unwrap();
        let ledger = Ledger::new(genesis);
        let history = Tree::<Blake3>::from_leaves([history_leaf(ledger.chain())]);
        let (blocks, changes) = (vec![], vec![]);
        Chain { ledger, archive: MemoryArchive::default(), blocks, changes, history }
    }

    /// A block by the node whose turn it is in `round`, signed by the first four validators.
    fn block(&mut self, round: u32, transactions: Vec<Transaction>) {
        let now_us = self.ledger.time_us() + 10_000_000;
        let proposer = self.ledger.turns()[round as usize];
        let last = self.blocks.last().map(|(_, certificate)| certificate.clone());
        let proposed =
            self.ledger.propose(transactions, last, now_us, proposer, &self.archive).unwrap();
        assert!(proposed.refused.is_empty(), "{:?}", proposed.refused);
        let (block, chain) = (proposed.block, *self.ledger.chain());
        let (height, id) = (block.header.height, block.id());
        let signatures = (0u32..4)
            .map(|index| {
                let public = self.ledger.validators().key(index).unwrap();
                let signer = (1..=5).map(key).find(|key| key.public() == *public).unwrap();
                (index, sign_precommit(&signer, &chain, height, round, &id))
            })
            .collect();
        let certificate = CommitCertificate { height, round, block: id, signatures };
        let effects = self.ledger.commit(&block, &certificate, &self.archive).unwrap();
        self.archive.record(&block, &effects);
        for effect in &effects.0 {
            if let Effect::ValidatorsChanged(set) = effect {
                self.changes.push((height, set.clone()));
            }
        }
        self.history.push(history_leaf(&id));
        self.blocks.push((block, certificate));
    }
}

impl Nodes for Chain {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.history.node(level, index)
    }
}

impl ChainSource for Chain {
    type Error = Infallible;

    fn header(&self, height: u64) -> Result<Header, Infallible> {
        Ok(self.blocks[height as usize - 1].0.header.clone())
    }

    fn certificate(&self, height: u64) -> Result<CommitCertificate, Infallible> {
        Ok(self.blocks[height as usize - 1].1.clone())
    }

    fn transactions(&self, height: u64) -> Result<Vec<Transaction>, Infallible> {
        Ok(self.blocks[height as usize - 1].0.transactions.clone())
    }

    fn set_changes(&self, head: u64) -> Result<Vec<(u64, ValidatorSet)>, Infallible> {
        Ok(self.changes.iter().filter(|(height, _)| *height < head).cloned().collect())
    }
}

fn root(leaves: u64) -> Hash {
    Tree::<Blake3>::from_leaves((0..leaves).map(|n| Hash::of(&n.to_be_bytes()))).root()
}

/// Seven blocks with every kind of transaction: a session from opening to tombstone, a node that
/// joins and leaves, a parameter that changes.
fn sample() -> Chain {
    let mut chain = Chain::new();
    let (hash, device, joining, time_us) = (*chain.ledger.chain(), key(1), key(5), START_US);
    let sign = |body, key: &SigningKey| Transaction::sign(body, key);
    let device_key = device.public();
    let checkpoint = |tree_size| {
        let root = root(tree_size);
        let checkpoint = Checkpoint { session: session(), tree_size, root, time_us };
        Transaction::checkpoint(&checkpoint.sign(&key(0x22)))
    };
    let open = SessionOpen {
        chain: hash,
        session: session(),
        session_key: key(0x22).public(),
        device: device_key,
        time_us,
        policy: None,
    };
    chain.block(0, vec![sign(Body::SessionOpen(open), &device)]);
    let register = NodeRegister::new(hash, &joining, device_key, "fifth".into());
    chain.block(0, vec![checkpoint(1), sign(Body::NodeRegister(register), &device)]);
    let proposal = ParameterProposal {
        chain: hash,
        node: device_key,
        parameter: Parameter::Cooldown,
        value: 32,
        time_us,
    };
    let proposal = sign(Body::ParameterProposal(proposal), &device);
    chain.block(1, vec![checkpoint(2), checkpoint(3), proposal.clone()]);
    let vote = |seed: u8| {
        let (node, proposal) = (key(seed).public(), proposal.id());
        let vote = ParameterVote { chain: hash, node, proposal, approve: true };
        Transaction::sign(Body::ParameterVote(vote), &key(seed))
    };
    let statement = Statement {
        chain: hash,
        node: device_key,
        subject: Subject::AuditLog,
        hash: Hash::of(b"audit"),
        note: "daily".into(),
        time_us,
    };
    chain.block(0, vec![vote(2), vote(3), vote(4), sign(Body::Statement(statement), &device)]);
    let close = SessionClose {
        chain: hash,
        session: session(),
        device: device_key,
        manifest: Hash::of(b"manifest"),
        tree_size: 3,
        root: root(3),
        time_us,
        checkpoints: chain.ledger.sessions()[&session()].checkpoints,
    };
    chain.block(0, vec![sign(Body::SessionClose(close), &device)]);
    let tombstone = Tombstone {
        chain: hash,
        session: session(),
        device: device_key,
        reason: "asked for".into(),
        time_us,
    };
    let retire = NodeRetire { chain: hash, node: joining.public() };
    let retire = sign(Body::NodeRetire(retire), &joining);
    chain.block(0, vec![sign(Body::Tombstone(tombstone), &device), retire]);
    chain.block(0, vec![]);
    chain
}

fn vectors() -> Value {
    let chain = sample();
    let genesis = chain.ledger.genesis();
    let places = chain
        .blocks
        .iter()
        .flat_map(|(block, _)| {
            let height = block.header.height;
            (0u32..).zip(&block.transactions).map(move |(place, tx)| (height, place, tx))
        })
        .filter(|(_, _, tx)| tx.body().session().is_some())
        .map(|(height, place, _)| (height, place))
        .collect();
    let anchor = prove(genesis, &chain, &places, 7).unwrap();
    let anchored = anchor.verify(&session()).unwrap();
    let transactions: Vec<Value> = chain
        .blocks
        .iter()
        .flat_map(|(block, _)| &block.transactions)
        .map(|tx| {
            json!({
                "kind": tx.kind().name(),
                "content_type": tx.kind().content_type(),
                "bytes": hex(tx.as_bytes()),
                "id": tx.id().to_string(),
                "signer": tx.body().signer().unwrap_or(&key(0x22).public()).to_string(),
            })
        })
        .collect();
    let first = &chain.blocks[0];
    let precommit = precommit_bytes(chain.ledger.chain(), 1, 0, &first.0.id());
    let blocks: Vec<Value> = chain
        .blocks
        .iter()
        .map(|(block, certificate)| {
            json!({
                "height": block.header.height,
                "bytes": hex(&block.to_bytes()),
                "header": hex(&block.header.to_bytes()),
                "id": block.id().to_string(),
                "transactions_root": block.header.transactions_root.to_string(),
                "history_root": block.header.history_root.to_string(),
                "state": block.header.state.to_string(),
                "certificate": hex(&certificate.to_bytes()),
                "round": certificate.round,
            })
        })
        .collect();
    json!({
        "what": "A chain of four founders with the seeds 01.. to 04.., see docs/chain.md",
        "genesis": {
            "bytes": hex(&genesis.to_bytes()),
            "hash": genesis.hash().to_string(),
            "validators_hash": genesis.validators.hash().to_string(),
        },
        "transactions": transactions,
        "precommit_of_block_1": {
            "signed_bytes": hex(&precommit),
            "signer": chain.ledger.genesis().validators.keys()[0].to_string(),
            "signature": hex(&first.1.signatures[0].1.0),
        },
        "blocks": blocks,
        "anchor": {
            "session": session().to_string(),
            "bytes": hex(&anchor.to_bytes()),
            "opened_height": anchored.opened.height,
            "checkpoint_heights":
                anchored.checkpoints.iter().map(|at| at.height).collect::<Vec<_>>(),
            "closed_height": anchored.closed.unwrap().height,
            "tombstone_height": anchored.tombstone.unwrap().height,
            "certified_height": anchored.head_height,
            "witnesses": anchored.witnesses.len(),
            "validators": anchored.validators,
            "validator_changes": anchored.set_changes,
        },
        "turns_after_block_7":
            chain.ledger.turns().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn file() -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/chain");
    PathBuf::from(folder).join("vectors.json")
}

/// The anchor proof alone, as fuzzing alters it.
fn anchor_file() -> PathBuf {
    file().with_file_name("anchor.cbor")
}

#[test]
fn the_formats_are_those_written_down() {
    let made = vectors();
    if std::env::var_os("LUCID_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(file(), text + "\n").unwrap();
        std::fs::write(anchor_file(), unhex(&made["anchor"]["bytes"])).unwrap();
    }
    let same = std::fs::read(anchor_file()).unwrap() == unhex(&made["anchor"]["bytes"]);
    assert!(same, "anchor.cbor is not the vectors' anchor");
    let written: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    for (name, value) in made.as_object().unwrap() {
        assert_eq!(&written[name], value, "{name} changed: another format needs another version");
    }
}

#[test]
fn the_written_vectors_are_read_and_followed() {
    let written: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let genesis = Genesis::from_bytes(&unhex(&written["genesis"]["bytes"])).unwrap();
    assert_eq!(genesis.hash().to_string(), written["genesis"]["hash"].as_str().unwrap());
    for vector in written["transactions"].as_array().unwrap() {
        let tx = Transaction::from_bytes(&unhex(&vector["bytes"])).unwrap();
        assert_eq!(tx.kind().name(), vector["kind"]);
        tx.verify(&vector["signer"].as_str().unwrap().parse().unwrap()).unwrap();
    }
    // The blocks alone, without the code that made them.
    let (mut ledger, mut archive) = (Ledger::new(genesis), MemoryArchive::default());
    for vector in written["blocks"].as_array().unwrap() {
        let block = Block::from_bytes(&unhex(&vector["bytes"])).unwrap();
        let certificate = CommitCertificate::from_bytes(&unhex(&vector["certificate"])).unwrap();
        let effects = ledger.commit(&block, &certificate, &archive).unwrap();
        archive.record(&block, &effects);
        assert_eq!(ledger.head_id().to_string(), vector["id"].as_str().unwrap());
        assert_eq!(ledger.state_hash().to_string(), vector["state"].as_str().unwrap());
    }
    let anchor = AnchorProof::from_bytes(&unhex(&written["anchor"]["bytes"])).unwrap();
    let session: SessionId = written["anchor"]["session"].as_str().unwrap().parse().unwrap();
    let anchored = anchor.verify(&session).unwrap();
    assert_eq!(anchored.chain, *ledger.chain());
    assert_eq!(anchored.witnesses.len(), written["anchor"]["witnesses"]);
}
