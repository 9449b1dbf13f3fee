//! Transactions that several keys sign: what each party sees, adds and passes on, as a file or as a
//! QR code, until the weight is enough.
//!
//! A proposal is the transaction itself with the signatures it has so far, so that what is signed
//! and what is sent are the same bytes. Nothing in it is secret.

use qrcode::{EcLevel, QrCode};
use tron_protobuf::{
    AccountPermissionUpdateContract, ContractMessage, Message, Transaction, TransferContract,
    TriggerSmartContract,
};

use super::proposing::approved;
use crate::client::HttpNode;
use crate::client::answers::{PermissionSet, SignWeight};
use crate::node::NodeError;
use crate::tron::key::PrivateKey;
use crate::tron::permission::{self, PermissionError};
use crate::tron::signature::{Signature, SignatureError};
use crate::tron::transaction::{TransactionError, Unsigned};
use crate::tron::{Address, Sun, Usdt, abi, hex, json, sha256};

/// What a proposal's text begins with; all of it is in the alphabet QR codes hold most of.
pub const PREFIX: &str = "LUCID-TRX1:";
/// Longest text of a proposal, in characters: what one QR code holds.
pub const TEXT_CHARS_MAX: usize = 4_000;
/// Most signatures, as of the network.
pub const SIGNATURES_MAX: usize = permission::MAX_KEYS;
/// Bytes of the check at a text's end.
const CHECK: usize = 4;

/// Why something is no proposal, or a signature does not belong to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultisigError {
    /// Not the form.
    #[error("a proposal begins with {PREFIX} and has at most {TEXT_CHARS_MAX} characters")]
    Form,
    /// Cut off or mistyped.
    #[error("the proposal is damaged: its check does not fit")]
    Check,
    /// The transaction in it is none.
    #[error("the proposal's transaction is refused")]
    Transaction(#[from] TransactionError),
    /// A signature in it is none.
    #[error("the proposal's signature is refused")]
    Signature(#[from] SignatureError),
    /// More than the network takes.
    #[error("{0} signatures; a permission has at most {SIGNATURES_MAX} keys")]
    Signatures(usize),
    /// Of another transaction.
    #[error("the other proposal is of another transaction")]
    Other,
    /// Somebody who may not sign.
    #[error("{0} has no key in permission {1}")]
    Stranger(Address, i32),
    /// The account has no such permission, or it may not do this.
    #[error("permission {id} of the account does not allow {what}")]
    Permission {
        /// The permission.
        id: i32,
        /// The contract.
        what: &'static str,
    },
    /// It does not fit a QR code.
    #[error("the proposal is too long for a QR code; pass it on as a file")]
    Qr,
    /// The new permission is refused.
    #[error(transparent)]
    New(#[from] PermissionError),
}

/// A transaction and the signatures it has so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What is signed.
    pub unsigned: Unsigned,
    signatures: Vec<(Address, Signature)>,
}

/// How far a proposal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// Who has signed, and with what weight.
    pub signed: Vec<(Address, u64)>,
    /// Sum of the weights.
    pub weight: u64,
    /// The weight it needs.
    pub threshold: u64,
    /// Who may sign yet.
    pub missing: Vec<Address>,
}

impl Weight {
    /// Whether it can be sent.
    pub fn is_enough(&self) -> bool {
        self.weight >= self.threshold
    }
}

impl Proposal {
    /// A transaction nobody has signed yet.
    pub fn new(unsigned: Unsigned) -> Self {
        Self { unsigned, signatures: Vec::new() }
    }

    /// Signs with a key. Signing twice with one key changes nothing.
    pub fn sign(&mut self, key: &PrivateKey) {
        self.put(key.address(), key.sign(&self.unsigned.txid));
    }

    /// Adds a signature made elsewhere, on a hardware wallet for instance; gives who made it.
    ///
    /// # Errors
    /// When it is none, or more than the network takes.
    pub fn add(&mut self, signature: &[u8]) -> Result<Address, MultisigError> {
        let signature = Signature::from_bytes(signature)?;
        let signer = signature.recover(&self.unsigned.txid)?;
        self.put(signer, signature);
        match self.signatures.len() {
            count if count > SIGNATURES_MAX => Err(MultisigError::Signatures(count)),
            _ => Ok(signer),
        }
    }

    fn put(&mut self, signer: Address, signature: Signature) {
        if !self.signatures.iter().any(|(known, _)| *known == signer) {
            self.signatures.push((signer, signature));
        }
    }

    /// Takes over the signatures of the same transaction from another party.
    ///
    /// # Errors
    /// When it is another transaction.
    pub fn merge(&mut self, other: &Self) -> Result<(), MultisigError> {
        if other.unsigned.bytes != self.unsigned.bytes {
            return Err(MultisigError::Other);
        }
        for (signer, signature) in &other.signatures {
            self.put(*signer, *signature);
        }
        Ok(())
    }

    /// Who has signed.
    pub fn signers(&self) -> impl Iterator<Item = Address> {
        self.signatures.iter().map(|(signer, _)| *signer)
    }

    /// The signatures as they are sent.
    pub fn signatures(&self) -> Vec<Vec<u8>> {
        self.signatures.iter().map(|(_, signature)| signature.to_bytes().to_vec()).collect()
    }

    /// The permission that must sign.
    ///
    /// # Errors
    /// When the transaction has not exactly one contract.
    pub fn permission_id(&self) -> Result<i32, MultisigError> {
        Ok(self.unsigned.contract()?.permission_id)
    }

    /// The signatures against a permission of the account, as a node showed it.
    ///
    /// # Errors
    /// When the permission is another one or may not do this, or somebody signed who may not.
    pub fn weigh(&self, permission: &PermissionSet) -> Result<Weight, MultisigError> {
        let contract = self.unsigned.contract()?;
        let what = tron_protobuf::contract_name(contract.r#type).unwrap_or("this contract");
        if permission.id != contract.permission_id || !permission.allows(contract.r#type) {
            return Err(MultisigError::Permission { id: contract.permission_id, what });
        }
        let mut signed = Vec::new();
        for signer in self.signers() {
            match permission.weight(signer) {
                0 => return Err(MultisigError::Stranger(signer, permission.id)),
                weight => signed.push((signer, weight)),
            }
        }
        let has = |address: Address| signed.iter().any(|(signer, _)| *signer == address);
        let missing = permission.signers.iter().map(|signer| signer.address);
        Ok(Weight {
            weight: signed.iter().fold(0, |sum: u64, (_, weight)| sum.saturating_add(*weight)),
            threshold: permission.threshold,
            missing: missing.filter(|address| !has(*address)).collect(),
            signed,
        })
    }

    /// What the node says of the signatures.
    ///
    /// # Errors
    /// When it does not answer, or the contract is of a type that is not read here.
    pub async fn ask_node(&self, node: &HttpNode) -> Result<SignWeight, NodeError> {
        let shown = json::raw_data(&self.unsigned)
            .ok()
            .flatten()
            .ok_or_else(|| NodeError::Refused("this type of contract is not read here".into()))?;
        node.sign_weight(&shown, &hex::encode(&self.unsigned.bytes), &self.signatures()).await
    }

    /// What a party signs, in words: who pays whom how much, or the contract's name.
    pub fn describe(&self) -> String {
        let unsigned = &self.unsigned;
        let owner = unsigned.owner().map_or_else(|| "?".to_owned(), |owner| owner.to_string());
        let what = self.action().unwrap_or_else(|| {
            let number = unsigned.contract().map_or(-1, |contract| contract.r#type);
            let name = tron_protobuf::contract_name(number).unwrap_or("unknown contract");
            format!("{name}, whose fields are not shown here")
        });
        let limit = u64::try_from(unsigned.raw.fee_limit).ok();
        let limit = limit.and_then(|units| Sun::from_units(units).ok()).unwrap_or(Sun::MAX);
        let end = unsigned.raw.expiration;
        format!("{owner}: {what}; energy for at most {limit} TRX; valid until {end} ms since 1970")
    }

    fn action(&self) -> Option<String> {
        let unsigned = &self.unsigned;
        match unsigned.contract().ok()?.r#type {
            TransferContract::NUMBER => {
                let pay: TransferContract = unsigned.message().ok()?;
                let to = Address::from_bytes(&pay.to_address).ok()?;
                let amount = Sun::from_units(u64::try_from(pay.amount).ok()?).ok()?;
                Some(format!("{amount} TRX to {to}"))
            }
            TriggerSmartContract::NUMBER => {
                let call: TriggerSmartContract = unsigned.message().ok()?;
                let contract = Address::from_bytes(&call.contract_address).ok()?;
                let plain = call.call_value == 0 && call.call_token_value == 0;
                let paid = token_transfer(&call.data).filter(|_| plain);
                Some(match paid {
                    Some((to, amount)) => format!("{amount} of token {contract} to {to}"),
                    None if plain && approved(&call.data).is_some() => {
                        let (spender, amount) = approved(&call.data)?;
                        match amount {
                            Usdt::ZERO => {
                                format!("lets {spender} take no more of token {contract}")
                            }
                            _ => format!("lets {spender} take {amount} of token {contract} in all"),
                        }
                    }
                    None => {
                        let data = hex::encode(&call.data);
                        format!("calls {contract} with {data} and {} sun", call.call_value)
                    }
                })
            }
            // Every field, as nodes show it.
            _ => {
                let shown = json::raw_data(unsigned).ok()??;
                Some(shown.pointer("/contract/0")?.to_string())
            }
        }
    }

    /// The proposal as text, for a file or a QR code.
    pub fn to_text(&self) -> String {
        let mut bytes = self.unsigned.signed(self.signatures());
        let check = sha256(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        format!("{PREFIX}{}", hex::encode(&bytes).to_uppercase())
    }

    /// Reads what [`Proposal::to_text`] wrote; every signature is checked to be one.
    ///
    /// # Errors
    /// [`MultisigError`].
    pub fn from_text(text: &str) -> Result<Self, MultisigError> {
        let text = text.trim();
        let hex = text.strip_prefix(PREFIX).ok_or(MultisigError::Form)?;
        if text.len() > TEXT_CHARS_MAX {
            return Err(MultisigError::Form);
        }
        let bytes = hex::decode(hex).map_err(|_| MultisigError::Check)?;
        let (bytes, check) = bytes.split_last_chunk::<CHECK>().ok_or(MultisigError::Check)?;
        if sha256(bytes)[..CHECK] != check[..] {
            return Err(MultisigError::Check);
        }
        let transaction = Transaction::decode(bytes).map_err(TransactionError::Decode)?;
        let raw = transaction.raw_data.ok_or(TransactionError::Contracts(0))?;
        let mut proposal = Self::new(Unsigned::from_bytes(&raw.encode_to_vec())?);
        if transaction.signature.len() > SIGNATURES_MAX {
            return Err(MultisigError::Signatures(transaction.signature.len()));
        }
        for signature in &transaction.signature {
            proposal.add(signature)?;
        }
        match proposal.unsigned.signed(proposal.signatures()) == bytes {
            true => Ok(proposal),
            false => Err(TransactionError::NotCanonical.into()),
        }
    }

    /// The text as a QR code: its side in modules and whether each, row by row, is dark.
    ///
    /// # Errors
    /// When it is too long.
    pub fn to_modules(&self) -> Result<(usize, Vec<bool>), MultisigError> {
        let code = QrCode::with_error_correction_level(self.to_text(), EcLevel::L);
        let code = code.map_err(|_| MultisigError::Qr)?;
        let dark = |color| color == qrcode::Color::Dark;
        Ok((code.width(), code.to_colors().into_iter().map(dark).collect()))
    }

    /// The text as a QR code to show, in half blocks of text with a quiet zone, dark on light.
    ///
    /// # Errors
    /// When it is too long.
    pub fn to_qr(&self) -> Result<String, MultisigError> {
        let code = QrCode::with_error_correction_level(self.to_text(), EcLevel::L);
        let code = code.map_err(|_| MultisigError::Qr)?;
        Ok(code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build())
    }
}

/// Payee and amount, when the data is exactly a TRC-20 transfer.
fn token_transfer(data: &[u8]) -> Option<(Address, Usdt)> {
    let arguments = data.strip_prefix(&abi::selector("transfer(address,uint256)"))?;
    let (to, amount) = <&[u8; 64]>::try_from(arguments).ok()?.split_at(32);
    let to = Address::from_evm(to.get(12..)?.try_into().ok()?);
    let amount = Usdt::from_units(u64::from_be_bytes(amount.get(24..)?.try_into().ok()?)).ok()?;
    // Whatever does not fit is not shown as something else.
    (abi::transfer(&to, amount.units()) == data).then_some((to, amount))
}

/// Contract types a paying account needs: TRX, votes, rewards, contract calls, Staking 2.0.
const PAYING: &[u64] = &[1, 4, 13, 31, 54, 55, 56, 57, 58, 59];

/// Puts an account under several keys: `threshold` of them for everything, changes of permissions
/// included. The key its address came from is out, unless it is among them. It costs 100 TRX.
///
/// # Errors
/// When the keys or the threshold are refused.
pub fn share_account(
    account: Address,
    keys: &[Address],
    threshold: i64,
) -> Result<AccountPermissionUpdateContract, MultisigError> {
    let owner = permission::owner(keys, threshold)?;
    let active = permission::active("payments", keys, threshold, PAYING)?;
    Ok(permission::update(account, owner, vec![active]))
}
