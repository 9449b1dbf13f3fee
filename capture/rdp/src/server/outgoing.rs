//! What goes to a client: pictures, of which none waits but one, sound, of which little waits, and
//! replies, of which all arrive.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironrdp_core::encode_vec;
use ironrdp_pdu::mcs::{DisconnectProviderUltimatum, DisconnectReason, McsMessage};
use ironrdp_pdu::x224::X224;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::screen::{FrameError, MAX_QUEUED_FRAMES};
use crate::monitor::Counters;
use crate::session::Ended;

/// Longest time one write may take before its reader counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Replies that wait for the writer. While they do, nothing more is read from the client.
const MAX_QUEUED_REPLIES: usize = 16;

/// Blocks of sound that wait for the writer. What comes above is dropped: it would be late.
const MAX_QUEUED_SOUNDS: usize = 8;

/// Pictures of one client's desktop, encoded.
#[derive(Debug)]
pub struct Frame {
    /// For which activation it was made.
    pub generation: u64,
    /// What the wire takes.
    pub bytes: Vec<u8>,
}

/// Where pictures are handed in.
pub type Frames = mpsc::Sender<Result<Frame, FrameError>>;

/// Where a connection hands in what goes out. When it is dropped, the writer ends.
#[derive(Debug)]
pub struct Outbox {
    /// For pictures.
    pub frames: Frames,
    /// For sound, as the wire takes it.
    pub sounds: mpsc::Sender<Vec<u8>>,
    /// For everything else.
    pub replies: mpsc::Sender<Vec<u8>>,
    /// Frames of other activations are dropped.
    pub generation: Arc<AtomicU64>,
}

/// The writer's side of an [`Outbox`].
#[derive(Debug)]
pub struct Outgoing {
    frames: mpsc::Receiver<Result<Frame, FrameError>>,
    sounds: mpsc::Receiver<Vec<u8>>,
    replies: mpsc::Receiver<Vec<u8>>,
    generation: Arc<AtomicU64>,
}

/// Both sides.
pub fn outbox() -> (Outbox, Outgoing) {
    let (frames, pictures) = mpsc::channel(MAX_QUEUED_FRAMES);
    let (sounds, waves) = mpsc::channel(MAX_QUEUED_SOUNDS);
    let (replies, answers) = mpsc::channel(MAX_QUEUED_REPLIES);
    let generation = Arc::<AtomicU64>::default();
    let outgoing = Outgoing {
        frames: pictures,
        sounds: waves,
        replies: answers,
        generation: generation.clone(),
    };
    (Outbox { frames, sounds, replies, generation }, outgoing)
}

/// Runs both halves of a connection until one of them ends. The writer comes back unless it hangs.
pub async fn drive<W>(
    reading: impl Future<Output = Ended>,
    writing: impl Future<Output = (Ended, W)>,
) -> (Ended, Option<W>) {
    tokio::pin!(reading, writing);
    tokio::select! {
        ended = &mut reading => {
            // Its outbox is gone: what is under way goes out, and the writer comes back.
            let patience = timeout(Duration::from_secs(1), writing).await;
            (ended, patience.ok().map(|(_, writer)| writer))
        }
        (ended, writer) = &mut writing => (ended, Some(writer)),
    }
}

/// Writes until the outbox is gone, the desktop is lost or the client does not read any more.
pub async fn write<S: AsyncWrite>(
    mut writer: WriteHalf<S>,
    mut outgoing: Outgoing,
    counters: Arc<Counters>,
) -> (Ended, WriteHalf<S>) {
    loop {
        let bytes = tokio::select! {
            // What was said before a picture was made goes before it.
            biased;
            reply = outgoing.replies.recv() => match reply {
                Some(bytes) => bytes,
                None => return (Ended::LoggedOff, writer),
            },
            Some(wave) = outgoing.sounds.recv() => wave,
            Some(frame) = outgoing.frames.recv() => match frame {
                Ok(frame) if frame.generation == outgoing.generation.load(Ordering::Acquire) => {
                    frame.bytes
                }
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "desktop lost");
                    return (Ended::NoDesktop, writer);
                }
            },
        };
        let done = timeout(WRITE_TIMEOUT, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        if !matches!(done.await, Ok(Ok(()))) {
            return (Ended::Lost, writer);
        }
        counters.sent(bytes.len());
    }
}

/// Tells the client that the server ends the connection, if it still listens.
pub async fn goodbye<S: AsyncWrite>(writer: &mut Option<WriteHalf<S>>) {
    let Some(writer) = writer else { return };
    let reason = DisconnectReason::ProviderInitiated;
    let ultimatum =
        McsMessage::DisconnectProviderUltimatum(DisconnectProviderUltimatum::from_reason(reason));
    if let Ok(bytes) = encode_vec(&X224(ultimatum)) {
        // A client that is gone does not hear it.
        let _ = timeout(Duration::from_secs(1), async {
            writer.write_all(&bytes).await?;
            writer.shutdown().await
        })
        .await;
    }
}
