//! `lucid`: the daemon and its command line. This file is the daemon's life from start to stop;
//! everything it names is one module away.
#![forbid(unsafe_code)]

mod anchoring;
mod auth;
mod bundle;
mod chain;
mod cli;
mod components;
mod config;
mod data_dir;
mod desktops;
mod device;
mod events;
mod exit;
mod exports;
mod first_start;
mod follow;
mod front;
mod housekeeping;
mod http;
mod keyfile;
mod limits;
mod logging;
mod machine;
mod metrics;
mod notify;
mod payments;
mod playlist;
mod quarantine;
mod recordings;
mod sealed_file;
mod settle;
mod sources;
mod supervisor;
mod system;
mod updates;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use lucid_capture::archive::Archive;
use lucid_store::OpenReport;
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::Auth;
use crate::cli::Cli;
use crate::cli::serve::{Addresses, greet};
use crate::components::Core;
use crate::config::Config;
use crate::device::Device;
use crate::events::Events;
use crate::exit::{Exit, Failure};
use crate::http::listen::{self, ListenError, Listener};
use crate::http::tls;
use crate::machine::Machine;
use crate::quarantine::Quarantine;
use crate::sources::Sources;
use crate::supervisor::Supervisor;
use crate::system::{KeptLog, System};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _nowhere_to_say_it = error.print();
            return if asked { Exit::Success } else { Exit::Usage }.into();
        }
    };
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("lucid: {:#}", failure.error);
            failure.exit.into()
        }
    }
}

/// Runs the daemon until it is asked to stop. Nothing is opened before the configuration is
/// checked, and nothing listens before everything behind it runs.
fn daemon(config: Config, ready_file: Option<PathBuf>) -> Result<Exit, Failure> {
    let log = logging::start(&config.log)?;
    raise_descriptor_limit();
    let keeper = desktops::keeper(&config.desktops);
    if system::reset::carry_out(&config.data_dir, &config.desktops.home, keeper)? {
        tracing::warn!("the factory reset is done: this is a first start");
    }
    let (data_dir, report) = data_dir::open_with_report(&config.data_dir)?;
    let archive = Arc::new(Archive::new(data_dir)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(live(config, log, archive, report, ready_file));
    // What still waits for a disk or a camera has had its deadline.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}

async fn live(
    config: Config,
    log: Arc<KeptLog>,
    archive: Arc<Archive>,
    report: OpenReport,
    ready_file: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;

    // Identity, accounts, sources.
    let (keys_dir, index) = (archive.data().keys_dir(), archive.data().index());
    let key = archive.keys().device();
    let identity = match config.http.listen_tls {
        Some(_) => Some(tls::load_or_make(&keys_dir, &config.http.host_names)?),
        None => None,
    };
    let device = Device::new(key, identity.as_ref().map(|tls| tls.fingerprint.clone()));
    let auth = Arc::new(Auth::new(Arc::clone(&index), &keys_dir, &config.auth));
    let (claim, code) = auth.renew_code()?;
    let (sources, damaged) = Sources::open(index, key)?;

    // Addresses are taken before anything records, and answered after everything runs.
    let (http, https) = bind(&config, identity)
        .await
        .map_err(|error| Failure::new(Exit::AddressUnavailable, error))?;

    // What records, seals and anchors; then its components, which stop in reverse.
    let (events, sources, drain) = (Events::new(), Arc::new(sources), config.drain);
    let supervisor = Supervisor::new(events.clone());
    let core = Core::open(archive, &config, &sources, &events).await?;
    let desktops = core.open_desktops(&config, &events)?;
    device.set_chain_genesis(core.node.chain());
    let parts = http::Parts {
        auth: Arc::clone(&auth),
        device,
        events,
        supervisor: supervisor.clone(),
        sources,
        desktops,
        machine: Machine::default(),
        quarantine: Quarantine::new(&report),
        system: System::new(log),
        config,
    };
    let app = parts.build(&core);
    components::start(&app, core, &damaged, &auth);

    // Listeners last, so that whoever can ask is answered.
    let addresses = Addresses::new(
        http.as_ref().map(|listener| listener.address),
        https.as_ref().map(|listener| listener.address),
    );
    if let Some(https) = &https {
        app.device.set_https_port(https.address.port());
    }
    let router = http::router(&app);
    for (name, listener) in [("http", http), ("https", https)] {
        if let Some(listener) = listener {
            components::start_listener(&app, name, listener, router.clone());
        }
    }
    components::start_console(&app, router.clone());
    greet(&addresses, &app.device, &claim, code)?;
    let watchdog = tokio::spawn(tell_ready(supervisor.clone(), addresses, ready_file));

    let reason = tokio::select! {
        _ = terminated.recv() => "SIGTERM",
        _ = interrupted.recv() => "SIGINT",
        order = app.system.orders.given() => order.as_str(),
    };
    tracing::info!(reason, deadline_s = drain.as_secs_f64(), "stopping");
    notify::stopping(drain);
    watchdog.abort();
    app.stop.cancel();
    let drained = tokio::select! {
        drained = supervisor.drain(drain) => drained,
        _ = terminated.recv() => Err(vec!["cut off by a second signal"]),
        _ = interrupted.recv() => Err(vec!["cut off by a second signal"]),
    };
    match drained {
        Ok(()) => Ok(Exit::Success),
        Err(late) => {
            tracing::error!(late = late.join(", "), "did not stop in time");
            Ok(Exit::DrainTimedOut)
        }
    }
}

/// Says that the device is ready once everything that must run does, and feeds the watchdog.
async fn tell_ready(supervisor: Supervisor, addresses: Addresses, ready_file: Option<PathBuf>) {
    supervisor.whole().await;
    if let Some(path) = ready_file
        && let Err(error) = addresses.write(&path)
    {
        tracing::error!(path = %path.display(), %error, "the ready file cannot be written");
    }
    notify::ready(addresses.https.as_deref().or(addresses.http.as_deref()).unwrap_or(""));
    notify::feed_watchdog(supervisor).await;
}

async fn bind(
    config: &Config,
    identity: Option<tls::Identity>,
) -> Result<(Option<Listener>, Option<Listener>), ListenError> {
    let places = Arc::default();
    let mut bound = (None, None);
    if let Some(address) = config.http.listen {
        bound.0 = Some(listen::bind(address, "http.listen", None, &places).await?);
    }
    if let Some((address, identity)) = config.http.listen_tls.zip(identity) {
        let tls = Some(identity.server);
        bound.1 = Some(listen::bind(address, "http.listen_tls", tls, &places).await?);
    }
    Ok(bound)
}

/// Connections, volumes and cameras all take descriptors; many systems start with 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
