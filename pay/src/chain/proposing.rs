//! Making transactions that several sign or somebody elsewhere, weighing what they have, and
//! sending them. The command line and the gateway both do it by this.

use std::time::Duration;

use tron_protobuf::{TransferContract, TriggerSmartContract};

use super::known;
use super::multisig::{self, MultisigError, Proposal, Weight};
use super::sending::{self, SendError};
use crate::client::answers::{Account, SignWeight};
use crate::client::{HttpNode, Nodes};
use crate::node::{Answer, NodeError, TronNode as _};
use crate::payout::types::TxId;
use crate::tron::abi::AbiError;
use crate::tron::transaction::{TransactionError, Unsigned};
use crate::tron::{Address, AmountError, Sun, Usdt, abi};

/// Why nothing was proposed, weighed or sent.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No node answers, or one refuses.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What surrounds the transaction cannot be had.
    #[error(transparent)]
    Frame(#[from] SendError),
    /// It cannot be built.
    #[error("the transaction cannot be built")]
    Build(#[from] TransactionError),
    /// The call cannot be written.
    #[error("the call cannot be written")]
    Call(#[from] AbiError),
    /// The fee limit is none.
    #[error("the fee limit")]
    FeeLimit(#[from] AmountError),
    /// Keys, threshold or signatures do not fit.
    #[error(transparent)]
    Multisig(#[from] MultisigError),
    /// Nothing is paid or allowed by nothing.
    #[error("the amount is 0; more than 0 is right")]
    Nothing,
    /// What is sent there is lost.
    #[error("{to} may not be paid: {why}")]
    Lost {
        /// The payee.
        to: Address,
        /// Why not.
        why: &'static str,
    },
    /// The call was tried on a node, and fails.
    #[error("it would fail: {0}")]
    Fails(String),
    /// The transaction names no account.
    #[error("the proposal names no account")]
    NoAccount,
    /// The chain does not know the account.
    #[error("{0} is no account on this chain yet")]
    Inactive(Address),
    /// The account has no such permission.
    #[error("account {0} has no permission {1}")]
    NoPermission(Address, i32),
    /// Too few have signed.
    #[error("weight {weight} of {threshold}; more must sign")]
    TooLight {
        /// What the signatures weigh.
        weight: u64,
        /// What is needed.
        threshold: u64,
    },
    /// Every node refused it.
    #[error("no node took it: {0}")]
    NotTaken(String),
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// USDT to somebody.
    PayUsdt {
        /// Who gets it.
        to: Address,
        /// How much.
        amount: Usdt,
    },
    /// TRX to somebody.
    PayTrx {
        /// Who gets it.
        to: Address,
        /// How much.
        amount: Sun,
    },
    /// How much USDT somebody else may take.
    Allow {
        /// Who may take it.
        spender: Address,
        /// How much in all; 0 ends it.
        amount: Usdt,
    },
    /// The account gets several keys.
    Share {
        /// Their addresses.
        keys: Vec<Address>,
        /// How many of them must sign.
        threshold: i64,
    },
}

/// The calldata that lets `spender` take `amount`.
///
/// # Errors
/// When it cannot be written, which is a mistake in this program.
pub fn approve(spender: Address, amount: Usdt) -> Result<Vec<u8>, AbiError> {
    let (spender, amount) = (spender.to_string(), amount.units().to_string());
    abi::call("approve(address,uint256)", &[&spender, &amount])
}

/// Whom a calldata allows to take how much, if it is exactly an approval.
pub fn approved(data: &[u8]) -> Option<(Address, Usdt)> {
    let arguments = data.strip_prefix(&abi::selector("approve(address,uint256)"))?;
    let (spender, amount) = <&[u8; 64]>::try_from(arguments).ok()?.split_at(32);
    let spender = Address::from_evm(spender.get(12..)?.try_into().ok()?);
    let amount = Usdt::from_units(u64::from_be_bytes(amount.get(24..)?.try_into().ok()?)).ok()?;
    (approve(spender, amount).ok()? == data).then_some((spender, amount))
}

/// A call of the token, and the energy limit a node estimates for it.
///
/// # Errors
/// When no node answers, or the call would fail.
pub async fn token_call(
    nodes: &Nodes,
    owner: Address,
    token: Address,
    data: Vec<u8>,
) -> Result<(TriggerSmartContract, Sun), ProposeError> {
    let asked = &data;
    let limit =
        nodes.read(|node: HttpNode| async move { node.fee_limit(owner, token, asked, 0).await });
    let limit = Sun::from_units(limit.await?.map_err(ProposeError::Fails)?)?;
    let contract = TriggerSmartContract {
        owner_address: owner.to_bytes().to_vec(),
        contract_address: token.to_bytes().to_vec(),
        data,
        ..TriggerSmartContract::default()
    };
    Ok((contract, limit))
}

/// A transaction of `owner`'s that nobody has signed yet. It lives for 23 hours, because several
/// must sign it, or one far away.
///
/// # Errors
/// [`ProposeError`].
pub async fn propose(
    nodes: &Nodes,
    token: Address,
    owner: Address,
    permission: i32,
    action: &Action,
    now_ms: u64,
) -> Result<Proposal, ProposeError> {
    let frame = async |limit: Sun| {
        let (mut frame, _) = sending::frame(nodes, now_ms, 0, limit, permission.max(1)).await?;
        frame.permission_id = permission;
        Ok::<_, ProposeError>(frame)
    };
    let payable = |to: Address| match known::refusal(to) {
        Some(why) => Err(ProposeError::Lost { to, why }),
        None => Ok(to),
    };
    let unsigned = match action {
        Action::PayUsdt { amount: Usdt::ZERO, .. } | Action::PayTrx { amount: Sun::ZERO, .. } => {
            return Err(ProposeError::Nothing);
        }
        Action::PayUsdt { to, amount } => {
            let data = abi::transfer(&payable(*to)?, amount.units());
            let (contract, limit) = token_call(nodes, owner, token, data).await?;
            Unsigned::build(&contract, frame(limit).await?)?
        }
        Action::Allow { spender, amount } => {
            let data = approve(*spender, *amount)?;
            let (contract, limit) = token_call(nodes, owner, token, data).await?;
            Unsigned::build(&contract, frame(limit).await?)?
        }
        Action::PayTrx { to, amount } => {
            let contract = TransferContract {
                owner_address: owner.to_bytes().to_vec(),
                to_address: payable(*to)?.to_bytes().to_vec(),
                amount: amount.wire(),
            };
            Unsigned::build(&contract, frame(Sun::ZERO).await?)?
        }
        Action::Share { keys, threshold } => {
            let contract = multisig::share_account(owner, keys, *threshold)?;
            Unsigned::build(&contract, frame(Sun::ZERO).await?)?
        }
    };
    Ok(Proposal::new(unsigned))
}

/// An account as the newest block has it.
///
/// # Errors
/// When no node answers or the chain does not know it.
pub async fn account(nodes: &Nodes, owner: Address) -> Result<Account, ProposeError> {
    let found = nodes.read(move |node: HttpNode| async move { node.account(owner, false).await });
    found.await?.ok_or(ProposeError::Inactive(owner))
}

/// Who has signed by the account's permission, and what the node makes of it (`getsignweight`).
///
/// # Errors
/// When no node answers, the permission is none, or somebody signed who may not.
pub async fn weigh(
    nodes: &Nodes,
    proposal: &Proposal,
) -> Result<(Weight, SignWeight), ProposeError> {
    let owner = proposal.unsigned.owner().ok_or(ProposeError::NoAccount)?;
    let id = proposal.permission_id()?;
    let account = account(nodes, owner).await?;
    let permission = account.permission(id).ok_or(ProposeError::NoPermission(owner, id))?;
    let weight = proposal.weigh(permission)?;
    let said = nodes.read(|node: HttpNode| async move { proposal.ask_node(&node).await }).await?;
    Ok((weight, said))
}

/// Where a transaction stands on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No block holds it.
    Nowhere,
    /// A block that may still be replaced.
    Seen(u64),
    /// Final, and it did what it says.
    Confirmed(u64),
    /// Final, and it did not.
    Failed(String),
}

impl Standing {
    /// The state's word, as payouts have it; a transaction in no block is `broadcast` once sent.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nowhere => "broadcast",
            Self::Seen(_) => "seen",
            Self::Confirmed(_) => "confirmed",
            Self::Failed(_) => "failed",
        }
    }

    /// The same as a sentence.
    pub fn detail(&self) -> String {
        match self {
            Self::Nowhere => "no block holds it yet".to_owned(),
            Self::Seen(block) => format!("in block {block}, not yet solid"),
            Self::Confirmed(block) => format!("solidified in block {block}"),
            Self::Failed(result) => format!("it ended with {result}"),
        }
    }
}

/// Asks the nodes where a transaction stands.
///
/// # Errors
/// When none answers.
pub async fn standing(nodes: &Nodes, txid: TxId) -> Result<Standing, NodeError> {
    let ended = |node: HttpNode| async move { node.executed(txid, true).await };
    if let Some(found) = nodes.read(ended).await? {
        return Ok(match found.worked {
            true => Standing::Confirmed(found.receipt.block),
            false => Standing::Failed(found.receipt.result),
        });
    }
    let seen = nodes.read(move |node: HttpNode| async move { node.sighted(txid).await }).await?;
    Ok(seen.map_or(Standing::Nowhere, Standing::Seen))
}

/// Sends a proposal that enough have signed, and waits a while for a block. Sent again it is the
/// same bytes, and what is on the chain is only told.
///
/// # Errors
/// When too few have signed, or no node takes it.
pub async fn send(
    nodes: &Nodes,
    proposal: &Proposal,
    patience: Duration,
    pause: Duration,
) -> Result<Standing, ProposeError> {
    let txid = TxId(proposal.unsigned.txid);
    // It may have been sent before: what is on the chain is not asked to be signed.
    let mut standing = self::standing(nodes, txid).await?;
    if standing == Standing::Nowhere {
        let (weight, said) = weigh(nodes, proposal).await?;
        if !weight.is_enough() {
            let Weight { weight, threshold, .. } = weight;
            return Err(ProposeError::TooLight { weight, threshold });
        }
        let signed = proposal.unsigned.signed(proposal.signatures());
        let (mut taken, mut why) = (false, "no node is configured".to_owned());
        for node in nodes.all() {
            match node.broadcast(&signed).await {
                Ok(Answer::Accepted | Answer::Duplicate) => taken = true,
                Ok(Answer::Refused(said) | Answer::Unclear(said)) => why = said,
                Err(error) => why = error.to_string(),
            }
        }
        if !taken {
            let said = said.missing.map(|said| format!("; {said}")).unwrap_or_default();
            return Err(ProposeError::NotTaken(format!("{why}{said}")));
        }
    }
    let deadline = tokio::time::Instant::now() + patience;
    while standing == Standing::Nowhere && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        // A node that does not answer now may answer later; it is sent already.
        standing = self::standing(nodes, txid).await.unwrap_or(Standing::Nowhere);
    }
    Ok(standing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_read_back_and_nothing_else_is_one() {
        let spender = Address::from_evm([7; 20]);
        let amount = Usdt::whole(12);
        let data = approve(spender, amount).unwrap();
        assert_eq!(approved(&data), Some((spender, amount)));
        assert_eq!(approved(&abi::transfer(&spender, 12)), None);
        assert_eq!(approved(&data[..67]), None);
        let mut unlimited = data.clone();
        unlimited[36..].fill(0xff);
        assert_eq!(approved(&unlimited), None, "more than an amount can be");
        let mut dirty = data;
        dirty[5] = 1;
        assert_eq!(approved(&dirty), None, "an address with more than 20 bytes");
    }
}
