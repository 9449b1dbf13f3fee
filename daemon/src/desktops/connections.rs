//! Sessions as operators see them: listed, answered, ended.

use std::sync::Arc;
use std::time::Duration;

use lucid_evidence::SessionId;
use lucid_evidence::manifest::EndReason;
use lucid_rdp::controller::{Ending, Timing};

use super::view::{ApprovalView, ConnectionView};
use super::{Desktops, DesktopsError, Session, Unanswerable, blocking, lock};
use crate::events::Topic;
use crate::recordings::RecordingsError;

impl Desktops {
    /// A session that runs.
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.known().sessions.get(&id).cloned()
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.known().sessions.values().cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Sessions that run.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.sessions().iter().map(|session| session.view()).collect()
    }

    /// Requests of sessions that run, newest first.
    pub fn approvals(&self) -> Vec<ApprovalView> {
        let mut all: Vec<ApprovalView> =
            self.sessions().iter().flat_map(|session| session.approvals()).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.asked_at));
        all
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When there is none that waits under this name.
    pub fn answer(&self, id: &str, grant: bool, by: &str) -> Result<ApprovalView, DesktopsError> {
        let unknown = || DesktopsError::NoSuch("approval", id.to_owned());
        let (session, number) = id.rsplit_once('.').ok_or_else(unknown)?;
        let session = session.parse().ok().and_then(|id| self.session(id)).ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        session.answer(number, grant, by).map_err(|error| match error {
            Unanswerable::Unknown => unknown(),
            Unanswerable::Over => DesktopsError::Answered,
        })
    }

    /// Ends a session on behalf of an operator, and waits until it is stored.
    ///
    /// # Errors
    /// When it does not run, or could not be closed in order.
    pub async fn terminate(self: &Arc<Self>, id: SessionId) -> Result<(), DesktopsError> {
        let unknown = || DesktopsError::NoSuch("connection", id.to_string());
        let session = self.session(id).ok_or_else(unknown)?;
        let gate = self.entry(&session.desktop, |entry| Arc::clone(&entry.gate))?;
        let _alone = gate.lock().await;
        if self.session(id).is_none() {
            return Ok(());
        }
        session.end(Ending::Operator);
        self.close_session(&session).await
    }

    /// Ends a session whose controller has come to an end, and what belongs to it. The gate of its
    /// desktop is held.
    pub(super) async fn close_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
    ) -> Result<(), DesktopsError> {
        let reason = match session.ending() {
            Some(Ending::Void) => EndReason::Void,
            Some(Ending::TooLong) => EndReason::Limit,
            Some(Ending::DesktopLost) => EndReason::SourceFailed,
            _ => EndReason::Stopped,
        };
        let (this, it) = (Arc::clone(self), Arc::clone(session));
        let closed = blocking(move || this.close_now(&it, reason)).await;
        let id = &session.desktop;
        let ended_itself =
            matches!(session.ending(), Some(Ending::LoggedOut | Ending::DesktopLost));
        let again = self.entry(id, |entry| {
            entry.session = entry.session.filter(|now| *now != session.id);
            entry.wanted || (ended_itself && entry.desktop.definition.restart)
        });
        // Whoever comes next finds nothing of whoever was there.
        self.take_down(id).await;
        if again.unwrap_or(false)
            && let Err(error) = self.bring_up(id).await
        {
            tracing::warn!(desktop = %id, %error, "a desktop does not start again");
        }
        self.tell(id);
        closed
    }

    pub(super) fn close_now(
        &self,
        session: &Arc<Session>,
        reason: EndReason,
    ) -> Result<(), DesktopsError> {
        session.unwatch_windows();
        let forced = session.ending().filter(|it| matches!(it, Ending::Void | Ending::Operator));
        let forced = forced.map(Ending::as_str);
        let stopped = self.recordings.stop_desktop(session.id, reason, forced);
        {
            let mut register = lock(&self.register);
            if let Some(credential) = register.session_over(session.id) {
                self.stored.put_credentials(&[credential], &[])?;
            }
        }
        self.known().sessions.remove(&session.id);
        self.herald.events.publish(Topic::Connection, &session.view());
        match stopped {
            Ok(()) | Err(RecordingsError::NotRecording(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn timing(&self) -> Timing {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Timing {
            notice_us: us(self.config.notice),
            idle_us: us(self.config.idle),
            grace_us: us(self.config.grace),
            longest_us: us(self.config.longest),
            ..Timing::default()
        }
    }
}
