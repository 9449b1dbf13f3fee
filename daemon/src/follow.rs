//! Tells the listeners of events what recorders and chain did. Recorders must never wait for a
//! listener: what they say goes through a bounded queue, and what does not fit is dropped, since
//! every event only says "look again".

use std::sync::{Arc, Mutex, PoisonError};

use lucid_capture::recorder::{Observer, RecorderEvent};
use lucid_chain_node::{NewBlock, State};
use lucid_evidence::SessionId;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Topic;
use crate::http::App;
use crate::http::sessions::session_view;
use crate::http::sources;
use crate::http::time::Rfc3339;
use crate::recordings::Pulse;
use crate::supervisor::Reporter;
use crate::view::GapView;

/// What waits to be told, at most; beyond it is dropped.
const TOLD_MAX: usize = 1024;

/// Something that happened.
#[derive(Debug)]
pub enum Told {
    /// A recorder said so.
    Recorder(RecorderEvent),
    /// A session's place on the chain changed.
    Anchored(SessionId),
}

/// The queue's two ends; the receiver stays over restarts of the component.
pub struct Queue {
    sender: mpsc::Sender<Told>,
    receiver: Mutex<Option<mpsc::Receiver<Told>>>,
}

#[derive(Serialize)]
struct GapEvent {
    session_id: String,
    source_id: String,
    source_name: String,
    #[serde(flatten)]
    gap: GapView,
}

#[derive(Serialize)]
struct BlockEvent {
    height: u64,
    id: String,
    time: Rfc3339,
    witnesses: usize,
    validators: usize,
    transactions: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(TOLD_MAX);
        Arc::new(Self { sender, receiver: Mutex::new(Some(receiver)) })
    }

    /// Says something without waiting.
    pub fn tell(&self, told: Told) {
        if let Err(error) = self.sender.try_send(told) {
            tracing::debug!(%error, "an event is dropped");
        }
    }

    /// What recorders are given to talk to.
    pub fn observer(self: &Arc<Self>, pulse: &Arc<Pulse>) -> Observer {
        let (queue, pulse) = (Arc::clone(self), Arc::clone(pulse));
        Arc::new(move |event| {
            if let RecorderEvent::Durable { wall_end_us, .. } = event {
                return pulse.durable(wall_end_us);
            }
            pulse.changed();
            queue.tell(Told::Recorder(event));
        })
    }
}

/// Passes on what recorders and chain say until asked to stop.
///
/// # Errors
/// None; what cannot be read is logged and left out.
pub async fn run(
    app: App,
    queue: Arc<Queue>,
    reporter: Reporter,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let taken = queue.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut told = taken.ok_or_else(|| anyhow::anyhow!("the queue is gone after a failure"))?;
    reporter.healthy();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            one = told.recv() => if let Some(one) = one {
                let app = Arc::clone(&app);
                tokio::task::spawn_blocking(move || publish(&app, one)).await?;
            }
        }
    }
}

/// Follows the chain: its blocks as events, its state as the component's. A node that failed is
/// opened anew first, with its database: being started again is how this component recovers.
///
/// # Errors
/// When the node cannot go on.
pub async fn chain(app: App, reporter: Reporter, stop: CancellationToken) -> anyhow::Result<()> {
    let mut blocks = app.node.subscribe();
    if let State::Failed(error) = app.node.state() {
        tracing::warn!(%error, "opening the chain anew");
        let opened = Arc::clone(&app);
        tokio::task::spawn_blocking(move || opened.archive.data().reopen_chain()).await??;
        app.node.reopen().await?;
        let opened = Arc::clone(&app);
        tokio::task::spawn_blocking(move || opened.anchoring.reopened()).await?;
    }
    loop {
        match app.node.state() {
            State::Running => reporter.healthy(),
            State::Waiting(why) => reporter.degraded(why),
            State::Stopped => anyhow::bail!("the chain has stopped"),
            State::Failed(error) => anyhow::bail!("{error}; it is opened anew"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(std::time::Duration::from_secs(2)) => {}
            block = blocks.recv() => match block {
                Ok(block) => app.events.publish(Topic::Block, &block_event(&block)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => anyhow::bail!("the chain has stopped"),
            },
        }
    }
}

fn block_event(block: &NewBlock) -> BlockEvent {
    BlockEvent {
        height: block.height,
        id: block.id.to_string(),
        time: Rfc3339::from_us(block.time_us),
        witnesses: block.witnesses,
        validators: block.validators,
        transactions: block.transactions.len(),
    }
}

fn publish(app: &App, told: Told) {
    match told {
        Told::Anchored(session)
        | Told::Recorder(
            RecorderEvent::State { session, .. } | RecorderEvent::Chunk { session, .. },
        ) => session_changed(app, session),
        Told::Recorder(RecorderEvent::Source { source_id, .. }) => {
            if let Ok(source) = app.sources.get(&source_id) {
                app.events.publish(Topic::Source, &sources::view(app, &source));
            }
        }
        Told::Recorder(RecorderEvent::Gap { session, gap }) => {
            let Ok(record) = app.archive.session(session) else { return };
            let event = GapEvent {
                session_id: session.to_string(),
                source_id: record.source_id,
                source_name: record.source.name,
                gap: GapView::new(&gap),
            };
            app.events.publish(Topic::Gap, &event);
        }
        Told::Recorder(_) => {}
    }
}

/// Tells that a session changed.
pub fn session_changed(app: &App, session: SessionId) {
    match app.archive.session(session).and_then(|record| session_view(app, &record)) {
        Ok(view) => app.events.publish(Topic::Session, &view),
        Err(error) => tracing::warn!(%session, %error, "a session that changed cannot be read"),
    }
}
