//! A Ledger with the TRON app, over anything that carries commands to it and answers back.

use super::apdu::{self, ApduError, App};
use super::frame::FrameError;
use crate::tron::Address;
use crate::tron::signature::Signature;
use crate::tron::transaction::Unsigned;

/// Why the device did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// What was asked or answered is wrong.
    #[error(transparent)]
    Apdu(#[from] ApduError),
    /// The packets are.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// None is plugged in, or it may not be opened.
    #[error("no Ledger can be opened: {0}")]
    Absent(String),
    /// It does not answer.
    #[error("the device does not answer: {0}")]
    Silent(String),
}

/// Carries one command to the device and its answer back. It blocks until a person pressed a
/// button.
pub trait Exchange {
    /// Sends a command and waits for the answer, status included.
    ///
    /// # Errors
    /// When there is no answer.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, DeviceError>;
}

/// The device.
#[derive(Debug)]
pub struct Ledger<E> {
    device: E,
}

impl<E: Exchange> Ledger<E> {
    /// Over this device.
    pub fn new(device: E) -> Self {
        Self { device }
    }

    /// The TRON app's version and settings.
    ///
    /// # Errors
    /// When it is not open, or does not answer.
    pub fn app(&mut self) -> Result<App, DeviceError> {
        let answer = self.device.exchange(&apdu::configuration())?;
        Ok(apdu::read_configuration(&answer)?)
    }

    /// The address at a path, such as `m/44'/195'/0'/0/0`. With `confirm` the device shows it, to
    /// be compared by a person: do so before money is sent there.
    ///
    /// # Errors
    /// When the device refuses or does not answer.
    pub fn address(&mut self, path: &str, confirm: bool) -> Result<Address, DeviceError> {
        let answer = self.device.exchange(&apdu::public_key(path, confirm)?)?;
        Ok(apdu::read_public_key(&answer)?.1)
    }

    /// Has the device show and sign a transaction. The signature counts only when the address at
    /// the path made it over exactly these bytes.
    ///
    /// # Errors
    /// When the device refuses or does not answer, or another key signed.
    pub fn sign(&mut self, path: &str, unsigned: &Unsigned) -> Result<Signature, DeviceError> {
        let commands = apdu::sign(path, &unsigned.bytes)?;
        let signer = self.address(path, false)?;
        let mut answer = Vec::new();
        for command in commands {
            answer = self.device.exchange(&command)?;
            apdu::data(&answer)?;
        }
        Ok(apdu::read_signature(&answer, &unsigned.txid, signer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Refused;
    use super::super::apdu::PART_BYTES_MAX;
    use super::*;
    use crate::tron::key::{PrivateKey, account_path, parse_path};
    use crate::tron::transaction::{Frame, RefBlock};
    use crate::tron::{abi, mnemonic, sha256};
    use tron_protobuf::{TransferContract, TriggerSmartContract};

    /// What the device does by its documented protocol, with the words of the test seed.
    struct Device {
        seed: Vec<u8>,
        received: Vec<u8>,
        path: String,
        denies: bool,
        altered: bool,
        log: Vec<Vec<u8>>,
    }

    impl Device {
        fn new() -> Self {
            let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";
            let seed = mnemonic::seed(words, "").unwrap().to_vec();
            let (received, log) = (Vec::new(), Vec::new());
            Self { seed, received, path: String::new(), denies: false, altered: false, log }
        }

        fn take_path<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
            let count = usize::from(data[0]);
            let (path, rest) = data[1..].split_at(4 * count);
            let step = |bytes: &[u8]| {
                let index = u32::from_be_bytes(bytes.try_into().unwrap());
                match index >> 31 {
                    1 => format!("/{}'", index & 0x7fff_ffff),
                    _ => format!("/{index}"),
                }
            };
            self.path = format!("m{}", path.chunks(4).map(step).collect::<String>());
            rest
        }

        fn key(&self) -> PrivateKey {
            PrivateKey::derive(&self.seed, &self.path).unwrap()
        }
    }

    impl Exchange for Device {
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, DeviceError> {
            self.log.push(command.to_vec());
            let [0xe0, instruction, p1, 0, length, data @ ..] = command else { panic!() };
            assert_eq!(usize::from(*length), data.len());
            let ok = |data: &[u8]| Ok([data, &[0x90, 0x00]].concat());
            match (instruction, p1) {
                (0x06, 0) => ok(&[0x03, 0, 7, 1]),
                (0x02, 0 | 1) => {
                    assert!(self.take_path(data).is_empty());
                    let text = self.key().address().to_string();
                    ok(&[&[65], &self.key().public_key()[..], &[34], text.as_bytes()].concat())
                }
                (0x04, 0x10 | 0x00 | 0x80 | 0x90) => {
                    let part = match p1 {
                        0x10 | 0x00 => {
                            self.received.clear();
                            self.take_path(data)
                        }
                        _ => data,
                    };
                    self.received.extend_from_slice(part);
                    if p1 & 0x10 == 0 {
                        return ok(&[]);
                    }
                    if self.denies {
                        return Ok(vec![0x69, 0x85]);
                    }
                    let mut hash = sha256(&self.received);
                    hash[0] ^= u8::from(self.altered);
                    ok(&self.key().sign(&hash).to_bytes())
                }
                _ => Ok(vec![0x6d, 0x00]),
            }
        }
    }

    fn frame() -> Frame {
        Frame {
            block: RefBlock { bytes: [1; 2], hash: [2; 8] },
            timestamp: 1_760_000_000_000,
            expiration: 1_760_000_600_000,
            fee_limit: 30_000_000,
            memo: Vec::new(),
            permission_id: 0,
        }
    }

    fn usdt(frame: Frame) -> Unsigned {
        let address = Address::from_evm([7; 20]);
        let call = TriggerSmartContract {
            owner_address: address.to_bytes().to_vec(),
            contract_address: address.to_bytes().to_vec(),
            data: abi::transfer(&address, 5_000_000),
            ..TriggerSmartContract::default()
        };
        Unsigned::build(&call, frame).unwrap()
    }

    #[test]
    fn the_address_of_the_test_seed_is_the_published_one() {
        let mut ledger = Ledger::new(Device::new());
        let address = ledger.address(&account_path(0, 0), true).unwrap();
        assert_eq!(address.to_string(), "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH");
        let sent = &ledger.device.log[0];
        // CLA, INS, confirm, no chain code, 21 bytes: 5 indices of m/44'/195'/0'/0/0.
        assert_eq!(sent[..7], [0xe0, 0x02, 0x01, 0x00, 21, 5, 0x80]);
        assert_eq!(sent[7..14], [0, 0, 0x2c, 0x80, 0, 0, 0xc3]);
        let app = ledger.app().unwrap();
        assert!(app.data && app.custom_contracts);
        assert_eq!(app.version, (0, 7, 1));
    }

    #[test]
    fn a_transaction_goes_out_whole_and_comes_back_signed() {
        let path = account_path(0, 0);
        let address = Address::from_evm([7; 20]);
        let pay = TransferContract {
            owner_address: address.to_bytes().to_vec(),
            to_address: address.to_bytes().to_vec(),
            amount: 1,
        };
        let short = Unsigned::build(&pay, Frame { fee_limit: 0, ..frame() }).unwrap();
        let memo = Unsigned::build(&pay, Frame { memo: vec![b'm'; 200], ..frame() }).unwrap();
        let both = usdt(Frame { memo: vec![b'm'; 240], ..frame() });
        for (unsigned, kinds) in [
            (short, vec![0x10]),
            (usdt(frame()), vec![0x10]),
            (memo, vec![0x00, 0x90]),
            (both, vec![0x00, 0x80, 0x90]),
        ] {
            let mut ledger = Ledger::new(Device::new());
            let signature = ledger.sign(&path, &unsigned).unwrap();
            let signer = signature.recover(&unsigned.txid).unwrap();
            assert_eq!(signer, ledger.address(&path, false).unwrap());
            assert_eq!(ledger.device.received, unsigned.bytes);
            let sent: Vec<_> =
                ledger.device.log.iter().filter(|command| command[1] == 0x04).collect();
            let found: Vec<u8> = sent.iter().map(|command| command[2]).collect();
            assert!(sent.iter().all(|command| command.len() <= 5 + PART_BYTES_MAX));
            assert_eq!(found, kinds);
        }
    }

    #[test]
    fn denials_wrong_keys_and_settings_are_told() {
        let path = account_path(0, 0);
        let mut ledger = Ledger::new(Device { denies: true, ..Device::new() });
        let error = ledger.sign(&path, &usdt(frame())).unwrap_err();
        assert!(matches!(error, DeviceError::Apdu(ApduError::Refused(Refused::Denied))));
        let mut ledger = Ledger::new(Device { altered: true, ..Device::new() });
        let error = ledger.sign(&path, &usdt(frame())).unwrap_err();
        assert!(matches!(error, DeviceError::Apdu(ApduError::Signature(_))), "{error}");
        for (status, word) in [
            ([0x6a, 0x8b], "data"),
            ([0x6a, 0x8c], "contracts"),
            ([0x6a, 0x8d], "hash"),
            ([0x55, 0x15], "locked"),
            ([0x6d, 0x00], "not open"),
            ([0x12, 0x34], "1234"),
        ] {
            assert!(apdu::data(&status).unwrap_err().to_string().contains(word));
        }
        assert!(apdu::data(&[0x90]).is_err());
        assert!(apdu::read_public_key(&[65, 4, 0x90, 0]).is_err());
        assert!(apdu::read_configuration(&[1, 0x90, 0]).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_before_the_device_is_asked() {
        assert!(matches!(apdu::sign("m/x", &[]), Err(ApduError::Path(_))));
        assert!(parse_path("m/44'/195'/0'/0/0").is_ok());
        let path = account_path(0, 0);
        let long = usdt(Frame { memo: vec![0; 300], ..frame() });
        assert!(matches!(apdu::sign(&path, &long.bytes), Err(ApduError::Field(_))));
        assert!(matches!(apdu::sign(&path, &[0; 5_000]), Err(ApduError::TooLong(_))));
        assert!(apdu::sign(&path, &[0x0a, 0x7f, 1]).is_err(), "a field beyond the end");
        assert!(apdu::sign(&path, &[0x0d, 1, 2, 3, 4]).is_err(), "a form transactions lack");
    }
}
