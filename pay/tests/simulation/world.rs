//! A chain, nodes and a disk under control of one seed.

use lucid_pay::journal::Medium;
use lucid_pay::node::{Answer, Block, NodeError, Receipt, TransferLog, TronNode};
use lucid_pay::payout::record::{Stake, Used};
use lucid_pay::payout::types::{Address, PayoutId, TxId, Usdt};
use lucid_pay::payout::wallet::{Order, SignError, Signed, Wallet};
use lucid_pay::tron::abi;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

pub const BLOCK_MS: u64 = 3_000;
pub const SOLID_DEPTH: usize = 19;
pub const START: u64 = 1_700_000_000_000;

/// A payee to whom every transfer reverts.
pub const BLOCKED: Address = Address::from_evm([0x0b; 20]);
/// What the contract says of them.
pub const BLOCKED_BECAUSE: &str = "the contract reverts for this payee";

/// SplitMix64: small, seeded, the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// What a transaction does.
#[derive(Clone)]
pub enum Deed {
    /// It pays.
    Pays(Order),
    /// It is the order of stake with this hash.
    Stakes([u8; 32]),
}

#[derive(Clone)]
pub struct Transaction {
    pub deed: Deed,
    pub expiration: u64,
    pub works: bool,
}

pub struct Mined {
    pub block: Block,
    pub transactions: Vec<TxId>,
}

#[derive(Default)]
pub struct Disk {
    synced: Vec<u8>,
    pending: Vec<u8>,
    marks: [Vec<u8>; 2],
}

pub struct World {
    pub random: Random,
    pub now: u64,
    pub skew: i64,
    pub chain: Vec<Mined>,
    pub known: HashMap<TxId, Transaction>,
    pub pool: BTreeMap<TxId, u64>,
    pub disk: Disk,
    pub balance: u64,
    /// Faults happen.
    pub faults: bool,
    /// The node that lies while faults happen.
    pub liar: Option<usize>,
    pub points: u64,
    pub kill_at: Option<u64>,
    pub dead: bool,
    forks: u64,
    /// Blocks that no fork replaces.
    solid: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed),
            now: START,
            skew: 0,
            chain: Vec::new(),
            known: HashMap::new(),
            pool: BTreeMap::new(),
            disk: Disk::default(),
            balance: 1_000_000_000,
            faults: true,
            liar: None,
            points: 0,
            kill_at: None,
            dead: false,
            forks: 0,
            solid: 0,
        };
        for _ in 0..SOLID_DEPTH + 5 {
            world.mine();
        }
        world
    }

    /// A place where the process may be killed. False when it is dead.
    fn point(&mut self) -> bool {
        self.points += 1;
        if self.kill_at.is_some_and(|at| self.points >= at) {
            self.dead = true;
        }
        !self.dead
    }

    fn mine(&mut self) {
        self.now += BLOCK_MS;
        let number = self.chain.len() as u64;
        let parent_time = self.chain.last().map_or(0, |mined| mined.block.time);
        let mut id = *blake3_of(&[number, self.now, self.forks]).as_bytes();
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut transactions = Vec::new();
        let waiting: Vec<(TxId, u64)> = self.pool.iter().map(|(id, at)| (*id, *at)).collect();
        for (txid, since) in waiting {
            let expired = parent_time >= self.known[&txid].expiration;
            if expired || self.now - since > 60_000 {
                self.pool.remove(&txid);
            } else if self.random.percent(if self.faults { 35 } else { 90 }) {
                self.pool.remove(&txid);
                transactions.push(txid);
            }
        }
        self.chain.push(Mined { block: Block { number, id, time: self.now }, transactions });
        self.solid = self.solid.max(self.chain.len().saturating_sub(SOLID_DEPTH));
    }

    /// Lets blocks be made, and at times replaces the newest ones.
    pub fn advance(&mut self, blocks: u64) {
        for _ in 0..blocks {
            if self.faults && self.random.percent(5) {
                let depth = 1 + self.random.below((self.chain.len() - self.solid) as u64);
                self.forks += 1;
                for _ in 0..depth {
                    for txid in self.chain.pop().map(|mined| mined.transactions).unwrap() {
                        if self.random.percent(60) {
                            self.pool.insert(txid, self.now);
                        }
                    }
                }
            }
            self.mine();
        }
    }

    pub fn included(&self, txid: &TxId) -> Option<usize> {
        self.chain.iter().rposition(|mined| mined.transactions.contains(txid))
    }

    pub fn clock(&self) -> u64 {
        self.now.saturating_add_signed(self.skew)
    }

    /// How often the chain has paid each payout.
    pub fn paid(&self) -> BTreeMap<PayoutId, u32> {
        let mut paid = BTreeMap::new();
        for txid in self.chain.iter().flat_map(|mined| &mined.transactions) {
            if let Transaction { deed: Deed::Pays(order), works: true, .. } = &self.known[txid] {
                for share in &order.shares {
                    *paid.entry(share.payout).or_default() += 1;
                }
            }
        }
        paid
    }

    /// How often the chain has carried out each order of stake.
    pub fn staked(&self) -> BTreeMap<[u8; 32], u32> {
        let mut staked = BTreeMap::new();
        for txid in self.chain.iter().flat_map(|mined| &mined.transactions) {
            if let Transaction { deed: Deed::Stakes(order), works: true, .. } = &self.known[txid] {
                *staked.entry(*order).or_default() += 1;
            }
        }
        staked
    }

    /// Somebody signs. Bytes that were never sent may belong to another deed by now: after a kill
    /// before the journal had them, equal fields of an alike payout make the same bytes again, and
    /// what they pay is what the journal says of them then.
    fn signs(&mut self, txid: TxId, deed: Deed, expiration: u64) {
        let works = !(self.faults && self.random.percent(6));
        if self.pool.contains_key(&txid) || self.included(&txid).is_some() {
            return;
        }
        let works = self.known.get(&txid).map_or(works, |known| known.works);
        self.known.insert(txid, Transaction { deed, expiration, works });
    }

    /// Signs an order of stake as a wallet does.
    pub fn sign_stake(&mut self, order: [u8; 32], timestamp: u64) -> Stake {
        // As its office does: over a final block, valid for a minute.
        let solid = self.solid();
        let reference = self.chain[solid].block;
        let expiration = self.now + 60_000;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&order).update(&reference.id).update(&timestamp.to_be_bytes());
        let txid = TxId(*hasher.finalize().as_bytes());
        self.signs(txid, Deed::Stakes(order), expiration);
        Stake {
            txid,
            bytes: [txid.0.as_slice(), &[0; 120]].concat(),
            owner: Address::from_evm([0xbb; 20]),
            order,
            key: None,
            what: "stakes".into(),
            timestamp,
            expiration,
            reference: reference.number,
            reference_id: reference.id,
            by: None,
        }
    }

    /// What a node counts as solidified now.
    fn solid(&mut self) -> usize {
        let lag = if self.faults && self.random.percent(20) { self.random.below(40) } else { 0 };
        self.solid.saturating_sub(lag as usize).max(1) - 1
    }

    /// The process is gone: what was not synced is kept as far as chance has it.
    pub fn restart(&mut self) {
        let keep = self.random.below(self.disk.pending.len() as u64 + 1) as usize;
        let pending = std::mem::take(&mut self.disk.pending);
        self.disk.synced.extend_from_slice(&pending[..keep]);
        self.dead = false;
        self.kill_at = None;
    }
}

pub fn usdt(units: u64) -> Usdt {
    Usdt::from_units(units).unwrap()
}

fn blake3_of(numbers: &[u64]) -> blake3::Hash {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    blake3::hash(&bytes)
}

#[derive(Clone)]
pub struct Shared(pub Arc<Mutex<World>>);

impl Shared {
    pub fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

/// Pending once, so that the process can be dropped here.
struct Pause(Shared, bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.1 {
            return Poll::Ready(());
        }
        self.1 = true;
        self.0.get().point();
        Poll::Pending
    }
}

pub struct Node(pub Shared, pub usize);

impl Node {
    async fn call<T>(
        &self,
        ask: impl FnOnce(&mut World, bool) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        Pause(self.0.clone(), false).await;
        let answer = {
            let mut world = self.0.get();
            if world.dead {
                return Err(NodeError::Unreachable("killed".into()));
            }
            if world.faults && world.random.percent(8) {
                return Err(NodeError::Unreachable("503".into()));
            }
            let lies = world.faults && world.liar == Some(self.1) && world.random.percent(70);
            let answer = ask(&mut world, lies);
            if world.faults && world.random.percent(8) {
                Err(NodeError::Unreachable("the answer was lost".into()))
            } else {
                answer
            }
        };
        Pause(self.0.clone(), false).await;
        answer
    }
}

impl TronNode for Node {
    async fn head(&self) -> Result<Block, NodeError> {
        self.call(|world, _| Ok(world.chain.last().unwrap().block)).await
    }
    async fn solid(&self) -> Result<Block, NodeError> {
        self.call(|world, _| {
            let solid = world.solid();
            Ok(world.chain[solid].block)
        })
        .await
    }
    async fn solid_id(&self, number: u64) -> Result<Option<[u8; 32]>, NodeError> {
        self.call(|world, _| Ok(world.chain.get(number as usize).map(|mined| mined.block.id))).await
    }
    async fn receipt(&self, txid: TxId) -> Result<Option<Receipt>, NodeError> {
        self.call(|world, lies| {
            let mut asked = txid;
            if lies {
                // Another transaction's receipt, or none at all.
                let others: Vec<TxId> =
                    world.chain.iter().flat_map(|mined| mined.transactions.clone()).collect();
                match others.first() {
                    Some(other) if world.random.percent(50) => asked = *other,
                    _ => return Ok(None),
                }
            }
            let solid = world.solid;
            let Some(block) = world.included(&asked).filter(|block| *block < solid) else {
                return Ok(None);
            };
            let Transaction { deed, works, .. } = world.known[&asked].clone();
            let log = match deed {
                Deed::Pays(order) => vec![TransferLog {
                    token: order.token,
                    from: order.from,
                    to: order.to,
                    amount: order.net,
                }],
                Deed::Stakes(_) => Vec::new(),
            };
            // Only calls of contracts have a result that says so.
            let result = match (works, log.is_empty()) {
                (true, false) => "SUCCESS",
                (true, true) => "",
                (false, _) => "OUT_OF_ENERGY",
            };
            Ok(Some(Receipt {
                txid: asked,
                block: block as u64,
                success: result == "SUCCESS",
                worked: works,
                result: result.into(),
                burned_sun: 6_400_000,
                used: Used { energy: 64_000, energy_sun: 6_400_000, ..Used::default() },
                transfers: if works { log } else { Vec::new() },
            }))
        })
        .await
    }
    async fn sighted(&self, txid: TxId) -> Result<Option<u64>, NodeError> {
        self.call(|world, _| Ok(world.included(&txid).map(|block| block as u64))).await
    }
    async fn balance(&self, _: Address, _: Address) -> Result<Usdt, NodeError> {
        self.call(|world, lies| Ok(if lies { Usdt::MAX } else { usdt(world.balance) })).await
    }
    async fn fee_limit(
        &self,
        _: Address,
        _: Address,
        call: &[u8],
        _: u64,
    ) -> Result<Result<u64, String>, NodeError> {
        let blocked = call == abi::transfer(&BLOCKED, 1_900_000);
        self.call(|world, _| {
            if blocked {
                return Ok(Err(BLOCKED_BECAUSE.into()));
            }
            let reverts = world.faults && world.random.percent(5);
            Ok(if reverts { Err("REVERT".into()) } else { Ok(15_000_000) })
        })
        .await
    }
    async fn broadcast(&self, signed: &[u8]) -> Result<Answer, NodeError> {
        let mut id = [0; 32];
        id.copy_from_slice(&signed[..32]);
        let txid = TxId(id);
        self.call(|world, _| {
            if world.included(&txid).is_some() || world.pool.contains_key(&txid) {
                return Ok(Answer::Duplicate);
            }
            if world.faults && world.random.percent(10) {
                return Ok(Answer::Refused("TAPOS_ERROR".into()));
            }
            let head = world.chain.last().unwrap().block.time;
            let Some(transaction) = world.known.get(&txid) else {
                return Ok(Answer::Refused("SIGERROR".into()));
            };
            if head >= transaction.expiration {
                return Ok(Answer::Refused("TRANSACTION_EXPIRATION_ERROR".into()));
            }
            let now = world.now;
            world.pool.insert(txid, now);
            if world.faults && world.random.percent(10) {
                return Ok(Answer::Unclear("OTHER_ERROR".into()));
            }
            Ok(Answer::Accepted)
        })
        .await
    }
}

pub struct SimWallet(pub Shared);

impl Wallet for SimWallet {
    fn sign(&self, order: &Order) -> Result<Signed, SignError> {
        let mut world = self.0.get();
        // Identical fields give an identical id, as on TRON; whom it is for is not among them.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&order.to.to_bytes()).update(&order.reference_id);
        for number in [order.net.units(), order.timestamp, order.expiration, order.fee_limit] {
            hasher.update(&number.to_be_bytes());
        }
        let txid = TxId(*hasher.finalize().as_bytes());
        world.signs(txid, Deed::Pays(order.clone()), order.expiration);
        Ok(Signed { txid, bytes: [txid.0.as_slice(), &[0; 180]].concat() })
    }
}

pub struct SimMedium(pub Shared);

fn killed() -> io::Error {
    io::Error::other("killed")
}

impl Medium for SimMedium {
    fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let world = self.0.get();
        let bytes = [world.disk.synced.as_slice(), &world.disk.pending].concat();
        Ok(Box::new(io::Cursor::new(bytes)))
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.get();
        if world.dead {
            return Err(killed());
        }
        let full = world.faults && world.random.percent(5);
        let alive = world.point();
        let reaches = match full || !alive {
            true => world.random.below(bytes.len() as u64) as usize,
            false => bytes.len(),
        };
        world.disk.pending.extend_from_slice(&bytes[..reaches]);
        if alive && !full { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.0.get();
        if world.dead || !world.point() {
            return Err(killed());
        }
        if world.faults && world.random.percent(1) {
            return Err(io::Error::other("EIO"));
        }
        let pending = std::mem::take(&mut world.disk.pending);
        world.disk.synced.extend_from_slice(&pending);
        if world.point() { Ok(()) } else { Err(killed()) }
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut world = self.0.get();
        if world.dead || !world.point() {
            return Err(killed());
        }
        let synced = world.disk.synced.len();
        world.disk.pending.truncate((len as usize).saturating_sub(synced));
        world.disk.synced.truncate(len as usize);
        Ok(())
    }
    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        Ok(self.0.get().disk.marks[slot].clone())
    }
    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.get();
        if world.dead {
            return Err(killed());
        }
        if !world.point() {
            let reaches = world.random.below(bytes.len() as u64) as usize;
            let old = &mut world.disk.marks[slot];
            old.resize(old.len().max(reaches), 0);
            old[..reaches].copy_from_slice(&bytes[..reaches]);
            return Err(killed());
        }
        world.disk.marks[slot] = bytes.to_vec();
        if world.point() { Ok(()) } else { Err(killed()) }
    }
}
