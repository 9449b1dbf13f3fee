//! The self-test of a system on trial: record, seal, anchor, and read back. It goes the way every
//! recording goes, with a test picture as its source, and leaves its session deleted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lucid_capture::recorder::{
    self, Anchor as _, Limits, Observer, Persistence, RecorderConfig, SessionSpec,
};
use lucid_capture::{SourceUri, StreamOptions};
use lucid_chain::AnchorProof;
use lucid_evidence::SessionId;
use lucid_evidence::manifest::SourceInfo;

use crate::chain;
use crate::http::App;
use crate::http::time::now_us;

/// What is recorded.
const SOURCE: &str = "test://";
/// How much of it, microseconds.
const LENGTH_US: u64 = 2_000_000;
/// Longest until everything that must run does.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);
/// Longest the test may take then; both together are less than the confirming unit waits.
const WITHIN: Duration = Duration::from_secs(180);
/// A source that is silent for so long is opened again.
const STALL_AFTER: Duration = Duration::from_secs(10);
/// Blocks made to take everything in.
const BLOCKS_MAX: usize = 20;

/// Records, anchors and reads back.
///
/// # Errors
/// The first step that failed, in words.
pub async fn run(app: &App) -> anyhow::Result<()> {
    if tokio::time::timeout(WHOLE_WITHIN, app.supervisor.whole()).await.is_err() {
        bail!("after {} s {}", WHOLE_WITHIN.as_secs(), app.supervisor.missing().join("; "));
    }
    match tokio::time::timeout(WITHIN, test(app)).await {
        Ok(result) => result,
        Err(_) => bail!("it did not end within {} s", WITHIN.as_secs()),
    }
}

async fn test(app: &App) -> anyhow::Result<()> {
    let encoders = app.machine.encoders().await.context("no encoder was found")?;
    let uri: SourceUri = SOURCE.parse()?;
    let config = RecorderConfig {
        spec: SessionSpec {
            id: None,
            source_id: "self-test".into(),
            source: SourceInfo {
                kind: uri.scheme().into(),
                name: "Self-test after an update".into(),
                address: SOURCE.into(),
            },
            device_name: app.config.name.clone(),
            software: format!("lucid {}", env!("CARGO_PKG_VERSION")),
            policy: None,
            participants: Vec::new(),
            note: String::new(),
        },
        uri,
        options: StreamOptions::new(encoders),
        limits: Limits::default(),
        stop_after_us: Some(LENGTH_US),
        roll_after_us: None,
        stall_after: STALL_AFTER,
        persistence: Persistence::Never,
        events: None,
    };
    let (archive, anchoring) = (Arc::clone(&app.archive), Arc::clone(&app.anchoring));
    let recorded = tokio::task::spawn_blocking(move || {
        let quiet: Observer = Arc::new(|_| {});
        recorder::start(archive, anchoring, quiet, config)?.join()
    });
    let sessions = recorded.await?.context("nothing could be recorded")?;
    let id = sessions.first().copied().context("nothing was recorded")?;
    anchor(app, id).await?;
    let reader = Arc::clone(app);
    tokio::task::spawn_blocking(move || read_back(&reader, id)).await??;
    Ok(())
}

async fn anchor(app: &App, id: SessionId) -> anyhow::Result<()> {
    for _ in 0..BLOCKS_MAX {
        if app.anchoring.is_anchored(id) {
            return Ok(());
        }
        let block = app.node.produce_now().await.context("the chain makes no block")?;
        let anchoring = Arc::clone(&app.anchoring);
        tokio::task::spawn_blocking(move || anchoring.note(&block)).await?;
    }
    bail!("the recording was not anchored in {BLOCKS_MAX} blocks")
}

/// Opens every piece of it with the session's keys, checks the proof, and deletes it.
fn read_back(app: &App, id: SessionId) -> anyhow::Result<()> {
    let archive = &app.archive;
    let session = archive.session(id)?;
    ensure!(session.stream_end_us > 0, "what was recorded is empty");
    let secret = archive.secret(id)?;
    let chunks = archive.catalogue().all_chunks(id)?;
    ensure!(!chunks.is_empty(), "no chunk was stored");
    for chunk in &chunks {
        archive.sealed_chunk(chunk).context("a chunk does not have its hash")?;
        archive.init_segment(&secret, &chunk.map).context("a chunk does not open")?;
        for fragment in &chunk.map.fragments {
            archive.fragment(&secret, &chunk.map, fragment).context("a piece does not open")?;
        }
    }
    let proof = chain::proof(archive, &app.node, id).context("there is no proof of its anchor")?;
    AnchorProof::from_bytes(&proof)?.verify(&id).context("the proof of its anchor is wrong")?;
    let deleted = archive.delete(id, now_us(), "the self-test of an update, no longer needed")?;
    app.anchoring.deleted(&deleted);
    Ok(())
}
