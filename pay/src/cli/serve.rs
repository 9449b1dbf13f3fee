//! `lucid-pay serve`.

use std::sync::Arc;

use anyhow::Context as _;
use lucid_pay::config::{Config, LogFormat, Network, NodeUrl};
use lucid_pay::gateway::{self, Limits};
use lucid_pay::journal::FileMedium;
use lucid_pay::payout::hot::HotWallet;
use lucid_pay::payout::policy::Policy;
use lucid_pay::payout::router::Router;
use lucid_pay::process::data_dir::DataDir;
use lucid_pay::process::{notify, users};
use lucid_pay::service::{Driver, Office, Payer, Setup, Signer, now_ms, watch_receipts};
use lucid_pay::tron::Address;
use lucid_pay::wallet::{Name, OsRandom, Wallet, WalletError, Wallets, WordCount};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::exit::{Exit, coded};
use super::sandbox::{self, Running};
use super::{Context, node, output, wallet};

/// Requests that may wait for the payer.
const TASKS_MAX: usize = 64;

fn log(format: LogFormat) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .with_target(false);
    // Fails when somebody has set one, which nobody does.
    let _ = match format {
        LogFormat::Human => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}

/// The wallet that pays.
fn paying(config: &Config, wallets: &Wallets) -> anyhow::Result<Wallet> {
    if let Some(wanted) = &config.paying_wallet {
        return wallet::find(wallets, wanted);
    }
    let listing = wallets.list()?;
    let mut signing =
        listing.wallets.into_iter().filter(|wallet| !wallet.archived && wallet.kind.signs());
    match (signing.next(), signing.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let text = "no wallet can sign; make one with `lucid-pay wallet create NAME`";
            Err(coded(Exit::Missing, text))
        }
        (Some(_), Some(_)) => {
            let text = "several wallets can sign; name the paying one as `wallet.pays`";
            Err(coded(Exit::Config, text))
        }
    }
}

fn signer(wallets: &Wallets, wallet: &Wallet) -> (Signer, Option<String>) {
    match wallets.signer(wallet.id) {
        Ok(key) => (Signer::Hot(Box::new(HotWallet::new(key))), None),
        Err(error) => {
            let why = error.to_string();
            (Signer::None(why.clone()), Some(why))
        }
    }
}

fn policy(config: &Config, token: Address, account: Address) -> Policy {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Policy {
        minimum: config.minimum,
        maximum: config.maximum,
        daily: config.daily,
        daily_per_payee: config.daily_per_payee,
        accumulate: config.accumulate,
        second_person_above: config.second_person_above,
        fee: config.fee,
        allow: config.allow.iter().copied().collect(),
        deny: config.deny.iter().copied().collect(),
        compliance: config.compliance,
        router: config.router.clone(),
        lifetime: ms(config.lifetime),
        skew: ms(config.clock_skew),
        ..Policy::new(token, account)
    }
}

/// In the sandbox: the simulator, and a first wallet with test money.
fn play(context: &Context, config: &mut Config) -> anyhow::Result<Running> {
    let running = sandbox::start(config)?;
    let simulator = &running.simulator;
    config.nodes = match config.nodes.is_empty() {
        true => vec![NodeUrl { name: "simulator".to_owned(), url: simulator.node.clone() }],
        false => config.nodes.clone(),
    };
    config.token = Some(simulator.token.parse()?);
    if let (None, Some(router)) = (&config.router, &simulator.router) {
        let function = "payout(address,uint256,bytes32)".to_owned();
        config.router = Some(Router { contract: router.parse()?, function });
    }
    let (wallets, _) = wallet::open(context, true)?;
    if wallets.list()?.wallets.is_empty() {
        let name: Name = "sandbox".parse().map_err(WalletError::Record)?;
        let now_s = now_ms() / 1000;
        let made = wallets.create_wallet(name, WordCount::TwentyFour, now_s, &mut OsRandom)?;
        sandbox::fund(config, &running, made.address)?;
    }
    Ok(running)
}

/// Pays until a signal comes.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    log(context.config.log);
    if let Some(why) = &context.hardened.swappable {
        tracing::warn!(why, "memory is not locked: keys could be swapped out");
    }
    let mut config = context.config.clone();
    let dir = DataDir::open(&config)?;
    let running = match config.network {
        Network::Sandbox => Some(play(context, &mut config)?),
        _ => None,
    };
    let (wallets, _) = wallet::open(context, false)?;
    let paying = paying(&config, &wallets)?;
    let (signer, cannot_sign) = signer(&wallets, &paying);
    let keyring = wallets.close();
    let nodes = node::nodes(&config, &context.source)?;
    let token = node::token(&config)?;
    let users = users::resolve(&config.users)?;
    let medium = FileMedium::open(&dir.path)?;
    let (driver, opened) =
        Driver::open(medium, policy(&config, token, paying.address), nodes.all().to_vec(), signer)?;
    tracing::info!(frames = opened.frames, torn_bytes = opened.torn_bytes, "journal read");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("lucid-pay")
        .enable_all()
        .build()?;
    let json = context.json;
    let exit = runtime.block_on(async move {
        let (tasks, taken) = mpsc::channel(TASKS_MAX);
        let (stopper, stop) = watch::channel(false);
        let socket = config.socket();
        let gateway::Listening { listener, own } = gateway::listen(&socket)?;
        let (poll, drain) = (config.poll, config.drain);
        let network = config.network;
        let account = paying.address;
        let office = Office::new(Setup {
            config,
            nodes,
            token,
            paying,
            cannot_sign,
            keyring,
            tasks,
            stop: stop.clone(),
        });
        // Requests are finished before the payer ends, so it stops last.
        let (payer_stopper, payer_stop) = watch::channel(false);
        let payer = tokio::spawn(Payer::new(driver).run(taken, poll, payer_stop));
        let watching = tokio::spawn(office.clone().watch_nodes());
        let receiving = tokio::spawn(watch_receipts(office.clone(), dir.path.clone()));
        let mut gone = stop.clone();
        let until = async move {
            // The sender outlives this.
            let _ = gone.wait_for(|stop| *stop).await;
        };
        let gateway =
            tokio::spawn(gateway::serve(listener, Arc::new(office), Limits::of(users), until));
        let shown = json!({
            "network": network.name(), "account": account.to_string(),
            "token": token.to_string(), "socket": socket,
            "control": running.as_ref().map(|running| running.simulator.control.clone()),
            "node": running.as_ref().map(|running| running.simulator.node.clone()),
        });
        if json {
            output::json(&shown)?;
        }
        tracing::info!(network = network.name(), %account, socket = %socket.display(), "serving");
        notify::ready(&format!("paying from {account} on {network}"));
        let exit = wait(payer, payer_stopper, stopper, gateway, drain).await;
        watching.abort();
        receiving.abort();
        if own {
            let _ = std::fs::remove_file(&socket);
        }
        drop(running);
        exit
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    exit
}

/// Until a signal comes or the payer must end; then requests get time to finish.
async fn wait(
    mut payer: tokio::task::JoinHandle<Result<(), lucid_pay::journal::JournalError>>,
    payer_stopper: watch::Sender<bool>,
    stopper: watch::Sender<bool>,
    mut gateway: tokio::task::JoinHandle<std::io::Result<()>>,
    drain: std::time::Duration,
) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut payer => {
            ended.context("the payer ended")??;
        }
        ended = &mut gateway => {
            ended.context("the gateway ended")?.context("the socket failed")?;
        }
    }
    tracing::info!(seconds = drain.as_secs(), "stopping; requests that have begun are finished");
    notify::stopping(drain);
    stopper.send_replace(true);
    let drained = tokio::time::timeout(drain, &mut gateway).await;
    payer_stopper.send_replace(true);
    let ended = tokio::time::timeout(drain, &mut payer).await;
    if drained.is_err() || ended.is_err() {
        return Err(coded(Exit::Failure, "requests did not finish in time; nothing is lost"));
    }
    if let Ok(Ok(Err(error))) = ended {
        return Err(error.into());
    }
    tracing::info!("stopped");
    Ok(Exit::Success)
}
