//! Recordings of sessions on desktops: one each, from before its first client until it ends.

use std::sync::Arc;

use lucid_capture::recorder::{self, EventFeed, Limits, Persistence, RecorderConfig, SessionSpec};
use lucid_capture::{SourceUri, StreamOptions};
use lucid_evidence::manifest::{EndReason, SourceInfo};
use lucid_evidence::{Hash, SessionId};
use lucid_rdp::event::encode_lost;
use lucid_rdp::session::RunningDesktop;

use super::{Recordings, RecordingsError, STALL_AFTER, lock};

/// Pictures a second of a desktop, at most.
const FPS_MAX: u32 = 15;
/// Widest and highest desktop that is recorded pixel by pixel.
const SIDE_MAX: u32 = 8192;

/// A session on a desktop that is to be recorded.
pub struct DesktopJob {
    /// Its identifier, never used before.
    pub session: SessionId,
    /// The desktop.
    pub desktop_id: String,
    /// Its name.
    pub desktop_name: String,
    /// Who works on it.
    pub user: String,
    /// Hash of the policy.
    pub policy: Hash,
    /// Its X server.
    pub shown: RunningDesktop,
}

impl Recordings {
    /// Begins to record a session: it is in the archive and on its way to the chain when this
    /// returns. Blocks.
    ///
    /// # Errors
    /// When the archive takes no new session, or the identifier was used before.
    pub fn start_desktop(&self, job: DesktopJob) -> Result<EventFeed, RecordingsError> {
        let encoders = lock(&self.encoders).clone().ok_or(RecordingsError::Starting)?;
        let uri = format!("screen://:{}", job.shown.display);
        let uri = SourceUri::parse(&uri).map_err(|_| RecordingsError::Starting)?;
        let mut options = StreamOptions::new(encoders);
        options.audio = false;
        options.screen_access = job.shown.access();
        // One run of the encoder serves the recording and the clients.
        options.encoded = Some(job.shown.encoded.clone());
        (options.max_width, options.max_height, options.max_fps) = (SIDE_MAX, SIDE_MAX, FPS_MAX);
        let config = RecorderConfig {
            uri,
            options,
            spec: SessionSpec {
                id: Some(job.session),
                source_id: job.desktop_id,
                source: SourceInfo {
                    kind: "desktop".into(),
                    address: format!("desktop://{}", job.desktop_name),
                    name: job.desktop_name,
                },
                device_name: self.device_name.clone(),
                software: format!("lucid {}", env!("CARGO_PKG_VERSION")),
                policy: Some(job.policy),
                participants: vec![job.user],
                note: String::new(),
            },
            limits: Limits::default(),
            stop_after_us: None,
            roll_after_us: None,
            stall_after: STALL_AFTER,
            // A new X server is another desktop: the session ends with the one it began on.
            persistence: Persistence::Never,
            events: Some(encode_lost()),
        };
        if lock(&self.slots).closed {
            return Err(RecordingsError::Starting);
        }
        let (archive, anchor) = (Arc::clone(&self.archive), Arc::clone(&self.anchor));
        let recording = recorder::start(archive, anchor, Arc::clone(&self.observer), config)?;
        let feed = recording.events().ok_or(RecordingsError::Starting)?;
        lock(&self.slots).desktops.insert(job.session, recording);
        Ok(feed)
    }

    /// Ends the recording of a session and waits until it is stored; `forced` says why it is ended
    /// against its will, if it is. Blocks.
    ///
    /// # Errors
    /// When it does not record, or could not be closed in order.
    pub fn stop_desktop(
        &self,
        session: SessionId,
        reason: EndReason,
        forced: Option<&str>,
    ) -> Result<(), RecordingsError> {
        let recording = lock(&self.slots).desktops.remove(&session);
        let recording = recording.ok_or(RecordingsError::NotRecording(session))?;
        match forced {
            Some(why) => recording.terminate(reason, why),
            None => recording.stop(reason),
        }
        recording.join().map_err(RecordingsError::Recorder)?;
        Ok(())
    }

    /// Whether the recording of a session has come to its end by itself.
    pub fn desktop_ended(&self, session: SessionId) -> bool {
        lock(&self.slots).desktops.get(&session).is_none_or(|recording| recording.has_ended())
    }

    /// Whether the archive knows a session.
    pub fn has_session(&self, session: SessionId) -> bool {
        self.archive.session(session).is_ok()
    }
}
