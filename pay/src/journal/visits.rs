//! Hands verified frames on: hashing them and making sense of them are two threads' work, once
//! there are enough of them to be worth a thread.

use super::JournalError;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes of payloads handed over at once.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that may wait.
const BATCHES_MAX: usize = 8;

/// Payloads of consecutive frames.
#[derive(Default)]
struct Batch {
    first: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn visit(
        &self,
        visit: &mut impl FnMut(u64, &[u8]) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut start = 0;
        for (frame, end) in (self.first..).zip(&self.ends) {
            visit(frame, &self.bytes[start..*end])?;
            start = *end;
        }
        Ok(())
    }
}

type Worker<'scope> = (SyncSender<Batch>, ScopedJoinHandle<'scope, Result<(), JournalError>>);

/// Collects payloads and visits them.
pub(super) struct Visits<'scope, 'env, V> {
    scope: &'scope Scope<'scope, 'env>,
    visit: Option<V>,
    worker: Option<Worker<'scope>>,
    batch: Batch,
}

impl<'scope, 'env, V> Visits<'scope, 'env, V>
where
    V: FnMut(u64, &[u8]) -> Result<(), JournalError> + Send + 'scope,
{
    pub fn new(scope: &'scope Scope<'scope, 'env>, visit: V) -> Self {
        Self { scope, visit: Some(visit), worker: None, batch: Batch::default() }
    }

    /// The next frame's payload.
    pub fn push(&mut self, frame: u64, payload: &[u8]) -> Result<(), JournalError> {
        if self.batch.ends.is_empty() {
            self.batch.first = frame;
        }
        self.batch.bytes.extend_from_slice(payload);
        self.batch.ends.push(self.batch.bytes.len());
        if self.batch.bytes.len() < BATCH_BYTES {
            return Ok(());
        }
        if let Some(mut visit) = self.visit.take() {
            let (sender, batches) = sync_channel::<Batch>(BATCHES_MAX);
            let handle = self
                .scope
                .spawn(move || batches.into_iter().try_for_each(|batch| batch.visit(&mut visit)));
            self.worker = Some((sender, handle));
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), JournalError> {
        let batch = std::mem::take(&mut self.batch);
        match &self.worker {
            // The worker ends early only with an error, which joining tells.
            Some((sender, _)) if sender.send(batch).is_err() => self.join(),
            _ => Ok(()),
        }
    }

    fn join(&mut self) -> Result<(), JournalError> {
        let Some((sender, handle)) = self.worker.take() else { return Ok(()) };
        drop(sender);
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Everything is visited when this returns.
    pub fn finish(&mut self) -> Result<(), JournalError> {
        match self.visit.take() {
            Some(mut visit) => self.batch.visit(&mut visit),
            None => {
                self.send()?;
                self.join()
            }
        }
    }
}
