//! `lucid record`: the whole way in one command, without a daemon: source, sealed recording,
//! anchored, exported, verified.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionRecord;
use lucid_capture::export::ExportSpec;
use lucid_capture::recorder::{
    self, Limits, Observer, Persistence, RecorderConfig, RecorderEvent, Recording, SessionSpec,
    SourceState,
};
use lucid_capture::{RtspTransport, SourceUri, StreamOptions, TlsTrust, recovery};
use lucid_chain::verify::{Report, Trust, bundle};
use lucid_chain_node::{Node, Production};
use lucid_evidence::SessionId;
use lucid_evidence::manifest::{EndReason, SourceInfo};
use lucid_store::{DataDir, Options as StoreOptions, memory_store};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::interruption::Interruption;
use super::verify::bar;
use crate::anchoring::Anchoring;
use crate::bundle::{BundleFile, check_place, write_file};
use crate::exit::{Exit, Failure};
use crate::{chain, data_dir, machine};

/// Longest recording by this command, seconds.
const SECONDS_MAX: u64 = 86_400;
/// Blocks made to take everything in at the end: one does, unless more waits than a block holds.
const BLOCKS_MAX: usize = 1000;
/// How long a source that went away is waited for beyond the wanted length.
const GRACE: Duration = Duration::from_secs(10);
/// A source that is silent for so long is opened again.
const STALL_AFTER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// Options of `lucid record`.
#[derive(Args)]
pub struct Options {
    /// What to record: v4l2:///dev/videoN, libcamera://, rtsp://..., rtsps://...,
    /// file:///...[?loop=1], screen://:N, test://
    #[arg(long, value_name = "URI")]
    source: String,
    /// How long; without it, to the end of the source or until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: Option<u64>,
    /// The bundle to write
    #[arg(long, value_name = "FILE.lucid")]
    out: PathBuf,
    /// Keep the recording in this data directory and anchor it on its chain; without it, a
    /// temporary chain of one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A name for the source
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Leave sound out
    #[arg(long)]
    no_audio: bool,
    /// Seal the bundle: without keys and video
    #[arg(long)]
    sealed: bool,
    /// Leave the MP4 out of the bundle
    #[arg(long)]
    no_video: bool,
    /// RTSP over UDP in place of TCP
    #[arg(long)]
    rtsp_udp: bool,
    /// Accept any certificate of an rtsps:// source
    #[arg(long)]
    insecure_tls: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Records, anchors, exports and verifies.
///
/// # Errors
/// When any of it fails; nothing is left under the bundle's name then.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let usage = |error: anyhow::Error| Failure::new(Exit::Usage, error);
    let uri: SourceUri = options.source.parse().context("--source").map_err(usage)?;
    let out_dir = options.out.parent().filter(|dir| !dir.as_os_str().is_empty());
    let out_dir = out_dir.unwrap_or(Path::new(".")).to_path_buf();
    if !out_dir.is_dir() {
        return Err(usage(anyhow::anyhow!("--out: {} is no directory", out_dir.display())));
    }
    if options.out.file_name().is_none() || options.out.is_dir() {
        return Err(usage(anyhow::anyhow!("--out: {} is no file name", options.out.display())));
    }
    check_place(&options.out).context("--out").map_err(usage)?;
    // The temporary data lie where the bundle will: there must be room there anyway. Removed when
    // this ends.
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix(".lucid-record-").tempdir_in(&out_dir)?),
    };
    let data = match (&options.data_dir, &temporary) {
        (Some(path), _) => data_dir::open(path)?,
        (None, Some(dir)) => DataDir::open(dir.path(), StoreOptions::default())?.0,
        (None, None) => return Err(usage(anyhow::anyhow!("no data directory"))),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(record(options, uri, data));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn record(options: &Options, uri: SourceUri, data: DataDir) -> Result<Exit, Failure> {
    // From here on nothing ends this without removing what it made.
    let mut interruption = Interruption::new()?;
    let archive = Arc::new(Archive::new(data)?);
    let stop = CancellationToken::new();
    let store = match options.data_dir {
        Some(_) => archive.data().chain(),
        None => Arc::new(memory_store("chain")),
    };
    let node = chain::start(&archive, store, Production::Interval, stop.clone()).await?;
    let anchoring = Anchoring::new(archive.clone(), node.clone(), Box::new(|_| {}));
    let following = tokio::spawn(anchoring.clone().follow(stop.clone()));
    take_up(&archive, &anchoring).await?;
    let told = Arc::new(Told::default());
    let config = config(options, uri).await?;
    let recording = {
        let (archive, anchor, observer) = (archive.clone(), anchoring.clone(), told.observer());
        tokio::task::spawn_blocking(move || recorder::start(archive, anchor, observer, config))
            .await??
    };
    // The opening goes into a block at once, so that the chain says before and after.
    node.produce_now().await?;
    let progress = progress(options);
    wait(options, &recording, &told, &progress, &mut interruption).await;
    progress.finish_and_clear();
    let sessions = tokio::task::spawn_blocking(move || recording.join()).await??;
    let Some(id) = sessions.first().copied() else {
        return Err(anyhow::anyhow!("nothing was recorded").into());
    };
    let session = archive.session(id)?;
    if session.stream_end_us == 0 {
        let why = session.transitions.last().map(|t| t.reason.clone()).unwrap_or_default();
        let why = told.last_problem().unwrap_or(why);
        return Err(anyhow::anyhow!("nothing was recorded: {why}").into());
    }
    anchor(&node, &anchoring, id).await?;
    let report = export(options, &archive, &node, id).await?;
    stop.cancel();
    following.await?;
    say(options, &session, &report)?;
    if report.exit_code != 0 {
        return Ok(super::verify::exit(&report));
    }
    match session.ended.map(|ended| ended.reason) {
        Some(EndReason::SourceFailed | EndReason::StorageFull) => {
            let why = told.last_problem().unwrap_or_else(|| "the source failed".into());
            Err(anyhow::anyhow!("the recording ended early: {why}; what came is in the bundle")
                .into())
        }
        _ => Ok(Exit::Success),
    }
}

/// Closes what an earlier run left open, and anchors what is not anchored yet.
async fn take_up(archive: &Arc<Archive>, anchoring: &Arc<Anchoring>) -> Result<(), Failure> {
    let (archive, anchoring) = (Arc::clone(archive), Arc::clone(anchoring));
    let work = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let quiet: Observer = Arc::new(|_| {});
        anchoring.renew_lost()?;
        for (id, error) in recovery::recover_all(&archive, &*anchoring, &quiet)?.failed {
            tracing::error!(session = %id, %error, "a session of an earlier run stays open");
        }
        anchoring.catch_up()?;
        Ok(())
    });
    Ok(work.await??)
}

async fn config(options: &Options, uri: SourceUri) -> Result<RecorderConfig, Failure> {
    let plan = machine::Machine::default().encoders().await?;
    let mut stream = StreamOptions::new(plan);
    stream.audio = !options.no_audio;
    if options.rtsp_udp {
        stream.rtsp_transport = RtspTransport::Udp;
    }
    if options.insecure_tls {
        stream.tls = TlsTrust::AnyCertificate;
    }
    let address = uri.to_string();
    Ok(RecorderConfig {
        spec: SessionSpec {
            id: None,
            source_id: "record".into(),
            source: SourceInfo {
                kind: uri.scheme().into(),
                name: options.name.clone().unwrap_or_else(|| address.clone()),
                address,
            },
            device_name: match options.data_dir {
                Some(_) => crate::config::host_name(),
                None => format!("{} (temporary device)", crate::config::host_name()),
            },
            software: format!("lucid {}", env!("CARGO_PKG_VERSION")),
            policy: None,
            participants: Vec::new(),
            note: String::new(),
        },
        uri,
        options: stream,
        limits: Limits::default(),
        stop_after_us: options.seconds.map(|seconds| seconds * 1_000_000),
        roll_after_us: None,
        stall_after: STALL_AFTER,
        persistence: Persistence::OnceStarted,
        events: None,
    })
}

/// What the recorder told.
#[derive(Default)]
struct Told {
    stream_us: AtomicU64,
    problem: Mutex<Option<String>>,
    first_media: Mutex<Option<Instant>>,
}

impl Told {
    fn observer(self: &Arc<Self>) -> Observer {
        let this = Arc::clone(self);
        Arc::new(move |event| match event {
            RecorderEvent::Durable { stream_end_us, .. } => {
                this.stream_us.store(stream_end_us, Ordering::Relaxed);
                lock(&this.first_media).get_or_insert_with(Instant::now);
            }
            RecorderEvent::Source {
                state: SourceState::Failed | SourceState::Refused | SourceState::Stalled,
                reason,
                ..
            } => *lock(&this.problem) = Some(reason),
            _ => {}
        })
    }

    fn last_problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn progress(options: &Options) -> ProgressBar {
    if options.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match options.seconds {
        Some(_) => "recording {bar:30} {pos} of {len} s {msg}",
        None => "recording {spinner} {pos} s {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
    ProgressBar::new(options.seconds.unwrap_or_default()).with_style(style)
}

/// Waits for the end of the recording: its length, its source, Ctrl-C or another request to end, or
/// too long without the source.
async fn wait(
    options: &Options,
    recording: &Recording,
    told: &Told,
    progress: &ProgressBar,
    interruption: &mut Interruption,
) {
    let limit = options.seconds.map(|seconds| Duration::from_secs(seconds) + GRACE);
    while !recording.has_ended() {
        progress.set_position(told.stream_us.load(Ordering::Relaxed) / 1_000_000);
        let (state, reason) = recording.state();
        progress.set_message(match state {
            SourceState::Recording => String::new(),
            _ => format!("({}: {reason})", state.as_str()),
        });
        let since = *lock(&told.first_media);
        if limit.zip(since).is_some_and(|(limit, since)| since.elapsed() > limit) {
            recording.stop(EndReason::Stopped);
        }
        tokio::select! {
            () = interruption.asked() => recording.stop(EndReason::Stopped),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Makes blocks until everything of the session is in one.
async fn anchor(node: &Node, anchoring: &Anchoring, id: SessionId) -> Result<(), Failure> {
    for _ in 0..BLOCKS_MAX {
        if anchoring.is_anchored(id) {
            return Ok(());
        }
        let block = node.produce_now().await?;
        // The follower notes the block too; whoever comes second changes nothing.
        tokio::task::block_in_place(|| anchoring.note(&block));
    }
    Err(anyhow::anyhow!("session {id} could not be anchored in {BLOCKS_MAX} blocks").into())
}

async fn export(
    options: &Options,
    archive: &Arc<Archive>,
    node: &Node,
    id: SessionId,
) -> Result<Report, Failure> {
    let spec = ExportSpec {
        from_us: None,
        to_us: None,
        sealed: options.sealed,
        no_video: options.no_video,
    };
    let (archive, node, out) = (archive.clone(), node.clone(), options.out.clone());
    let hidden = options.json;
    let work = tokio::task::spawn_blocking(move || -> anyhow::Result<Report> {
        let proof = node.prove(&id)?.to_bytes();
        let bar = bar(hidden);
        write_file(&archive, id, &spec, Some(proof), &out, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        // The first to check it is the one who made it.
        let report = bundle(&BundleFile::open(&out)?, &Trust::default(), &|_, _| {});
        if report.exit_code == 10 {
            bail!("the bundle that was written does not verify: {report}");
        }
        Ok(report)
    });
    Ok(work.await??)
}

fn say(options: &Options, session: &SessionRecord, report: &Report) -> Result<(), Failure> {
    let bytes = std::fs::metadata(&options.out)?.len();
    let seconds = session.stream_end_us as f64 / 1e6;
    let device = report.device.as_ref().map(|device| device.fingerprint.clone());
    let chain = report.chain.as_ref().map(|chain| chain.genesis.clone());
    let mut out = std::io::stdout();
    if options.json {
        let value = json!({
            "session_id": session.id.to_string(),
            "out": options.out,
            "bytes": bytes,
            "duration_s": seconds,
            "chunks": session.chunks,
            "end_reason": session.ended.map(|ended| ended.reason.as_str()),
            "device_fingerprint": device,
            "chain_genesis": chain,
            "temporary": options.data_dir.is_none(),
            "verdict": report.verdict,
            "gaps": report.gaps,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        return Ok(());
    }
    writeln!(out, "{}  {seconds:.1} s, {bytes} bytes, {}", options.out.display(), report.verdict)?;
    writeln!(out, "  session  {}", session.id)?;
    writeln!(out, "  device   {}", device.unwrap_or_default())?;
    writeln!(out, "  chain    {}", chain.unwrap_or_default())?;
    if let Some(codec) = &session.codec {
        writeln!(out, "  encoder  {}: {}", codec.encoder, codec.reason)?;
    }
    for gap in &report.gaps {
        writeln!(
            out,
            "  gap      {:.1} s at {:.1} s: {}",
            gap.length_s, gap.stream_time_s, gap.reason
        )?;
    }
    if options.data_dir.is_none() {
        writeln!(
            out,
            "  Device and chain were made for this file alone: it proves that nothing in it \
             changed since,\n  \
             not whose device it was. Use --data-dir to record with a device that lasts."
        )?;
    }
    Ok(())
}
