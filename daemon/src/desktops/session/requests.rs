//! What a worker asks for because the policy denies it, and what operators answer.

use std::sync::Arc;

use lucid_rdp::event::{Approval, EventKind};
use lucid_rdp::policy::Capability;

use super::super::view::ApprovalView;
use super::{Inner, Session};
use crate::events::Topic;
use crate::http::time::{Rfc3339, now_us};

/// How long a request for approval waits for an answer, microseconds.
pub const APPROVAL_WAITS_US: u64 = 300_000_000;
/// What was denied is not asked for again for so long, microseconds.
const DENIED_PAUSE_US: u64 = 60_000_000;
/// Requests kept of a session; the oldest answered ones go.
const REQUESTS_MAX: usize = 64;

/// A request.
pub(super) struct Request {
    /// Its number in the session, from 1.
    pub number: u64,
    /// What is asked for.
    pub capability: Capability,
    /// Who asks.
    pub user: String,
    /// How it stands.
    pub state: Approval,
    /// When, microseconds since 1970.
    pub asked_us: u64,
    /// When and by whom it was answered.
    pub answered: Option<(u64, String)>,
}

/// Why a request cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// There is none of this number.
    Unknown,
    /// It was answered, or nobody did so in time.
    Over,
}

impl Session {
    /// A denied action becomes a request for approval, once for each kind of action.
    pub(super) fn ask(
        &self,
        inner: &mut Inner,
        capability: Capability,
        user: &str,
    ) -> Option<ApprovalView> {
        let now = now_us();
        let known = inner.requests.iter().any(|request| {
            let answered_us = request.answered.as_ref().map_or(request.asked_us, |(at, _)| *at);
            request.capability == capability
                && (request.state == Approval::Asked
                    || now.saturating_sub(answered_us) < DENIED_PAUSE_US)
        });
        if known {
            return None;
        }
        if inner.requests.len() >= REQUESTS_MAX {
            let oldest = inner.requests.iter().position(|one| one.state != Approval::Asked)?;
            inner.requests.remove(oldest);
        }
        inner.asked += 1;
        let (number, user) = (inner.asked, user.to_owned());
        let state = Approval::Asked;
        let by = user.clone();
        self.note(EventKind::Approval { request: number, capability, approval: state, by });
        let answered = None;
        inner.requests.push(Request { number, capability, user, state, asked_us: now, answered });
        inner.requests.last().map(|request| self.approval_view(request))
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When there is none that waits under this number.
    pub fn answer(&self, number: u64, grant: bool, by: &str) -> Result<ApprovalView, Unanswerable> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let request = inner.requests.iter_mut().find(|request| request.number == number);
        let request = request.ok_or(Unanswerable::Unknown)?;
        if request.state != Approval::Asked || inner.ending.is_some() {
            return Err(Unanswerable::Over);
        }
        request.state = if grant { Approval::Granted } else { Approval::Denied };
        request.answered = Some((now_us(), by.to_owned()));
        let (capability, approval, by) = (request.capability, request.state, by.to_owned());
        // First the event, then the effect: what is allowed is recorded before it can be used.
        self.note(EventKind::Approval { request: number, capability, approval, by });
        if grant {
            let changed = inner.force.grant(capability);
            self.note(changed);
            self.policy.send_replace(Arc::new(inner.force.effective().clone()));
        }
        let view = self.approval_view(request);
        drop(guard);
        self.herald.events.publish(Topic::Approval, &view);
        self.tell();
        Ok(view)
    }

    /// Its requests, newest first.
    pub fn approvals(&self) -> Vec<ApprovalView> {
        self.lock().requests.iter().rev().map(|request| self.approval_view(request)).collect()
    }

    pub(super) fn approval_view(&self, request: &Request) -> ApprovalView {
        ApprovalView {
            id: format!("{}.{}", self.id, request.number),
            session_id: self.id.to_string(),
            desktop_id: self.desktop.to_string(),
            desktop_name: self.desktop_name.clone(),
            user: request.user.clone(),
            capability: request.capability.as_str(),
            state: request.state.as_str(),
            asked_at: Rfc3339::from_us(request.asked_us),
            expires_at: Rfc3339::from_us(request.asked_us.saturating_add(APPROVAL_WAITS_US)),
            answered_at: request.answered.as_ref().map(|(at, _)| Rfc3339::from_us(*at)),
            answered_by: request
                .answered
                .as_ref()
                .map(|(_, by)| by.clone())
                .filter(|by| !by.is_empty()),
        }
    }
}
