//! A desktop's programs: started, stopped, and started anew.

use std::sync::Arc;

use lucid_rdp::controller::Ending;

use super::launch::{self, Running};
use super::{DesktopId, Desktops, DesktopsError, blocking};

impl Desktops {
    /// Opens its port and starts it; it goes on without anybody until it is stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(self: &Arc<Self>, id: &DesktopId) -> Result<(), DesktopsError> {
        self.on()?;
        let gate = self.entry(id, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        self.enable(id, true).await?;
        self.entry(id, |entry| entry.wanted = true)?;
        self.listen(id);
        self.bring_up(id).await.map(drop)
    }

    /// Closes its port, ends its session and stops it.
    ///
    /// # Errors
    /// From the index, or when its recording could not be closed in order.
    pub async fn stop(self: &Arc<Self>, id: &DesktopId) -> Result<(), DesktopsError> {
        let gate = self.entry(id, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        self.enable(id, false).await?;
        self.close_port(id);
        let session = self.entry(id, |entry| {
            entry.wanted = false;
            entry.listening = None;
            entry.session
        })?;
        if let Some(session) = session.and_then(|session| self.session(session)) {
            session.end(Ending::Operator);
            self.close_session(&session).await?;
        }
        self.take_down(id).await;
        self.tell(id);
        Ok(())
    }

    async fn enable(self: &Arc<Self>, id: &DesktopId, enabled: bool) -> Result<(), DesktopsError> {
        let (this, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            this.change(&id, |desktop| {
                desktop.enabled = enabled;
                Ok(())
            })
            .map(drop)
        })
        .await
    }

    /// Starts the X server and the session command, if they do not run. The gate is held.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        id: &DesktopId,
    ) -> Result<Arc<Running>, DesktopsError> {
        if let Some(running) = self.entry(id, |entry| entry.running.clone())? {
            if running.is_up() {
                return Ok(running);
            }
            self.take_down(id).await;
        }
        let desktop = self.entry(id, |entry| {
            (entry.starting, entry.failed) = (true, None);
            entry.desktop.clone()
        })?;
        self.tell(id);
        let started = launch::start(&desktop, &self.config).await;
        let outcome = self.entry(id, |entry| {
            entry.starting = false;
            match started {
                Ok(running) => {
                    let running = Arc::new(running);
                    entry.running = Some(Arc::clone(&running));
                    Ok(running)
                }
                Err(why) => {
                    entry.failed = Some(why.clone());
                    Err(DesktopsError::Failed(why))
                }
            }
        })?;
        self.tell(id);
        outcome
    }

    /// Stops X server and programs. The gate is held.
    pub(super) async fn take_down(&self, id: &DesktopId) {
        let running = self.entry(id, |entry| {
            entry.usage.clear();
            entry.over = None;
            entry.running.take()
        });
        if let Ok(Some(running)) = running {
            running.stop().await;
        }
    }
}
