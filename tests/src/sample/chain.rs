//! A chain of one node that takes the sample's session: opened, two checkpoints, closed.

use super::{DEVICE_SEED, SESSION_SEED, START_US, Sample};
use lucid_chain::anchor::{AnchorProof, ChainSource, prove};
use lucid_chain::certificate::sign_precommit;
use lucid_chain::history::history_leaf;
use lucid_chain::ledger::MemoryArchive;
use lucid_chain::transaction::{Body, SessionClose, SessionOpen};
use lucid_chain::{
    Block, CommitCertificate, Genesis, Header, Ledger, Parameters, Transaction, ValidatorSet,
};
use lucid_evidence::tree::{Blake3, Nodes, Tree};
use lucid_evidence::{Hash, SignedCheckpoint, SigningKey};
use std::collections::BTreeSet;
use std::convert::Infallible;

/// The chain with all its blocks.
#[derive(Debug)]
pub struct Chain {
    ledger: Ledger,
    archive: MemoryArchive,
    /// The blocks from height 1 on.
    pub blocks: Vec<Block>,
    certificates: Vec<CommitCertificate>,
    history: Tree,
}

impl Chain {
    /// The chain after the sample's session was closed; always the same.
    pub fn of(sample: &Sample) -> Self {
        let device = SigningKey::from_seed(&DEVICE_SEED);
        let session_key = SigningKey::from_seed(&SESSION_SEED).public();
        let set = ValidatorSet::new(vec![device.public()]).expect("one node is a set");
        let genesis = Genesis::new("sample", START_US, Parameters::default(), set)
            .expect("the genesis is sound");
        let ledger = Ledger::new(genesis);
        let history = Tree::<Blake3>::from_leaves([history_leaf(ledger.chain())]);
        let archive = MemoryArchive::default();
        let (blocks, certificates) = (Vec::new(), Vec::new());
        let mut chain = Chain { ledger, archive, blocks, certificates, history };
        let id = *chain.ledger.chain();
        let manifest = &sample.manifest;
        chain.block(Vec::new());
        let open = SessionOpen {
            chain: id,
            session: manifest.session,
            session_key,
            device: device.public(),
            time_us: START_US,
            policy: None,
        };
        chain.block(vec![Transaction::sign(Body::SessionOpen(open), &device)]);
        for bytes in &sample.proof.checkpoints {
            let signed = SignedCheckpoint::verify(bytes, &session_key)
                .expect("the sample's checkpoints are signed");
            chain.block(vec![Transaction::checkpoint(&signed)]);
        }
        let close = SessionClose {
            chain: id,
            session: manifest.session,
            device: device.public(),
            manifest: sample.signed.hash(),
            tree_size: manifest.tree_size,
            root: manifest.root,
            time_us: manifest.end_us,
            checkpoints: sample.proof.checkpoints.len() as u64,
        };
        chain.block(vec![Transaction::sign(Body::SessionClose(close), &device)]);
        chain
    }

    fn block(&mut self, transactions: Vec<Transaction>) {
        let device = SigningKey::from_seed(&DEVICE_SEED);
        let now_us = START_US + 10_000_000 * (self.ledger.height() + 1);
        let last = self.certificates.last().cloned();
        let proposed = self
            .ledger
            .propose(transactions, last, now_us, device.public(), &self.archive)
            .expect("an archive in memory answers");
        assert!(proposed.refused.is_empty(), "{:?}", proposed.refused);
        let block = proposed.block;
        let (height, id) = (block.header.height, block.id());
        let signature = sign_precommit(&device, self.ledger.chain(), height, 0, &id);
        let certificate =
            CommitCertificate { height, round: 0, block: id, signatures: vec![(0, signature)] };
        let effects = self
            .ledger
            .commit(&block, &certificate, &self.archive)
            .expect("the block follows the rules");
        self.archive.record(&block, &effects);
        self.history.push(history_leaf(&id));
        self.blocks.push(block);
        self.certificates.push(certificate);
    }

    /// The proof that the session stands on this chain.
    pub fn anchor(&self) -> AnchorProof {
        let places: BTreeSet<(u64, u32)> = self
            .blocks
            .iter()
            .filter(|block| !block.transactions.is_empty())
            .map(|block| (block.header.height, 0))
            .collect();
        let head = self.ledger.height();
        prove(self.ledger.genesis(), self, &places, head).expect("all blocks are here")
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
        Ok(self.blocks[height as usize - 1].header.clone())
    }

    fn certificate(&self, height: u64) -> Result<CommitCertificate, Infallible> {
        Ok(self.certificates[height as usize - 1].clone())
    }

    fn transactions(&self, height: u64) -> Result<Vec<Transaction>, Infallible> {
        Ok(self.blocks[height as usize - 1].transactions.clone())
    }

    fn set_changes(&self, _: u64) -> Result<Vec<(u64, ValidatorSet)>, Infallible> {
        Ok(Vec::new())
    }
}
