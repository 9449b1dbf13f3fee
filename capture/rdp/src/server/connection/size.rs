//! How a client follows the size of its desktop, and the desktop that of its client.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Activity, Session};
use crate::event::EventKind;
use crate::policy::Capability;
use crate::server::activation::{Activation, ActivationError};
use crate::server::capabilities::accepted;
use crate::server::display;
use crate::session::Ended;

impl Session {
    /// Has the desktop take the size the client wants. Whoever watches it will see.
    pub(super) fn change_size(&mut self) {
        let Some((size, _)) = self.size_wish.take() else { return };
        if size == self.size() || !self.gate.other(Capability::Resize) {
            return;
        }
        let desktop = self.admission.desktop.clone();
        // The X server may hang; nobody waits for it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = display::change(&desktop, size) {
                tracing::warn!(%error, "a desktop keeps its size");
            }
        });
    }

    /// Activates the client anew when the desktop has another size.
    pub(super) fn follow_size(&mut self) -> Result<(), Ended> {
        let size = *self.resized.borrow();
        if size == self.size() {
            return Ok(());
        }
        let acceptor = match std::mem::replace(&mut self.activity, Activity::Between) {
            Activity::Active(acceptor) => acceptor,
            // It is looked at again when the client is active.
            changing => {
                self.activity = changing;
                return Ok(());
            }
        };
        self.outbox.generation.fetch_add(1, Ordering::AcqRel);
        let begun = Activation::begin(acceptor, self.ids, size, &mut self.out);
        self.activity = Activity::Changing(begun.map_err(given_up)?, Instant::now());
        Ok(())
    }

    pub(super) fn activate(&mut self, message: &[u8]) -> Result<(), Ended> {
        let Activity::Changing(activation, _) = &mut self.activity else { return Ok(()) };
        let Some(result) = activation.take(message, &mut self.out).map_err(given_up)? else {
            return Ok(());
        };
        let (width, height) = activation.size();
        if let Activity::Changing(activation, _) =
            std::mem::replace(&mut self.activity, Activity::Between)
        {
            self.activity = Activity::Active(activation.into_acceptor());
        }
        self.accepted = accepted(&result.capabilities);
        (self.admission.desktop.width, self.admission.desktop.height) = (width, height);
        let (width, height) = (width.into(), height.into());
        self.admission.events.record(EventKind::Resized { width, height });
        self.follow_size()?;
        match self.activity {
            Activity::Active(_) => self.watch(),
            _ => Ok(()),
        }
    }
}

fn given_up(error: ActivationError) -> Ended {
    tracing::debug!(%error, "rdp client lost at a change of size");
    Ended::Lost
}
