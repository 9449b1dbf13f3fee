//! The engine of a chain of one: at every interval this node proposes, guards, signs alone and
//! commits.
//!
//! This is all that knows that there are no peers. A consensus engine calls the same [`Core`]
//! functions from its own rounds: propose when asked for a value, guard before each vote, commit
//! when a value is decided.

use crate::core::Core;
use crate::error::NodeError;
use crate::node::{Clock, NewBlock, Production, State};
use lucid_chain::CommitCertificate;
use lucid_chain::certificate::sign_precommit;
use lucid_evidence::SigningKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// Asks for a block at once.
pub(crate) type Request = oneshot::Sender<Result<Arc<NewBlock>, NodeError>>;

pub(crate) struct Solo {
    pub core: Arc<Core>,
    pub key: Arc<SigningKey>,
    pub clock: Clock,
    pub production: Production,
    pub requests: mpsc::Receiver<Request>,
    pub blocks: broadcast::Sender<Arc<NewBlock>>,
    pub state: watch::Sender<State>,
    pub shutdown: CancellationToken,
}

/// One block from proposal to commit. Blocks the thread.
fn produce(core: &Core, key: &SigningKey, now_us: u64) -> Result<Arc<NewBlock>, NodeError> {
    let proposed = core.propose(now_us, key.public())?;
    let ledger = core.tip().ledger;
    let index = ledger.validators().index_of(&key.public());
    let (Some(index), 1) = (index, ledger.validators().count()) else {
        let validators = ledger.validators().count();
        return Err(NodeError::NotAlone { key: key.public(), validators });
    };
    core.guard(&proposed)?;
    let (height, id) = (proposed.block.header.height, proposed.block.id());
    let signature = sign_precommit(key, ledger.chain(), height, proposed.round, &id);
    let signatures = vec![(index, signature)];
    let certificate = CommitCertificate { height, round: proposed.round, block: id, signatures };
    core.commit(proposed.block, certificate)
}

impl Solo {
    /// Makes blocks until the shutdown, and one more then if something waits.
    pub(crate) async fn run(mut self) {
        let mut period = self.period();
        let mut ticks = interval_at(Instant::now() + period, period);
        // Blocks keep their distance after a pause; they do not catch up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let request = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                request = self.requests.recv() => match request {
                    Some(request) => Some(request),
                    None => break,
                },
                _ = ticks.tick(), if self.production == Production::Interval => None,
            };
            let result = self.produce().await;
            let failed = self.note(&result);
            if let Some(reason) = &failed {
                self.state.send_replace(State::Failed(reason.clone()));
            }
            if let Some(request) = request {
                let _ = request.send(result.map_err(NodeError::Shared));
            }
            if failed.is_some() {
                return;
            }
            let wanted = self.period();
            if wanted != period {
                period = wanted;
                ticks = interval_at(Instant::now() + period, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
        }
        let mut state = State::Stopped;
        if self.core.waiting() > 0
            && let Err(error) = self.produce().await
        {
            let waiting = self.core.waiting();
            tracing::warn!(%error, waiting, "stopped without a last block");
            state = State::Failed(error);
        }
        self.state.send_replace(state);
    }

    fn period(&self) -> Duration {
        let ledger = self.core.tip().ledger;
        Duration::from_millis(u64::from(ledger.parameters().block_interval_ms()))
    }

    /// Makes a block off the runtime's threads, because the disk is waited for.
    async fn produce(&self) -> Result<Arc<NewBlock>, Arc<NodeError>> {
        let (core, key, clock) = (self.core.clone(), self.key.clone(), self.clock.clone());
        let made = tokio::task::spawn_blocking(move || produce(&core, &key, clock())).await;
        made.unwrap_or_else(|error| Err(NodeError::Task(error.to_string()))).map_err(Arc::new)
    }

    /// Tells the world about a block or its failure; returns the reason if the node cannot go on.
    fn note(&self, result: &Result<Arc<NewBlock>, Arc<NodeError>>) -> Option<Arc<NodeError>> {
        match result {
            Ok(block) => {
                self.state.send_if_modified(|state| {
                    let changed = *state != State::Running;
                    *state = State::Running;
                    changed
                });
                // Nobody listening is no fault.
                let _ = self.blocks.send(block.clone());
                None
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "no block made; trying again");
                self.state.send_replace(State::Waiting(error.to_string()));
                None
            }
            Err(error) => {
                tracing::error!(%error, "the chain node stops");
                Some(error.clone())
            }
        }
    }
}
