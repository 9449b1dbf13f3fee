//! The thread that makes written records durable, while the writer goes on with the next.
//!
//! The engine must not have more than [`UNSYNCED_BYTES_MAX`] written and not synced, so the writer
//! asks for room before each step. A volume whose sync failed once acknowledges nothing any more.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{Shared, VolumeId, lock};
use crate::StoreError;
use crate::volume::{UNSYNCED_BYTES_MAX, Volume};

/// Where an append is acknowledged.
pub(super) type Reply = SyncSender<Result<VolumeId, StoreError>>;

/// Steps handed over and not taken up yet; their bytes are bounded by the room asked for.
const STEPS_MAX: usize = 64;

/// Records in the engine's log that wait for a sync.
pub(super) struct Written {
    pub(super) volume: VolumeId,
    /// What they count against [`UNSYNCED_BYTES_MAX`], in bytes.
    pub(super) cost: usize,
    /// Who waits for them, and for what was written before.
    pub(super) replies: Vec<Reply>,
}

/// The writer's end.
pub(super) struct Syncing {
    steps: Option<SyncSender<Written>>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes and steps written and not synced.
    bytes: usize,
    steps: usize,
    /// The last volume that could not be synced, and why.
    failed: Option<(VolumeId, StoreError)>,
}

impl Syncing {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Syncing, StoreError> {
        let (steps, queue) = sync_channel(STEPS_MAX);
        let progress = Arc::new(Progress::default());
        let root = shared.settings.root.clone();
        let syncer = Syncer { shared, progress: progress.clone() };
        let thread = Builder::new()
            .name("store-sync".into())
            .spawn(move || syncer.run(&queue))
            .map_err(|e| StoreError::io("start a thread for", &root, e))?;
        Ok(Syncing { steps: Some(steps), progress, thread: Some(thread) })
    }

    /// Waits until `cost` more bytes may be written, or nothing is unsynced.
    pub(super) fn wait_for_room(&self, cost: usize) {
        self.wait(|state| state.steps == 0 || state.bytes + cost <= UNSYNCED_BYTES_MAX);
    }

    /// Waits until everything written is synced, or has failed.
    pub(super) fn drain(&self) {
        self.wait(|state| state.steps == 0);
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let mut state = lock(&self.progress.state);
        while !until(&state) {
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has records synced and their callers told.
    pub(super) fn sync(&self, written: Written) {
        let cost = written.cost;
        {
            let mut state = lock(&self.progress.state);
            state.steps += 1;
            state.bytes += cost;
        }
        let sent = self.steps.as_ref().is_some_and(|steps| steps.send(written).is_ok());
        if !sent {
            // The thread is gone; its callers see their replies dropped, which says `Closed`.
            self.progress.done(1, cost);
        }
    }

    /// Why the volume takes nothing any more, if its last sync failed.
    pub(super) fn failure(&self, volume: VolumeId) -> Option<StoreError> {
        lock(&self.progress.state).failure(volume)
    }

    /// Bytes written and not synced.
    pub(super) fn unsynced_bytes(&self) -> usize {
        lock(&self.progress.state).bytes
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        drop(self.steps.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by its thread.
            let _ = thread.join();
        }
    }
}

impl State {
    fn failure(&self, volume: VolumeId) -> Option<StoreError> {
        self.failed.as_ref().filter(|(failed, _)| *failed == volume).map(|(_, why)| why.clone())
    }
}

impl Progress {
    fn done(&self, steps: usize, bytes: usize) {
        let mut state = lock(&self.state);
        state.steps = state.steps.saturating_sub(steps);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.changed.notify_all();
    }
}

struct Syncer {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
}

/// Counts steps as done when it goes, also by a panic, so that the writer never waits for good.
struct Taken<'a> {
    progress: &'a Progress,
    steps: Vec<Written>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let bytes = self.steps.iter().map(|step| step.cost).sum();
        self.progress.done(self.steps.len(), bytes);
    }
}

impl Syncer {
    fn run(&self, queue: &Receiver<Written>) {
        while let Ok(first) = queue.recv() {
            let mut taken = Taken { progress: &self.progress, steps: vec![first] };
            taken.steps.extend(queue.try_iter());
            let mut synced: Option<(VolumeId, Result<(), StoreError>)> = None;
            for step in &mut taken.steps {
                let volume = step.volume;
                let result = match &synced {
                    Some((known, result)) if *known == volume => result.clone(),
                    _ => self.sync(volume),
                };
                for reply in step.replies.drain(..) {
                    // A caller that stopped waiting has nothing to be told.
                    let _ = reply.send(result.clone().map(|()| volume));
                }
                synced = Some((volume, result));
            }
        }
    }

    fn sync(&self, volume: VolumeId) -> Result<(), StoreError> {
        if let Some(error) = lock(&self.progress.state).failure(volume) {
            return Err(error);
        }
        let result = self.shared.with(volume, Volume::sync);
        if let Err(error) = &result {
            lock(&self.progress.state).failed = Some((volume, error.clone()));
            self.shared.fail(volume, error);
        }
        result
    }
}
