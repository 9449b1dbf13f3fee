//! The chain of `tests/fixtures/chain/vectors.json`, as far as the fuzz targets need it.

use lucid_chain::Genesis;
use lucid_evidence::SessionId;

/// A chain with every kind of transaction, and the proof of its one session.
#[derive(Debug)]
pub struct ChainVectors {
    /// Its genesis.
    pub genesis: Genesis,
    /// Its transactions.
    pub transactions: Vec<Vec<u8>>,
    /// Its blocks.
    pub blocks: Vec<Vec<u8>>,
    /// Their headers.
    pub headers: Vec<Vec<u8>>,
    /// Their certificates.
    pub certificates: Vec<Vec<u8>>,
    /// The session.
    pub session: SessionId,
    /// The proof of the session.
    pub anchor: Vec<u8>,
}

/// All values of a name in the pretty-printed JSON, in order. The fixture is ours and every value
/// of interest stands on a line of its own.
fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let start = format!("\"{name}\": \"");
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(&start))
        .map(|rest| rest.trim_end_matches(',').trim_end_matches('"'))
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hexadecimal digit") as u8;
    let digits: Vec<u8> = text.bytes().map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

impl ChainVectors {
    /// Reads the fixture.
    pub fn read() -> Self {
        let text = include_str!("../fixtures/chain/vectors.json");
        let all: Vec<Vec<u8>> = values(text, "bytes").into_iter().map(unhex).collect();
        let (mut blocks, mut transactions) = (Vec::new(), Vec::new());
        let (mut genesis, mut anchor) = (None, Vec::new());
        for bytes in all {
            // A transaction is a tagged array; the others are maps of different lengths.
            match bytes.first() {
                Some(0xd2) => transactions.push(bytes),
                Some(0xa4) => blocks.push(bytes),
                Some(0xa5) => genesis = Genesis::from_bytes(&bytes).ok(),
                _ => anchor = bytes,
            }
        }
        let session = values(text, "session").first().and_then(|text| text.parse().ok());
        ChainVectors {
            genesis: genesis.expect("the fixture has a genesis"),
            transactions,
            blocks,
            headers: values(text, "header").into_iter().map(unhex).collect(),
            certificates: values(text, "certificate").into_iter().map(unhex).collect(),
            session: session.expect("the fixture has a session"),
            anchor,
        }
    }
}
