//! Builds and signs 1,000 USDT transfers, beside tronweb doing the same ones in the same run. Both
//! must come to the same bytes. `make bench` installs tronweb; without it only Lucid is measured.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what is broken stops the measurement

use std::process::Command;
use std::time::Instant;

use lucid_pay::tron::key::PrivateKey;
use lucid_pay::tron::transaction::{Frame, RefBlock, Unsigned};
use lucid_pay::tron::{Address, abi, hex};
use sha2::{Digest, Sha256};
use tron_protobuf::TriggerSmartContract;

const TRANSFERS: u32 = 1_000;
const ROUNDS: usize = 3;
/// Wanted beside tronweb.
const WANTED: f64 = 20.0;

fn transfer(key: &PrivateKey, owner: &Address, token: &Address, n: u32) -> (Unsigned, [u8; 65]) {
    let mut payee = [0; 20];
    payee[16..].copy_from_slice(&n.to_be_bytes());
    let call = TriggerSmartContract {
        owner_address: owner.to_bytes().to_vec(),
        contract_address: token.to_bytes().to_vec(),
        data: abi::transfer(&Address::from_evm(payee), 1_000_000 + u64::from(n)),
        ..TriggerSmartContract::default()
    };
    let frame = Frame {
        block: RefBlock { bytes: [1, 2], hash: [3, 4, 5, 6, 7, 8, 9, 0] },
        timestamp: 1_760_000_000_000 + i64::from(n),
        expiration: 1_760_000_600_000,
        fee_limit: 30_000_000,
        memo: Vec::new(),
        permission_id: 0,
    };
    let unsigned = Unsigned::build(&call, frame).unwrap();
    let signature = key.sign(&unsigned.txid).to_bytes_v27();
    (unsigned, signature)
}

/// Nanoseconds for all of them, and a hash of all bytes.
fn ours() -> (u128, String) {
    let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
    let owner = key.address();
    let token = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".parse().unwrap();
    let mut hash = Sha256::new();
    let begun = Instant::now();
    for n in 1..=TRANSFERS {
        let (unsigned, signature) = transfer(&key, &owner, &token, n);
        hash.update(hex::encode(&unsigned.bytes));
        hash.update(hex::encode(&signature));
    }
    (begun.elapsed().as_nanos(), hex::encode(&hash.finalize()))
}

fn theirs() -> Option<(u128, String)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/signing.js");
    let out = Command::new("node").arg(script).arg(TRANSFERS.to_string()).output().ok()?;
    if !out.status.success() {
        eprintln!("tronweb: {}", String::from_utf8_lossy(&out.stderr));
        return None;
    }
    let text = String::from_utf8(out.stdout).unwrap();
    let mut words = text.split_whitespace().skip(1);
    let took = words.next()?.parse().ok()?;
    Some((took, words.next()?.to_owned()))
}

fn main() {
    // Best of several in turn: what else runs on the machine slows both.
    let mut best = (u128::MAX, u128::MAX);
    let mut peer = true;
    for _ in 0..ROUNDS {
        let (took, hash) = ours();
        best.0 = best.0.min(took);
        match theirs() {
            Some((took, theirs)) => {
                assert!(theirs == hash, "tronweb came to other bytes");
                best.1 = best.1.min(took);
            }
            None => peer = false,
        }
    }
    let rate = |took: u128| 1e9 * f64::from(TRANSFERS) / took as f64;
    println!("lucid-pay: {:.0} transfers/s", rate(best.0));
    if peer {
        let ratio = rate(best.0) / rate(best.1);
        println!("tronweb:   {:.0} transfers/s", rate(best.1));
        println!("ratio:     {ratio:.1} (wanted: at least {WANTED})");
    } else {
        println!("tronweb is not here; scripts/deps bench installs it");
    }
}
