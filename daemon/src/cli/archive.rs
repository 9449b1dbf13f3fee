//! Commands on a data directory while no daemon runs on it: `sessions`, `export`, `fsck`, `store
//! export|import`.

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use lucid_capture::archive::Archive;
use lucid_capture::catalogue::{SessionRecord, SessionState};
use lucid_capture::check::{self, CheckReport};
use lucid_capture::export::{ExportSpec, Exported};
use lucid_capture::rebuild;
use lucid_chain_node::{Node, Production, genesis};
use lucid_evidence::SessionId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ConfigOptions;
use super::verify::bar;
use crate::bundle::{check_place, write_file};
use crate::config::Flags;
use crate::exit::{Exit, Failure};
use crate::http::time::Rfc3339;
use crate::view::SessionView;
use crate::{chain, data_dir, quarantine};

/// Options of `lucid sessions`.
#[derive(Args)]
pub struct SessionsOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// Print an array of JSON objects
    #[arg(long)]
    json: bool,
}

fn open(config: &ConfigOptions) -> Result<Arc<Archive>, Failure> {
    let loaded = config.load(Flags::new())?;
    let archive = Archive::new(data_dir::open_existing(&loaded.config.data_dir)?)?;
    for missed in rebuild::missed(&archive, true, &mut |_| {})? {
        eprintln!("lucid: the index had lost session {}; it is put back", missed.session);
    }
    Ok(Arc::new(archive))
}

/// Lists the sessions, newest first.
///
/// # Errors
/// When the data directory cannot be opened or read; while a daemon runs on it, its API lists them.
pub fn sessions(options: &SessionsOptions) -> Result<Exit, Failure> {
    let archive = open(&options.config)?;
    let mut sessions = Vec::new();
    archive.catalogue().for_each_session(|session| sessions.push(session))?;
    let mut out = std::io::stdout().lock();
    if options.json {
        let mut all = Vec::new();
        for session in &sessions {
            all.push(SessionView::new(&archive, session)?);
        }
        place(&archive, &mut all, &sessions)?;
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(Exit::Success);
    }
    if sessions.is_empty() {
        writeln!(out, "no sessions in {}", archive.path().display())?;
    }
    for session in sessions {
        let why = match session.state {
            SessionState::Failed | SessionState::Terminated => session.transitions.last(),
            _ => None,
        };
        let why = why.map(|entered| format!("  ({})", entered.reason)).unwrap_or_default();
        writeln!(
            out,
            "{}  {}  {:<10} {:>9.1} s {:>12} bytes  {}{why}",
            session.id,
            Rfc3339::from_us(session.start_us),
            session.state.as_str(),
            session.stream_end_us as f64 / 1e6,
            session.sealed_bytes,
            session.source.name
        )?;
    }
    Ok(Exit::Success)
}

/// Says what the chain, or else the kept proof, tells of the blocks that closed the sessions.
fn place(
    archive: &Arc<Archive>,
    views: &mut [SessionView],
    sessions: &[SessionRecord],
) -> anyhow::Result<()> {
    // A chain that is lost is not founded anew by looking.
    let known = genesis(&archive.data().chain())?.is_some();
    if known && views.iter().any(|view| view.anchored.is_some()) {
        let placed = with_chain(archive, |node| {
            for (view, session) in views.iter_mut().zip(sessions) {
                view.place_on(node, session.id);
            }
        });
        if let Err(error) = placed {
            tracing::debug!(%error, "the chain cannot be asked, kept proofs are");
        }
    }
    for (view, session) in views.iter_mut().zip(sessions) {
        if view.anchored.as_ref().is_some_and(|anchored| anchored.time.is_none())
            && let Ok(Some(proof)) = archive.catalogue().proof(session.id)
        {
            view.place_by(&proof, session.id);
        }
    }
    Ok(())
}

/// Opens the chain of the directory for `read`; no block is made.
fn with_chain<T>(archive: &Arc<Archive>, read: impl FnOnce(&Node) -> T) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let store = archive.data().chain();
        let node = chain::start(archive, store, Production::OnDemand, stop.clone()).await?;
        let found = read(&node);
        stop.cancel();
        Ok(found)
    })
}

/// Options of `lucid export`.
#[derive(Args)]
pub struct ExportOptions {
    /// The session
    session: String,
    /// The bundle to write [default: lucid-SESSION.lucid here]
    #[arg(long, value_name = "FILE.lucid")]
    out: Option<PathBuf>,
    /// Without keys and video: it proves, and shows nothing
    #[arg(long)]
    sealed: bool,
    /// Chunks from this second of the recording on
    #[arg(long, value_name = "SECONDS")]
    from: Option<f64>,
    /// Chunks that begin before this second of the recording
    #[arg(long, value_name = "SECONDS")]
    to: Option<f64>,
    /// Without the MP4
    #[arg(long)]
    no_video: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigOptions,
}

fn microseconds(name: &str, seconds: Option<f64>) -> Result<Option<u64>, Failure> {
    match seconds {
        None => Ok(None),
        Some(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Some((seconds * 1e6) as u64)),
        Some(other) => {
            let error = anyhow::anyhow!("{name} {other}: expected 0 to 1000000000 seconds");
            Err(Failure::new(Exit::Usage, error))
        }
    }
}

/// Exports a session into a bundle.
///
/// # Errors
/// When there is no such session, it is not finished, or nothing is in the range.
pub fn export(options: &ExportOptions) -> Result<Exit, Failure> {
    let id: SessionId = options
        .session
        .parse()
        .map_err(|error| Failure::new(Exit::Usage, anyhow::Error::new(error)))?;
    let spec = ExportSpec {
        from_us: microseconds("--from", options.from)?,
        to_us: microseconds("--to", options.to)?,
        sealed: options.sealed,
        no_video: options.no_video,
    };
    if spec.from_us.zip(spec.to_us).is_some_and(|(from, to)| to <= from) {
        let error = anyhow::anyhow!("--to: expected more than --from");
        return Err(Failure::new(Exit::Usage, error));
    }
    if let Some(out) = &options.out {
        check_place(out).map_err(|error| Failure::new(Exit::Usage, error))?;
    }
    let archive = open(&options.config)?;
    if archive.catalogue().session(id)?.is_none() {
        let place = archive.path().display();
        return Err(anyhow::anyhow!("no such session: {id} is not in {place}").into());
    }
    archive.manifest(id)?;
    let out = options.out.clone().unwrap_or_else(|| lucid_evidence::bundle::file_name(id).into());
    let proof = with_chain(&archive, |node| chain::proof(&archive, node, id))?;
    if proof.is_none() {
        eprintln!("lucid: session {id} is not on the chain yet; the bundle will be unverifiable");
    }
    let bar = bar(options.json || !std::io::stderr().is_terminal());
    let exported = write_file(&archive, id, &spec, proof, &out, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    match options.json {
        true => println!("{}", export_json(id, &out, &exported)),
        false => {
            println!("{}  {} bytes", out.display(), exported.bytes);
            for lost in &exported.lost {
                let (from, to) = (lost.stream_us.0 as f64 / 1e6, lost.stream_us.1 as f64 / 1e6);
                println!("  LOST   {from:.3} s to {to:.3} s of the recording: {}", lost.why);
            }
        }
    }
    Ok(if exported.lost.is_empty() { Exit::Success } else { Exit::Incomplete })
}

fn export_json(id: SessionId, out: &Path, exported: &Exported) -> Value {
    let lost: Vec<Value> = exported
        .lost
        .iter()
        .map(|lost| {
            json!({
                "chunk": lost.chunk,
                "stream_from_s": lost.stream_us.0 as f64 / 1e6,
                "stream_to_s": lost.stream_us.1 as f64 / 1e6,
                "why": lost.why,
            })
        })
        .collect();
    let bytes = exported.bytes;
    json!({ "session_id": id.to_string(), "out": out, "bytes": bytes, "lost": lost })
}

/// Options of `lucid fsck`.
#[derive(Args)]
pub struct FsckOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// Only report; leave damaged data where they are
    #[arg(long)]
    no_quarantine: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Checks everything; exits with 0 only if nothing is wrong.
///
/// # Errors
/// When the data directory cannot be opened or read.
pub fn fsck(options: &FsckOptions) -> Result<Exit, Failure> {
    let loaded = options.config.load(Flags::new())?;
    let (data, opened) = data_dir::open_existing_with_report(&loaded.config.data_dir)?;
    let archive = Archive::new(data)?;
    let spinner = match options.json || !std::io::stderr().is_terminal() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new_spinner(),
    };
    let mut report = check::check(&archive, !options.no_quarantine, &mut |what| {
        spinner.set_message(format!("checking {what}"));
        spinner.tick();
    })?;
    let (store, repair) = (archive.data().chain(), !options.no_quarantine);
    let checked = chain::check_into(&mut report, &store, repair, |height, all| {
        if height % 1000 == 0 {
            spinner.set_message(format!("checking block {height} of {all}"));
            spinner.tick();
        }
    });
    spinner.finish_and_clear();
    let plain = |what, quarantined| check::Damage {
        what,
        session: None,
        wall_us: None,
        stream_us: None,
        quarantined,
    };
    if let Err(error) = checked {
        report.damage.push(plain(format!("chain: {error}"), None));
    }
    if let Err(error) = chain::check_anchors(&mut report, &archive, &store) {
        report.damage.push(plain(format!("anchors of the sessions: {error:#}"), None));
    }
    // Told until somebody has taken it out of the directory.
    for aside in quarantine::lost_chains(&loaded.config.data_dir)? {
        if !opened.quarantined.iter().any(|one| one.path == aside) {
            let what = "a whole chain was lost and put aside".to_owned();
            report.damage.push(plain(what, Some(aside)));
        }
    }
    for aside in opened.quarantined {
        let what = format!("{}: {}", aside.name, aside.reason);
        report.damage.push(plain(what, Some(aside.path)));
    }
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&fsck_json(&report))?),
        false => fsck_text(&report)?,
    }
    Ok(if report.is_clean() { Exit::Success } else { Exit::Failure })
}

fn fsck_json(report: &CheckReport) -> Value {
    let damage: Vec<Value> = report
        .damage
        .iter()
        .map(|damage| {
            json!({
                "what": damage.what,
                "session_id": damage.session.map(|id| id.to_string()),
                "from": damage.wall_us.map(|(from, _)| Rfc3339::from_us(from)),
                "to": damage.wall_us.map(|(_, to)| Rfc3339::from_us(to)),
                "stream_from_s": damage.stream_us.map(|(from, _)| from as f64 / 1e6),
                "stream_to_s": damage.stream_us.map(|(_, to)| to as f64 / 1e6),
                "quarantined": damage.quarantined,
            })
        })
        .collect();
    json!({
        "clean": report.is_clean(),
        "sessions": report.sessions,
        "chunks": report.chunks,
        "bytes": report.bytes,
        "damage": damage,
        "notes": report.notes,
    })
}

fn fsck_text(report: &CheckReport) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for damage in &report.damage {
        writeln!(out, "DAMAGED  {}", damage.what)?;
        if let Some(id) = damage.session {
            writeln!(out, "         session {id}")?;
        }
        if let Some((from, to)) = damage.wall_us {
            writeln!(out, "         {} to {}", Rfc3339::from_us(from), Rfc3339::from_us(to))?;
        }
        if let Some((from, to)) = damage.stream_us {
            let (from, to) = (from as f64 / 1e6, to as f64 / 1e6);
            writeln!(out, "         {from:.3} s to {to:.3} s of the recording")?;
        }
        if let Some(path) = &damage.quarantined {
            writeln!(out, "         put aside at {}", path.display())?;
        }
    }
    for note in &report.notes {
        writeln!(out, "note     {note}")?;
    }
    writeln!(
        out,
        "{} sessions, {} chunks, {} sealed bytes checked: {}",
        report.sessions,
        report.chunks,
        report.bytes,
        if report.is_clean() { "nothing is wrong" } else { "damage found" }
    )
}

/// `lucid store`.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Write everything stored into one file; keys are not in it
    Export(StoreOptions),
    /// Read such a file into a data directory
    Import(StoreOptions),
}

/// Options of `lucid store export` and `import`.
#[derive(Args)]
pub struct StoreOptions {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    config: ConfigOptions,
}

/// Exports or imports the store.
///
/// # Errors
/// When file or data directory cannot be read or written. An import makes no data directory before
/// the whole file was found to be good.
pub fn store(command: &StoreCommand) -> Result<Exit, Failure> {
    let (StoreCommand::Export(options) | StoreCommand::Import(options)) = command;
    let loaded = options.config.load(Flags::new())?;
    let path = &loaded.config.data_dir;
    let shown = options.file.display();
    let moved = match command {
        StoreCommand::Export(_) => {
            let data = data_dir::open_existing(path)?;
            let file = File::create_new(&options.file)
                .with_context(|| format!("cannot make {shown}; it must not exist yet"))?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            let moved = lucid_store::export(&data, &mut out)?;
            out.flush()?;
            out.get_ref().sync_all()?;
            moved
        }
        StoreCommand::Import(_) => {
            let mut file =
                File::open(&options.file).with_context(|| format!("cannot read {shown}"))?;
            if !file.metadata().is_ok_and(|meta| meta.is_file()) {
                let error = anyhow::anyhow!("{shown} is no regular file: it is read twice");
                return Err(Failure::new(Exit::Usage, error));
            }
            lucid_store::check_archive(BufReader::with_capacity(1 << 20, &file))
                .with_context(|| format!("{shown} is not imported"))?;
            file.rewind()?;
            let data = data_dir::open(path)?;
            lucid_store::import(&data, BufReader::with_capacity(1 << 20, file))?
        }
    };
    println!("{} records, {} bytes", moved.records, moved.bytes);
    for (database, key) in &moved.damaged {
        println!("DAMAGED  a record of {database}, key of {} bytes, is left out", key.len());
    }
    for (database, why) in &moved.unreadable {
        println!("DAMAGED  {database} is left out: {why}");
    }
    let whole = moved.damaged.is_empty() && moved.unreadable.is_empty();
    Ok(if whole { Exit::Success } else { Exit::Failure })
}
