//! One desktop in memory: as it is set up, and what runs of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lucid_evidence::SessionId;
use lucid_rdp::monitor::{Counted, Counters};

use super::DesktopsError;
use super::launch::{Running, Usage};
use super::policy::PolicyBody;
use super::stored::Desktop;
use super::view::{DesktopView, Kept};
use crate::http::time::Rfc3339;
use crate::sources::Retention;

/// A desktop and what runs of it.
pub(super) struct Entry {
    /// As it is set up.
    pub desktop: Desktop,
    /// Its programs.
    pub running: Option<Arc<Running>>,
    /// Its programs are being started.
    pub starting: bool,
    /// Why it last ended or did not start, and when its port could not be opened.
    pub failed: Option<String>,
    /// The end of its programs that was dealt with.
    pub over: Option<String>,
    /// Where its port listens, once that was tried.
    pub listening: Option<Result<SocketAddr, String>>,
    /// The session on it.
    pub session: Option<SessionId>,
    /// An operator started it: it goes on without anybody.
    pub wanted: bool,
    /// Held while it starts, stops or lets somebody in.
    pub gate: Arc<tokio::sync::Mutex<()>>,
    /// What it took, oldest first.
    pub usage: Vec<Usage>,
    /// What the wire counts.
    pub counters: Arc<Counters>,
    /// When it was last looked at, and what was counted then.
    pub counted: (Instant, Counted),
}

impl Entry {
    /// Nothing of it runs.
    pub fn new(desktop: Desktop) -> Self {
        Self {
            desktop,
            running: None,
            starting: false,
            failed: None,
            over: None,
            listening: None,
            session: None,
            wanted: false,
            gate: Arc::default(),
            usage: Vec::new(),
            counters: Arc::default(),
            counted: (Instant::now(), Counted::default()),
        }
    }
}

/// As the API shows it.
pub(super) fn view_of(entry: &Entry) -> DesktopView {
    let Desktop { id, definition, owner, port, enabled, limits, .. } = entry.desktop.clone();
    let up = entry.running.as_ref().is_some_and(|running| running.is_up());
    let unheard = entry.listening.as_ref().and_then(|listening| listening.as_ref().err());
    let (state, state_reason) = match (enabled, up, entry.starting) {
        (_, true, _) => ("running", unheard.cloned()),
        (_, _, true) => ("starting", None),
        (false, ..) => ("stopped", entry.failed.clone()),
        _ => match entry.failed.as_ref().or(unheard) {
            Some(why) => ("failed", Some(why.clone())),
            None => ("ready", None),
        },
    };
    let Retention { max_age_s, max_bytes } = entry.desktop.retention;
    DesktopView {
        id: id.to_string(),
        name: definition.name,
        owner,
        width: definition.width,
        height: definition.height,
        command: definition.command,
        restart: definition.restart,
        port,
        enabled,
        state,
        state_reason,
        has_picture: up,
        limits,
        policy: PolicyBody::from(&entry.desktop.policy),
        retention: Kept { max_age_s, max_bytes },
        created_at: Rfc3339::from_us(entry.desktop.created_us),
        session_id: entry.session.map(|session| session.to_string()),
    }
}

/// Checks how long recordings are kept.
pub(super) fn check_retention(retention: &Retention) -> Result<(), DesktopsError> {
    let field = |field, message| Err(DesktopsError::Field { field, message });
    if retention.max_age_s.is_some_and(|age| age < crate::sources::AGE_S_MIN) {
        let message = format!("expected at least {} seconds", crate::sources::AGE_S_MIN);
        return field("retention.max_age_s", message);
    }
    if retention.max_bytes.is_some_and(|bytes| bytes < crate::sources::BYTES_MIN) {
        let message = format!("expected at least {} bytes", crate::sources::BYTES_MIN);
        return field("retention.max_bytes", message);
    }
    Ok(())
}
