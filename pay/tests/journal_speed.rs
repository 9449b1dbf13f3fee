//! Reading back 100,000 payouts. Prints the time; run it with `--release -- --nocapture`.

use lucid_pay::journal::{FileMedium, Journal};
use lucid_pay::ledger::{Account, Ledger};
use lucid_pay::payout::book::{Book, State};
use lucid_pay::payout::record::{self, Attempt, Entry, Record, Share};
use lucid_pay::payout::types::{Address, Request, Route, TxId, Usdt};
use std::time::Instant;

fn entries(n: u64) -> Vec<Entry> {
    let hash = *blake3::hash(&n.to_be_bytes()).as_bytes();
    let mut payee = [0; 20];
    payee.copy_from_slice(&hash[..20]);
    let payee = Address::from_evm(payee);
    let request = Request {
        payee,
        amount: Usdt::whole(10),
        reason: "reward".into(),
        evidence: hash,
        route: Route::Direct,
        credits: None,
        requested_by: "settle".into(),
        key: None,
    };
    let txid = TxId(hash);
    let attempt = Attempt {
        txid,
        bytes: vec![7; 280],
        shares: vec![Share { payout: request.id(), gross: request.amount, fee: Usdt::ZERO }],
        from: Address::from_evm([1; 20]),
        to: payee,
        token: Address::from_evm([1; 20]),
        net: request.amount,
        timestamp: n,
        expiration: n + 1,
        reference: n,
        reference_id: hash,
        fee_limit: 15_000_000,
    };
    let records = [
        Record::Requested { request, batch: None, second: false },
        Record::Signed(attempt),
        Record::Broadcast { txid, taken: true, answer: "accepted".into() },
        Record::Seen { txid, block: n },
        Record::Confirmed { txid, block: n, burned_sun: 6_400_000, used: None },
    ];
    records.into_iter().map(|record| Entry { at: n, record }).collect()
}

#[test]
fn a_hundred_thousand_payouts_are_read_back() {
    // One frame a record, as the driver writes them; without a sync each, to make it in time.
    let dir = tempfile::tempdir().unwrap();
    let count = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let (mut journal, _) =
        Journal::open(support::Unsynced(FileMedium::open(dir.path()).unwrap(), 0), |_, _| Ok(()))
            .unwrap();
    for n in 0..count {
        for entry in entries(n) {
            journal.append(&record::encode(&[entry])).unwrap();
        }
    }
    drop(journal);
    let start = Instant::now();
    let (mut book, mut ledger) = (Book::default(), Ledger::default());
    let medium = FileMedium::open(dir.path()).unwrap();
    let (_, opened) = Journal::open(medium, |_, payload| {
        for entry in record::decode(payload).unwrap() {
            ledger.apply(&entry);
            book.apply(entry);
        }
        Ok(())
    })
    .unwrap();
    println!("{count} payouts, {} frames read back in {:?}", opened.frames, start.elapsed());
    assert_eq!(opened.frames, count * 5);
    assert_eq!(
        book.payouts.values().filter(|p| p.state() == State::Confirmed).count(),
        count as usize
    );
    assert_eq!(ledger.balance(Account::Wallet), -i128::from(count) * 10_000_000);
}

mod support {
    use lucid_pay::journal::{FileMedium, Medium};
    use std::io::{self, Read};

    /// Files without their syncs.
    pub struct Unsynced(pub FileMedium, pub u32);

    impl Medium for Unsynced {
        fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
            self.0.read()
        }
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.append(bytes)
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.0.truncate(len)
        }
        fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
            self.0.read_mark(slot)
        }
        fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
            // The mark may lie behind; only the first two are written.
            self.1 += 1;
            if self.1 > 2 { Ok(()) } else { self.0.write_mark(slot, bytes) }
        }
    }
}
