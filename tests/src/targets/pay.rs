//! What the payment process reads from outside: transactions, text, calls, node's answers, and its
//! own journal.

use lucid_pay::chain::multisig::Proposal;
use lucid_pay::client::answers;
use lucid_pay::hardware::apdu;
use lucid_pay::journal::{Journal, Medium};
use lucid_pay::ledger::Ledger;
use lucid_pay::payout::book::Book;
use lucid_pay::payout::record;
use lucid_pay::tron::transaction::Unsigned;
use lucid_pay::tron::{Address, Sun, Usdt, abi, json, key, mnemonic, receipt, signature};
use std::io::{self, Read};

/// Foreign `raw_data`: what is read encodes to the same bytes, and is split for a device and shown
/// to people without a panic. A proposal's text reads back as itself.
pub fn pay_transaction(data: &[u8]) {
    if let Ok(unsigned) = Unsigned::from_bytes(data) {
        assert_eq!(unsigned.bytes, data);
        let _ = json::raw_data(&unsigned);
        let _ = unsigned.owner();
        if let Ok(commands) = apdu::sign("m/44'/195'/0'/0/0", data) {
            assert!(commands.iter().all(|command| command.len() <= 255));
        }
        let proposal = Proposal::new(unsigned);
        let _ = proposal.describe();
        if let Ok(read) = Proposal::from_text(&proposal.to_text()) {
            assert_eq!(read, proposal);
        }
    }
    let _ = apdu::sign("m/0", data);
    let _ = apdu::read_public_key(data);
    let _ = apdu::read_configuration(data);
    let _ = signature::Signature::from_bytes(data);
}

/// Text of people: addresses, amounts, paths, proposals. What is read is written as it came.
pub fn pay_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string(), text);
    }
    if let Ok(amount) = text.parse::<Usdt>() {
        assert_eq!(amount.to_string().parse::<Usdt>(), Ok(amount));
        assert_eq!(amount.fixed().parse::<Usdt>(), Ok(amount));
    }
    let _ = text.parse::<Sun>();
    let _ = key::parse_path(text);
    let _ = key::PrivateKey::from_hex(text);
    let _ = Proposal::from_text(text);
}

/// Recovery words; those that are none are refused before the slow derivation.
pub fn pay_mnemonic(data: &[u8]) {
    if let Ok(words) = mnemonic::from_entropy(data) {
        assert!(mnemonic::seed(&words, "").is_ok(), "its own words");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = mnemonic::seed(text, "");
}

/// A call: signature and arguments, one a line. What is encoded begins with the selector and is
/// whole words.
pub fn pay_abi(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let signature = lines.next().unwrap_or_default();
    let arguments: Vec<&str> = lines.collect();
    if let Ok(call) = abi::call(signature, &arguments) {
        assert_eq!(call[..4], abi::selector(signature));
        assert_eq!((call.len() - 4) % 32, 0);
    }
}

/// A node's answer, to every question.
pub fn pay_answer(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    let someone = Address::from_evm([7; 20]);
    let _ = answers::block(&value);
    let _ = answers::account(&value, someone);
    let _ = answers::resources(&value);
    let _ = answers::parameters(&value);
    let _ = answers::constant(&value);
    let _ = answers::broadcast(&value, &[7; 32]);
    let _ = answers::sign_weight(&value);
    let _ = answers::loans(&value);
    if let Ok(Some(executed)) = answers::executed(&value) {
        assert!(!executed.receipt.success || executed.receipt.result == "SUCCESS");
        let _ = receipt::transfer(&value, someone);
    }
}

/// The journal's bytes in memory.
#[derive(Clone, Default)]
struct Memory {
    bytes: Vec<u8>,
    marks: [Vec<u8>; 2],
}

impl Medium for &mut Memory {
    fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(&self.bytes[..]))
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }
    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        Ok(self.marks[slot].clone())
    }
    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.marks[slot] = bytes.to_vec();
        Ok(())
    }
}

fn payloads(memory: &mut Memory) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let opened = Journal::open(memory, |_, payload| {
        found.push(payload.to_vec());
        Ok(())
    });
    opened.ok().map(|_| found)
}

/// The journal. First byte 0: records, which add up without a panic and encode as they came.
/// First byte 1: a file nobody wrote. Otherwise a journal of ours, altered or cut: it opens as it
/// was acknowledged, or not at all.
pub fn pay_journal(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind {
        0 => {
            let Ok(entries) = record::decode(data) else { return };
            let (mut book, mut ledger) = (Book::default(), Ledger::default());
            for entry in &entries {
                ledger.apply(entry);
                book.apply(entry.clone());
            }
            assert_eq!(ledger.balances().values().sum::<i128>(), 0);
            let again = record::decode(&record::encode(&entries));
            assert!(again.is_ok_and(|again| again == entries));
        }
        1 => {
            let mut memory = Memory { bytes: data.to_vec(), ..Memory::default() };
            payloads(&mut memory);
        }
        _ => altered(data),
    }
}

fn altered(data: &[u8]) {
    let Some((&[high, low, flip], data)) = data.split_first_chunk::<3>() else { return };
    let mut memory = Memory::default();
    let mut written = Vec::new();
    {
        let opened = Journal::open(&mut memory, |_, _| Ok(()));
        let (mut journal, _) = opened.expect("an empty journal opens");
        for payload in data.split(|byte| *byte == 0).filter(|payload| !payload.is_empty()) {
            assert!(journal.append(payload).is_ok());
            written.push(payload.to_vec());
        }
    }
    assert_eq!(payloads(&mut memory.clone()).as_ref(), Some(&written));
    let at = usize::from(u16::from_be_bytes([high, low]));
    match memory.bytes.get_mut(at) {
        Some(byte) if flip > 0 => *byte ^= flip,
        Some(_) => memory.bytes.truncate(at),
        None => return,
    }
    // Everything was acknowledged, so nothing may be missing or other than it was.
    assert_eq!(payloads(&mut memory), None, "an altered journal opened");
}
