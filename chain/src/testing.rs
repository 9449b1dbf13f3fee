//! A pool of nodes for the tests of this crate: proposes, signs and keeps blocks in memory.

use crate::anchor::{AnchorProof, ChainSource, prove};
use crate::block::Block;
use crate::certificate::{CommitCertificate, sign_precommit};
use crate::genesis::Genesis;
use crate::header::Header;
use crate::history::history_leaf;
use crate::ledger::{Effect, Effects, Ledger, MemoryArchive, Refusal};
use crate::parameters::Parameters;
use crate::transaction::{Body, SessionClose, SessionOpen, Tombstone, Transaction};
use crate::validators::ValidatorSet;
use lucid_evidence::tree::{Blake3, Nodes, Tree};
use lucid_evidence::{Checkpoint, Hash, PublicKey, SessionId, SigningKey};
use std::collections::{BTreeMap, BTreeSet};

/// 2026-11-21 in microseconds.
pub const START_US: u64 = 1_795_219_200_000_000;

pub struct Pool {
    /// Keys by their public halves.
    pub keys: BTreeMap<PublicKey, SigningKey>,
    pub ledger: Ledger,
    pub archive: MemoryArchive,
    pub blocks: Vec<Block>,
    pub certificates: Vec<CommitCertificate>,
    pub changes: Vec<(u64, ValidatorSet)>,
    pub history: Tree,
    pub now_us: u64,
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub fn session(number: u8) -> SessionId {
    SessionId::new(START_US / 1000, [number; 10])
}

impl Pool {
    pub fn new(nodes: u8) -> Self {
        let keys: Vec<_> = (1..=nodes).map(key).collect();
        let set = ValidatorSet::new(keys.iter().map(SigningKey::public).collect()).unwrap();
        let genesis = Genesis::new("test", START_US, Parameters::default(), set).unwrap();
        let ledger = Ledger::new(genesis);
        let history = Tree::<Blake3>::from_leaves([history_leaf(ledger.chain())]);
        Pool {
            keys: keys.into_iter().map(|key| (key.public(), key)).collect(),
            ledger,
            archive: MemoryArchive::default(),
            blocks: vec![],
            certificates: vec![],
            changes: vec![],
            history,
            now_us: START_US,
        }
    }

    pub fn chain(&self) -> Hash {
        *self.ledger.chain()
    }

    /// A certificate for a block by those validators for which `signs` says yes.
    pub fn certify(
        &self,
        block: &Block,
        round: u32,
        signs: impl Fn(&PublicKey) -> bool,
    ) -> CommitCertificate {
        let (chain, height, id) = (self.chain(), block.header.height, block.id());
        let signatures = self.ledger.validators().keys().iter().enumerate();
        let signatures = signatures
            .filter(|(_, key)| signs(key))
            .map(|(index, key)| {
                let key = &self.keys[key];
                (index as u32, sign_precommit(key, &chain, height, round, &id))
            })
            .collect();
        CommitCertificate { height, round, block: id, signatures }
    }

    pub fn propose(&self, round: usize, transactions: Vec<Transaction>) -> Block {
        let turns = self.ledger.turns();
        let proposer = turns[round % turns.len()];
        let last = self.certificates.last().cloned();
        let proposed =
            self.ledger.propose(transactions, last, self.now_us, proposer, &self.archive).unwrap();
        assert!(proposed.refused.is_empty(), "{:?}", proposed.refused);
        proposed.block
    }

    /// One block with these transactions, ten seconds after the last, signed by all.
    pub fn block(&mut self, transactions: Vec<Transaction>) -> Effects {
        self.block_by(0, transactions, |_| true)
    }

    pub fn block_by(
        &mut self,
        round: usize,
        transactions: Vec<Transaction>,
        signs: impl Fn(&PublicKey) -> bool,
    ) -> Effects {
        self.now_us += 10_000_000;
        let block = self.propose(round, transactions);
        self.ledger.validate(&block, round as u32, self.now_us, &self.archive).unwrap();
        let certificate = self.certify(&block, round as u32, signs);
        self.append(block, certificate)
    }

    pub fn append(&mut self, block: Block, certificate: CommitCertificate) -> Effects {
        let effects = self.ledger.commit(&block, &certificate, &self.archive).unwrap();
        self.archive.record(&block, &effects);
        for effect in &effects.0 {
            if let Effect::ValidatorsChanged(set) = effect {
                self.changes.push((block.header.height, set.clone()));
            }
        }
        self.history.push(history_leaf(&block.id()));
        self.blocks.push(block);
        self.certificates.push(certificate);
        effects
    }

    /// Why a transaction cannot stand in the next block.
    pub fn refusal(&self, tx: &Transaction) -> Refusal {
        self.ledger.pending().admit(tx, &self.archive).unwrap_err()
    }

    pub fn open(&self, number: u8, device: &SigningKey) -> Transaction {
        self.open_under(number, device, None)
    }

    /// An opening that names a policy, or none.
    pub fn open_under(&self, number: u8, device: &SigningKey, policy: Option<Hash>) -> Transaction {
        let body = SessionOpen {
            chain: self.chain(),
            session: session(number),
            session_key: key(100 + number).public(),
            device: device.public(),
            time_us: self.now_us,
            policy,
        };
        Transaction::sign(Body::SessionOpen(body), device)
    }

    /// A checkpoint over the first leaves of [`leaves`].
    pub fn checkpoint(&self, number: u8, tree_size: u64) -> Transaction {
        let root = leaves(tree_size).root();
        let checkpoint =
            Checkpoint { session: session(number), tree_size, root, time_us: self.now_us };
        Transaction::checkpoint(&checkpoint.sign(&key(100 + number)))
    }

    /// Checkpoints that the ledger took of an open session.
    pub fn checkpoints(&self, number: u8) -> u64 {
        self.ledger.pending().checkpoints(&session(number)).unwrap_or(0)
    }

    pub fn close(&self, number: u8, tree_size: u64, device: &SigningKey) -> Transaction {
        self.close_counting(self.checkpoints(number), number, tree_size, device)
    }

    pub fn close_counting(
        &self,
        checkpoints: u64,
        number: u8,
        tree_size: u64,
        device: &SigningKey,
    ) -> Transaction {
        let body = SessionClose {
            chain: self.chain(),
            session: session(number),
            device: device.public(),
            manifest: Hash::of(b"manifest"),
            tree_size,
            root: leaves(tree_size).root(),
            time_us: self.now_us,
            checkpoints,
        };
        Transaction::sign(Body::SessionClose(body), device)
    }

    pub fn tombstone(&self, number: u8, device: &SigningKey) -> Transaction {
        let body = Tombstone {
            chain: self.chain(),
            session: session(number),
            device: device.public(),
            reason: "asked for".into(),
            time_us: self.now_us,
        };
        Transaction::sign(Body::Tombstone(body), device)
    }

    /// The places of all transactions of a session.
    pub fn places(&self, number: u8) -> BTreeSet<(u64, u32)> {
        let mut places = BTreeSet::new();
        for block in &self.blocks {
            for (index, tx) in block.transactions.iter().enumerate() {
                if tx.body().session() == Some(&session(number)) {
                    places.insert((block.header.height, index as u32));
                }
            }
        }
        places
    }

    pub fn anchor(&self, number: u8) -> AnchorProof {
        let places = self.places(number);
        prove(self.ledger.genesis(), self, &places, self.ledger.height()).unwrap()
    }
}

/// A session's leaves.
pub fn leaves(count: u64) -> Tree {
    Tree::from_leaves((0..count).map(|n| Hash::of(&n.to_be_bytes())))
}

impl Nodes for Pool {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.history.node(level, index)
    }
}

impl ChainSource for Pool {
    type Error = std::convert::Infallible;

    fn header(&self, height: u64) -> Result<Header, Self::Error> {
        Ok(self.blocks[height as usize - 1].header.clone())
    }

    fn certificate(&self, height: u64) -> Result<CommitCertificate, Self::Error> {
        Ok(self.certificates[height as usize - 1].clone())
    }

    fn transactions(&self, height: u64) -> Result<Vec<Transaction>, Self::Error> {
        Ok(self.blocks[height as usize - 1].transactions.clone())
    }

    fn set_changes(&self, head: u64) -> Result<Vec<(u64, ValidatorSet)>, Self::Error> {
        Ok(self.changes.iter().filter(|(height, _)| *height < head).cloned().collect())
    }
}
