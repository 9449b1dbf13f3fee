//! The desk behind the gateway: what changes anything goes to the [`Payer`], what is only asked of
//! nodes or wallets is answered here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_pay_api as api;
use lucid_pay_api::{MicroUsdt, Problem};
use tokio::sync::{mpsc, oneshot};

use super::ledger as ledger_device;
use super::payer::{Payer, Stop, Task};
use super::{allowances, convert, estimate, now_ms, pages, proposals, requests, stake, why};
use crate::client::{HttpNode, Nodes, Watch};
use crate::config::Config;
use crate::gateway::{Answer, Desk};
use crate::ledger::{self, Account, Month};
use crate::node::NodeError;
use crate::payout::driver::DriverError;
use crate::payout::event::Event;
use crate::payout::types::PayoutId;
use crate::tron::{Address, abi};
use crate::wallet::WordCount;
use crate::wallet::{Keyring, Kind, Name, OsRandom, Wallet, WalletError, WalletId, Wallets};

/// How often a busy wallet directory is tried, and how long between.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What an office is made of.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// The nodes.
    pub nodes: Nodes,
    /// The token that is paid.
    pub token: Address,
    /// The paying wallet.
    pub paying: Wallet,
    /// Why it cannot sign, if it cannot.
    pub cannot_sign: Option<String>,
    /// What opens the wallets.
    pub keyring: Keyring,
    /// To the payer.
    pub tasks: mpsc::Sender<Task>,
    /// Set when it is time to stop.
    pub stop: Stop,
}

/// The desk.
#[derive(Clone)]
pub struct Office(Arc<Inner>);

pub(super) struct Inner {
    pub(super) setup: Setup,
    watch: Mutex<Option<Watch>>,
}

fn gone() -> Problem {
    Problem::new(503, "draining", "the payment process is ending; ask again when it is back")
}

/// A problem of the nodes.
pub(super) fn no_node(error: &NodeError) -> Problem {
    let (status, code) = match error {
        NodeError::Refused(_) => (422, "node-refused"),
        NodeError::Unreachable(_) | NodeError::Malformed(_) => (503, "no-node"),
    };
    Problem::new(status, code, error.to_string())
}

/// A problem of the wallets.
pub(super) fn wallet_problem(error: &WalletError) -> Problem {
    let (status, code) = match error {
        WalletError::Unknown(_) => (404, "not-found"),
        WalletError::NameTaken(_) | WalletError::AddressTaken { .. } => (409, "wallet-exists"),
        WalletError::Record(_) => (422, "invalid-wallet"),
        WalletError::WatchOnly(_) | WalletError::Archived(_) => (409, "cannot-sign"),
        WalletError::Busy(_) => (503, "wallets-busy"),
        _ => (500, "wallets"),
    };
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    Problem::new(status, code, detail)
}

/// A problem of the payer.
pub(super) fn driver_problem(error: &DriverError) -> Problem {
    match error {
        DriverError::Refused(refusal) => convert::refusal(refusal),
        DriverError::Journal(error) => Problem::new(503, "journal", error.to_string()),
    }
}

impl Office {
    /// An office over its parts.
    pub fn new(setup: Setup) -> Self {
        Self(Arc::new(Inner { setup, watch: Mutex::default() }))
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.0.setup
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &Nodes {
        &self.0.setup.nodes
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Config {
        &self.0.setup.config
    }

    fn watched(&self) -> MutexGuard<'_, Option<Watch>> {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the payer something to do and waits for the answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Payer) -> T + Send + 'static,
    ) -> Answer<T> {
        let (answer, answered) = oneshot::channel();
        let task: Task = Box::new(move |payer| {
            // Nobody waits any more: what was asked has happened all the same.
            let _ = answer.send(what(payer));
        });
        self.setup().tasks.send(task).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    /// Does something with the wallets, when no command has them.
    pub(super) async fn wallets_do<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Wallets) -> Result<T, WalletError> + Send + 'static,
    ) -> Answer<T> {
        let keyring = self.setup().keyring.clone();
        let mut tries = 0;
        let wallets = loop {
            match keyring.open() {
                Err(WalletError::Busy(_)) if tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                opened => break opened.map_err(|error| wallet_problem(&error))?,
            }
        };
        let done = tokio::task::spawn_blocking(move || what(&wallets)).await;
        done.map_err(|_| Problem::new(500, "internal", "the wallets cannot be used"))?
            .map_err(|error| wallet_problem(&error))
    }

    /// Who has a wallet's key.
    pub(super) fn kind(&self, wallet: &Wallet) -> api::WalletKind {
        match wallet.kind {
            Kind::WatchOnly => api::WalletKind::WatchOnly,
            Kind::Ledger => api::WalletKind::Hardware,
            Kind::Words | Kind::Key => api::WalletKind::Hot,
        }
    }

    fn shown(&self, wallet: &Wallet) -> api::Wallet {
        let setup = self.setup();
        let pays = wallet.id == setup.paying.id;
        let cannot_sign_because = match wallet.kind {
            _ if wallet.archived => Some("it is archived".to_owned()),
            Kind::WatchOnly => Some("it is watch-only: its key is elsewhere".to_owned()),
            Kind::Ledger => Some("a Ledger has its key: it signs proposals there".to_owned()),
            _ if pays => setup.cannot_sign.clone(),
            _ => None,
        };
        api::Wallet {
            id: wallet.id.to_string(),
            name: wallet.name.to_string(),
            kind: self.kind(wallet),
            address: wallet.address.to_string(),
            created_ms: wallet.created_s.saturating_mul(1000),
            archived: wallet.archived,
            cannot_sign_because,
            pays,
        }
    }

    /// The wallet with an id or a name.
    pub(super) async fn wallet(&self, wanted: String) -> Answer<Wallet> {
        let listing = self.wallets_do(Wallets::list).await?;
        let named =
            |wallet: &Wallet| wallet.id.to_string() == wanted || wallet.name.as_str() == wanted;
        let detail = || Problem::new(404, "not-found", format!("there is no wallet {wanted:?}"));
        listing.wallets.into_iter().find(|wallet| named(wallet)).ok_or_else(detail)
    }

    /// Checks a request against what only the process knows: which wallet pays.
    pub(super) fn fits(&self, asked: &api::PayoutRequest) -> Result<(), Problem> {
        let paying = &self.setup().paying;
        match &asked.wallet {
            Some(wallet) if *wallet != paying.id.to_string() && wallet != paying.name.as_str() => {
                let detail = format!(
                    "wallet: payouts are paid from {:?}; leave it out or change `wallet.pays`",
                    paying.name.as_str()
                );
                Err(convert::unfit("wallet-does-not-pay", detail))
            }
            _ => Ok(()),
        }
    }

    /// Looks at the nodes and the token every so often, until it is time to stop.
    pub async fn watch_nodes(self) {
        let mut stop = self.setup().stop.clone();
        let pause = self.setup().config.poll.max(Duration::from_secs(1));
        let mut token_known = false;
        loop {
            if !token_known {
                token_known = self.check_token().await;
            }
            let watch = self.setup().nodes.watch(now_ms()).await;
            for disagreement in &watch.disagreements {
                tracing::warn!(about = %disagreement.about, said = ?disagreement.said,
                    "nodes disagree");
            }
            *self.watched() = Some(watch);
            // The first look is taken soon again, so that a start is not blind for long.
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(if token_known { pause } else { pause / 2 }) => {}
            }
        }
    }

    /// The token must count in millionths, as every amount here does.
    async fn check_token(&self) -> bool {
        let (token, account) = (self.setup().token, self.setup().paying.address);
        let data = abi::selector("decimals()");
        let decimals = self
            .setup()
            .nodes
            .read(|node: HttpNode| async move { node.view(account, token, &data, false).await });
        let barred = match decimals.await {
            Ok(word) if word.len() == 32 && word[..31] == [0; 31] && word[31] == 6 => None,
            Ok(_) => Some(format!("{token} has not 6 decimals: it is not USDT")),
            Err(NodeError::Unreachable(_)) => {
                return self.bar(Some("no node has shown the token yet".to_owned())).await;
            }
            Err(error) => Some(format!("{token} does not answer as a token: {error}")),
        };
        if let Some(why) = &barred {
            tracing::error!(why, "nothing is signed");
        }
        let known = barred.is_none();
        self.bar(barred).await;
        known
    }

    async fn bar(&self, why: Option<String>) -> bool {
        // When the payer is gone there is nothing left to bar.
        let _ = self.ask(move |payer| payer.barred = why).await;
        false
    }
}

impl Desk for Office {
    async fn status(&self) -> Answer<api::Status> {
        let setup = self.setup();
        let watch = self.watched().clone();
        let nodes = watch.map(|watch| watch.nodes).unwrap_or_default();
        let healthy = nodes.iter().any(|node| node.state == api::NodeState::Healthy);
        let draining = *setup.stop.borrow();
        let (network, test_money) = (setup.config.network, setup.config.network.test_money());
        let locked = setup.cannot_sign.clone();
        self.ask(move |payer| {
            let book = &payer.driver.engine.book;
            let open =
                book.payouts.values().filter(|payout| !convert::state(payout.state()).is_final());
            let (mut open_payouts, mut open_micro, mut awaiting_approval) = (0, 0, 0);
            for payout in open {
                open_payouts += 1;
                open_micro += payout.request.amount.units();
                awaiting_approval += u64::from(payout.second && payout.approved_by.is_none());
            }
            let paid = payer
                .driver
                .ledger
                .rows()
                .iter()
                .filter(|row| (row.debit, row.credit) == (Account::UnderWay, Account::Wallet));
            let trouble = payer.trouble.clone().or_else(|| payer.barred.clone());
            let (state, trouble) = match trouble.or(locked) {
                _ if draining => (api::ProcessState::Draining, None),
                _ if !healthy => (api::ProcessState::NoNode, Some("no node is healthy".to_owned())),
                Some(why) => (api::ProcessState::Stopped, Some(why)),
                None => (api::ProcessState::Ready, None),
            };
            api::Status {
                state,
                trouble,
                network: network.name().to_owned(),
                test_money,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                nodes,
                open_payouts,
                awaiting_approval,
                open_micro: MicroUsdt(open_micro),
                paid_micro: MicroUsdt(paid.map(|row| row.amount).sum()),
                now_ms: now_ms(),
            }
        })
        .await
    }

    async fn wallets(&self) -> Answer<Vec<api::Wallet>> {
        let listing = self.wallets_do(Wallets::list).await?;
        for error in &listing.damaged {
            tracing::error!(error = %wallet_problem(error).detail, "a wallet does not open");
        }
        Ok(listing.wallets.iter().map(|wallet| self.shown(wallet)).collect())
    }

    async fn create_wallet(&self, new: api::NewWallet) -> Answer<api::Wallet> {
        let unfit = |error: crate::wallet::record::RecordError| {
            convert::unfit("invalid-name", error.to_string())
        };
        let name: Name = new.name.parse().map_err(unfit)?;
        let made = match (new.kind, new.address) {
            (api::WalletKind::Hot, None) => {
                self.wallets_do(move |wallets| {
                    let now_s = now_ms() / 1000;
                    wallets.create_wallet(name, WordCount::TwentyFour, now_s, &mut OsRandom)
                })
                .await?
            }
            (api::WalletKind::WatchOnly, Some(text)) => {
                let address = convert::address("address", &text)?;
                self.wallets_do(move |wallets| {
                    wallets.watch(name, address, now_ms() / 1000, &mut OsRandom)
                })
                .await?
            }
            (api::WalletKind::Hot, Some(_)) => {
                let detail = "address: a hot wallet gets a new one; leave it out";
                return Err(convert::unfit("invalid-wallet", detail));
            }
            (api::WalletKind::WatchOnly, None) => {
                let detail = "address: a watch-only wallet needs one";
                return Err(convert::unfit("invalid-wallet", detail));
            }
            (api::WalletKind::Multisig | api::WalletKind::Hardware, _) => {
                let detail = "kind: such wallets are made on the command line of lucid-pay";
                return Err(convert::unfit("invalid-wallet", detail));
            }
        };
        Ok(self.shown(&made))
    }

    async fn change_wallet(&self, id: String, change: api::WalletChange) -> Answer<api::Wallet> {
        let wallet = self.wallet(id).await?;
        if change.archived == Some(true) && wallet.id == self.setup().paying.id {
            let detail = "payouts are paid from this wallet; name another as `wallet.pays` first";
            return Err(Problem::new(409, "wallet-pays", detail));
        }
        let unfit = |error: crate::wallet::record::RecordError| {
            convert::unfit("invalid-name", error.to_string())
        };
        let name = change.name.map(|name| name.parse::<Name>()).transpose().map_err(unfit)?;
        let id: WalletId = wallet.id;
        let changed = self
            .wallets_do(move |wallets| {
                let mut changed = wallet;
                if let Some(name) = name {
                    changed = wallets.rename(id, name, &mut OsRandom)?;
                }
                if let Some(archived) = change.archived {
                    changed = wallets.set_archived(id, archived, &mut OsRandom)?;
                }
                Ok(changed)
            })
            .await?;
        Ok(self.shown(&changed))
    }

    async fn balance(&self, wallet: String) -> Answer<api::Balance> {
        let wallet = self.wallet(wallet).await?;
        let (address, token) = (wallet.address, self.setup().token);
        let found = self.setup().nodes.read(|node: HttpNode| async move {
            use crate::node::TronNode as _;
            let account = node.account(address, true).await?;
            let resources = node.resources(address).await?;
            let usdt = node.balance(address, token).await?;
            Ok((account, resources, usdt, node.solid().await?))
        });
        let (account, resources, usdt, block) = found.await.map_err(|error| no_node(&error))?;
        let pays = wallet.id == self.setup().paying.id;
        let reserved = self
            .ask(move |payer| {
                let book = &payer.driver.engine.book;
                let waiting = book.waiting.values().filter_map(|id| book.payouts.get(id));
                let waiting: u64 = waiting.map(|payout| payout.request.amount.units()).sum();
                if pays { waiting.saturating_add(book.reserved().units()) } else { 0 }
            })
            .await?;
        let now = now_ms();
        Ok(api::Balance {
            wallet: wallet.id.to_string(),
            active: account.is_some(),
            trx_sun: api::Sun(account.as_ref().map_or(0, |account| account.balance.units())),
            staked_sun: api::Sun(account.as_ref().map_or(0, |account| account.staked().units())),
            usdt_micro: MicroUsdt(usdt.units()),
            reserved_micro: MicroUsdt(reserved),
            energy: api::ResourceMeter {
                limit: resources.energy_limit,
                used: resources.energy_used,
            },
            bandwidth: api::ResourceMeter {
                limit: resources.free_limit.saturating_add(resources.bandwidth_limit),
                used: resources.free_used.saturating_add(resources.bandwidth_used),
            },
            as_of_ms: block.time,
            age_ms: now.saturating_sub(block.time),
            block: block.number,
        })
    }

    async fn history(&self, wallet: String) -> Answer<Vec<api::HistoryEntry>> {
        let wallet = self.wallet(wallet).await?;
        if wallet.id != self.setup().paying.id {
            return Ok(Vec::new());
        }
        self.ask(|payer| pages::history(payer)).await
    }

    async fn signers(&self, wallet: String) -> Answer<api::Signers> {
        proposals::signers(self, wallet).await
    }

    async fn allowances(
        &self,
        wallet: String,
        query: api::AllowanceQuery,
    ) -> Answer<api::Allowances> {
        allowances::shown(self, wallet, query).await
    }

    async fn allow(
        &self,
        wallet: String,
        order: api::AllowanceOrder,
    ) -> Answer<api::StakingReceipt> {
        allowances::allow(self, wallet, order).await
    }

    async fn propose(&self, new: api::NewProposal) -> Answer<api::Proposal> {
        proposals::propose(self, new).await
    }

    async fn show(&self, texts: api::ProposalTexts) -> Answer<api::Proposal> {
        proposals::show(self, texts).await
    }

    async fn sign(&self, with: api::ProposalSignature) -> Answer<api::Proposal> {
        proposals::sign(self, with).await
    }

    async fn send(&self, texts: api::ProposalTexts) -> Answer<api::StakingReceipt> {
        proposals::send(self, texts).await
    }

    async fn ledger(&self) -> Answer<api::LedgerState> {
        let looked = tokio::task::spawn_blocking(ledger_device::look).await;
        looked.map_err(|_| Problem::new(500, "internal", "the Ledger cannot be looked at"))
    }

    async fn estimate(&self, asked: api::PayoutRequest) -> Answer<api::Estimate> {
        estimate::estimate(self, asked).await
    }

    async fn request(&self, asked: api::PayoutRequest) -> Answer<api::Payout> {
        requests::request(self, asked).await
    }

    async fn payouts(&self, query: api::PayoutQuery) -> Answer<api::PayoutPage> {
        let wallet = self.setup().paying.id.to_string();
        self.ask(move |payer| pages::page(&payer.driver.engine.book, &query, &wallet)).await?
    }

    async fn payout(&self, id: String) -> Answer<api::Payout> {
        let (id, wallet) = (convert::payout_id(&id)?, self.setup().paying.id.to_string());
        self.ask(move |payer| {
            let found = pages::find(&payer.driver.engine.book, &id)?;
            Ok(convert::payout(id, found, &wallet, true))
        })
        .await?
    }

    async fn why(&self, id: String) -> Answer<api::Why> {
        let id = convert::payout_id(&id)?;
        self.ask(move |payer| {
            let engine = &payer.driver.engine;
            let found = pages::find(&engine.book, &id)?;
            let barred = payer.trouble.as_deref().or(payer.barred.as_deref());
            Ok(why::why(id, found, &engine.book, &engine.policy, barred, now_ms()))
        })
        .await?
    }

    async fn approve(&self, id: String, by: api::Approval) -> Answer<api::Payout> {
        let payout = convert::payout_id(&id)?;
        self.event(payout, Event::Approve { payout, by: by.by }).await
    }

    async fn refuse(&self, id: String, by: api::Refusal) -> Answer<api::Payout> {
        let payout = convert::payout_id(&id)?;
        self.event(payout, Event::Cancel { payout, by: by.by, cause: by.reason }).await
    }

    async fn retry(&self, id: String, by: api::Approval) -> Answer<api::Payout> {
        let payout = convert::payout_id(&id)?;
        self.event(payout, Event::Retry { payout, by: by.by }).await
    }

    async fn request_batch(&self, asked: api::BatchRequest) -> Answer<api::Batch> {
        requests::batch(self, asked).await
    }

    async fn batches(&self) -> Answer<Vec<api::BatchSummary>> {
        self.ask(|payer| pages::batches(&payer.driver.engine.book)).await
    }

    async fn batch(&self, id: String) -> Answer<api::Batch> {
        let wallet = self.setup().paying.id.to_string();
        self.ask(move |payer| pages::batch_of(&payer.driver.engine.book, &id, &wallet)).await?
    }

    async fn staking(&self, wallet: String) -> Answer<api::Staking> {
        stake::staking(self, wallet).await
    }

    async fn stake(&self, order: api::StakingOrder) -> Answer<api::StakingReceipt> {
        stake::stake(self, order).await
    }

    async fn statement(&self, query: api::StatementQuery) -> Answer<(&'static str, String)> {
        let month: Month = query.month.parse().map_err(|error: ledger::MonthError| {
            convert::unfit("invalid-month", error.to_string())
        })?;
        let payee =
            query.payee.as_deref().map(|text| convert::address("payee", text)).transpose()?;
        let statement = self
            .ask(move |payer| {
                let driver = &payer.driver;
                ledger::Statement::new(&driver.ledger, &driver.engine.book, payee, month)
            })
            .await?;
        Ok(match query.format {
            api::StatementFormat::Csv => ("text/csv; charset=utf-8", statement.csv()),
            api::StatementFormat::Html => ("text/html; charset=utf-8", statement.html()),
            api::StatementFormat::Json => {
                let text = serde_json::to_string(&convert::statement(&statement));
                let failed = |_| Problem::new(500, "internal", "the statement cannot be written");
                ("application/json", text.map_err(failed)?)
            }
        })
    }
}

impl Office {
    /// Carries out a person's word on a payout.
    async fn event(&self, id: PayoutId, event: Event) -> Answer<api::Payout> {
        let wallet = self.setup().paying.id.to_string();
        self.ask(move |payer| {
            let done = payer.driver.accept(event, now_ms());
            done.map_err(|error| driver_problem(&error))?;
            let found = pages::find(&payer.driver.engine.book, &id)?;
            Ok(convert::payout(id, found, &wallet, true))
        })
        .await?
    }
}
