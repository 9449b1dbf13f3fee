//! What the journal keeps: CBOR, one array of records a frame, after a version byte.

use super::types::{Address, Millis, PayoutId, Request, TxId, Usdt};
use minicbor::{Decode, Encode};

/// The version of the records' encoding.
pub const RECORD_VERSION: u8 = 1;

/// One payout's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Share {
    /// The payout.
    #[n(0)]
    pub payout: PayoutId,
    /// Its gross amount.
    #[n(1)]
    pub gross: Usdt,
    /// What of it is Lucid's fee; the rest goes to the payee.
    #[n(2)]
    pub fee: Usdt,
}

/// A signed transaction. It is durable before it is first sent, and only its bytes are ever sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Attempt {
    /// SHA-256 of the raw data.
    #[n(0)]
    pub txid: TxId,
    /// The signed transaction as it is sent.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// The payouts it pays, all of one payee.
    #[n(2)]
    pub shares: Vec<Share>,
    /// The paying account.
    #[n(3)]
    pub from: Address,
    /// The payee.
    #[n(4)]
    pub to: Address,
    /// The USDT contract.
    #[n(5)]
    pub token: Address,
    /// What the payee gets.
    #[n(6)]
    pub net: Usdt,
    /// Its timestamp, unique in the account.
    #[n(7)]
    pub timestamp: Millis,
    /// No block whose parent has this time or a later one can take it.
    #[n(8)]
    pub expiration: Millis,
    /// Height of the reference block.
    #[n(9)]
    pub reference: u64,
    /// Id of the reference block.
    #[cbor(n(10), with = "minicbor::bytes")]
    pub reference_id: [u8; 32],
    /// Most sun its energy may cost.
    #[n(11)]
    pub fee_limit: u64,
}

/// A signed transaction of stake. It is durable before it is first sent, as payouts are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stake {
    /// SHA-256 of the raw data.
    #[n(0)]
    pub txid: TxId,
    /// The signed transaction as it is sent.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// Whose stake.
    #[n(2)]
    pub owner: Address,
    /// Hash of wallet and action.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub order: [u8; 32],
    /// The key of whoever asked, if there was one.
    #[n(4)]
    pub key: Option<String>,
    /// What it does, in words.
    #[n(5)]
    pub what: String,
    /// Its timestamp, unique in the account.
    #[n(6)]
    pub timestamp: Millis,
    /// No block whose parent has this time or a later one can take it.
    #[n(7)]
    pub expiration: Millis,
    /// Height of the reference block.
    #[n(8)]
    pub reference: u64,
    /// Id of the reference block.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub reference_id: [u8; 32],
    /// Who ordered it, if somebody was named.
    #[n(10)]
    pub by: Option<String>,
}

/// What a transaction took of the account's energy and bandwidth, and what was burned for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Used {
    /// Energy in all, points.
    #[n(0)]
    pub energy: u64,
    /// TRX burned for energy, sun.
    #[n(1)]
    pub energy_sun: u64,
    /// Bandwidth of the account's own, points.
    #[n(2)]
    pub bandwidth: u64,
    /// TRX burned for bandwidth, sun.
    #[n(3)]
    pub bandwidth_sun: u64,
}

impl Used {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            energy: self.energy.saturating_add(other.energy),
            energy_sun: self.energy_sun.saturating_add(other.energy_sun),
            bandwidth: self.bandwidth.saturating_add(other.bandwidth),
            bandwidth_sun: self.bandwidth_sun.saturating_add(other.bandwidth_sun),
        }
    }
}

/// What happened. The book and the ledger are sums of these.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// A request was accepted.
    #[n(0)]
    Requested {
        /// What was asked.
        #[n(0)]
        request: Request,
        /// Its batch, if it came in one.
        #[n(1)]
        batch: Option<String>,
        /// A second person must approve.
        #[n(2)]
        second: bool,
    },
    /// A person approved.
    #[n(1)]
    Approved {
        /// The payout.
        #[n(0)]
        payout: PayoutId,
        /// Who.
        #[n(1)]
        by: String,
    },
    /// A person ended a payout that has no live transaction.
    #[n(2)]
    Cancelled {
        /// The payout.
        #[n(0)]
        payout: PayoutId,
        /// Who.
        #[n(1)]
        by: String,
        /// Why.
        #[n(2)]
        cause: String,
    },
    /// A person lets a failed payout be tried again.
    #[n(3)]
    Retried {
        /// The payout.
        #[n(0)]
        payout: PayoutId,
        /// Who.
        #[n(1)]
        by: String,
    },
    /// The payout waits.
    #[n(4)]
    Held {
        /// The payout.
        #[n(0)]
        payout: PayoutId,
        /// For what.
        #[n(1)]
        cause: String,
    },
    /// The compliance key approved a payee.
    #[n(5)]
    Kyc {
        /// The payee.
        #[n(0)]
        payee: Address,
        /// Hash of the file on the payee.
        #[cbor(n(1), with = "minicbor::bytes")]
        kyc: [u8; 32],
        /// Until when.
        #[n(2)]
        expires: Millis,
    },
    /// A transaction was signed.
    #[n(6)]
    Signed(#[n(0)] Attempt),
    /// A node answered a broadcast for the first time, or otherwise than before.
    #[n(7)]
    Broadcast {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// Accepted or a duplicate; otherwise refused or unclear.
        #[n(1)]
        taken: bool,
        /// The answer in words.
        #[n(2)]
        answer: String,
    },
    /// It is in a block that is not yet solidified.
    #[n(8)]
    Seen {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// The block.
        #[n(1)]
        block: u64,
    },
    /// A solidified receipt proves the transfer.
    #[n(9)]
    Confirmed {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// The block.
        #[n(1)]
        block: u64,
        /// TRX burned, sun.
        #[n(2)]
        burned_sun: u64,
        /// What it took of energy and bandwidth.
        #[n(3)]
        used: Option<Used>,
    },
    /// A solidified receipt proves that it did not transfer what it should.
    #[n(10)]
    Failed {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// The block.
        #[n(1)]
        block: u64,
        /// TRX burned, sun.
        #[n(2)]
        burned_sun: u64,
        /// What moved all the same; above 0 nobody may try again without looking.
        #[n(3)]
        moved: Usdt,
        /// What went wrong.
        #[n(4)]
        cause: String,
        /// What it took of energy and bandwidth.
        #[n(5)]
        used: Option<Used>,
    },
    /// It can never be included any more.
    #[n(11)]
    Expired {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// The solidified block that proves it.
        #[n(1)]
        block: u64,
        /// That block's time.
        #[n(2)]
        time: Millis,
    },
    /// USDT came into the paying account.
    #[n(12)]
    Funded {
        /// How much.
        #[n(0)]
        amount: Usdt,
        /// By which transaction; each counts once.
        #[n(1)]
        txid: TxId,
    },
    /// An order of stake was signed.
    #[n(13)]
    Staked(#[n(0)] Stake),
    /// A key here signed a transaction that others sign as well.
    #[n(14)]
    Cosigned {
        /// The transaction.
        #[n(0)]
        txid: TxId,
        /// The key's address.
        #[n(1)]
        signer: Address,
        /// Who asked for it.
        #[n(2)]
        by: String,
        /// What it does, in words.
        #[n(3)]
        what: String,
    },
}

/// A record and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// When, by this machine's clock.
    #[n(0)]
    pub at: Millis,
    /// What.
    #[n(1)]
    pub record: Record,
}

/// Encodes one frame's payload.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = vec![RECORD_VERSION];
    for entry in entries {
        // Writing into a vector cannot fail.
        let _ = minicbor::encode(entry, &mut bytes);
    }
    bytes
}

/// Reads one frame's payload.
///
/// # Errors
/// When the version is unknown or the bytes are no records.
pub fn decode(payload: &[u8]) -> Result<Vec<Entry>, minicbor::decode::Error> {
    match payload.split_first() {
        Some((&RECORD_VERSION, rest)) => {
            let mut decoder = minicbor::Decoder::new(rest);
            let mut entries = Vec::new();
            while decoder.position() < rest.len() {
                entries.push(decoder.decode()?);
            }
            Ok(entries)
        }
        _ => Err(minicbor::decode::Error::message("records of an unknown version")),
    }
}
