//! The task that pays. It owns driver and journal; between two steps, and during steps that wait
//! for nodes, it does what the [`Office`](super::Office) hands it.
//!
//! A step that is waiting for a node is dropped when something comes in: the driver allows that at
//! every await, and the step begins again. The second time it is let through, so that a busy socket
//! cannot keep payouts from moving.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{Signer, now_ms};
use crate::client::HttpNode;
use crate::journal::{FileMedium, JournalError};
use crate::payout::driver;
use crate::payout::rules::Strict;
use crate::payout::types::TxId;
use crate::process::notify;

/// The payout driver over files and HTTP.
pub type Driver = driver::Driver<Strict, FileMedium, HttpNode, Signer>;

/// Something to do between two steps.
pub type Task = Box<dyn FnOnce(&mut Payer) + Send>;

/// Tells everybody to stop; `true` once it is time.
pub type Stop = watch::Receiver<bool>;

/// Driver and journal, and what keeps them from moving.
pub struct Payer {
    /// The driver.
    pub driver: Driver,
    /// Why nothing moves, for the status.
    pub trouble: Option<String>,
    /// Nothing may be signed: the token or the nodes are not what they should be.
    pub barred: Option<String>,
    /// Transactions just signed by a task: they are sent next, not after the next pause.
    pub due: Vec<TxId>,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Settle(TxId),
    Pay,
}

impl Payer {
    /// Over an opened driver.
    pub fn new(driver: Driver) -> Self {
        Self { driver, trouble: None, barred: None, due: Vec::new() }
    }

    /// Pays until `stop`. `poll` lies between two looks at the nodes.
    ///
    /// # Errors
    /// When the journal must be opened again to know what is durable.
    pub async fn run(
        mut self,
        mut tasks: mpsc::Receiver<Task>,
        poll: Duration,
        mut stop: Stop,
    ) -> Result<(), JournalError> {
        let watchdog = notify::watchdog();
        let mut steps: VecDeque<Step> = VecDeque::new();
        let mut interrupted = false;
        loop {
            if *stop.borrow() {
                return Ok(());
            }
            if watchdog.is_some() {
                notify::alive();
            }
            while let Ok(task) = tasks.try_recv() {
                task(&mut self);
            }
            for txid in self.due.drain(..) {
                steps.push_front(Step::Settle(txid));
            }
            let Some(step) = steps.front().copied() else {
                // A sleep longer than the watchdog's interval would look like death.
                let pause = watchdog.map_or(poll, |interval| interval.min(poll));
                tokio::select! {
                    biased;
                    _ = stop.changed() => return Ok(()),
                    task = tasks.recv() => match task {
                        Some(task) => task(&mut self),
                        None => return Ok(()),
                    },
                    () = tokio::time::sleep(pause) => {}
                }
                steps.extend(self.driver.engine.book.under_way().into_iter().map(Step::Settle));
                steps.push_back(Step::Pay);
                continue;
            };
            let done = if interrupted {
                interrupted = false;
                Some(self.step(step).await)
            } else {
                tokio::select! {
                    biased;
                    _ = stop.changed() => return Ok(()),
                    task = tasks.recv() => {
                        let Some(task) = task else { return Ok(()) };
                        interrupted = true;
                        task(&mut self);
                        None
                    }
                    done = self.step(step) => Some(done),
                }
            };
            match done {
                None => {}
                Some(Ok(again)) => {
                    self.trouble = None;
                    if !again {
                        steps.pop_front();
                    }
                }
                Some(Err(error @ JournalError::Write(_))) => {
                    // A full disk: nothing was accepted, and there may be room later.
                    tracing::error!(error = %error, "the journal cannot be written");
                    self.trouble = Some(error.to_string());
                    steps.clear();
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Does one step; whether the same is due again.
    async fn step(&mut self, step: Step) -> Result<bool, JournalError> {
        match step {
            Step::Settle(txid) => {
                self.driver.settle(txid, &now_ms).await?;
                Ok(false)
            }
            Step::Pay if self.barred.is_some() => Ok(false),
            Step::Pay => self.driver.pay(&now_ms).await,
        }
    }
}
