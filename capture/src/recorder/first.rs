//! Trying a source before its session is opened: what is refused outright leaves nothing behind.

use super::RecorderError;
use super::run::{
    BACKOFF_FIRST, BACKOFF_MAX, Driver, POLL, Persistence, SourceState, may_come_back,
};
use super::session::ActiveSession;
use crate::media::MediaEvent;
use crate::source::SourceError;
use std::time::Instant;

/// A source whose first media is here.
pub(super) struct First {
    /// The source.
    pub stream: crate::Stream,
    /// What it gave, its first fragment last.
    pub events: Vec<MediaEvent>,
}

/// How a try ended that gave no media.
enum Miss {
    /// Asked to stop.
    Stop,
    /// Nothing came for too long.
    Stalled,
    /// The source cannot be opened, or died.
    Failed(SourceError),
}

impl Driver {
    /// Tries the source, again and again if it may come back, until its first media is here, and
    /// opens a session for it then. None if it is refused, or the recording was asked to stop.
    pub(super) fn first_media(&mut self) -> Result<Option<(ActiveSession, First)>, RecorderError> {
        let mut backoff = BACKOFF_FIRST;
        let again = self.config.persistence == Persistence::Always;
        loop {
            self.source(SourceState::Connecting, "opening");
            let miss = match crate::open(&self.config.uri, &self.config.options) {
                Ok(stream) => match self.try_one(stream) {
                    Ok(first) => return self.session_for(first).map(Some),
                    Err(miss) => miss,
                },
                Err(error) => Miss::Failed(error),
            };
            match miss {
                Miss::Stop => {
                    self.source(SourceState::Idle, "stopped");
                    return Ok(None);
                }
                Miss::Stalled => {
                    let state = if again { SourceState::Stalled } else { SourceState::Refused };
                    self.source(state, "the source delivers nothing");
                    if !again {
                        return Ok(None);
                    }
                }
                Miss::Failed(error) => {
                    if !again || !may_come_back(&self.config.uri, &error) {
                        self.refuse(&error);
                        return Ok(None);
                    }
                    self.source(SourceState::Failed, &error.to_string());
                }
            }
            if self.pause(backoff).is_some() {
                self.source(SourceState::Idle, "stopped");
                return Ok(None);
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Waits for the first fragment of a source.
    fn try_one(&self, mut stream: crate::Stream) -> Result<First, Miss> {
        let mut events = Vec::new();
        let began = Instant::now();
        loop {
            if self.stopped().is_some() {
                return Err(Miss::Stop);
            }
            match stream.next(POLL) {
                None if began.elapsed() > self.config.stall_after => return Err(Miss::Stalled),
                None => {}
                Some(event @ MediaEvent::Fragment(_)) => {
                    events.push(event);
                    return Ok(First { stream, events });
                }
                Some(event @ MediaEvent::Init(_)) => events.push(event),
                // What was lost before the session is not missing in it.
                Some(MediaEvent::Lost(_)) => {}
                Some(MediaEvent::Ended) => {
                    return Err(Miss::Failed(SourceError::Empty {
                        source_name: self.config.uri.to_string(),
                        detail: "it ended before its first picture".into(),
                    }));
                }
                Some(MediaEvent::Failed(error)) => return Err(Miss::Failed(error)),
            }
        }
    }

    fn session_for(&mut self, first: First) -> Result<(ActiveSession, First), RecorderError> {
        let began_us = first.events.iter().find_map(|event| match event {
            MediaEvent::Fragment(fragment) => Some(fragment.captured_at_us),
            _ => None,
        });
        match self.open_session(began_us) {
            Ok(mut session) => {
                session.writer().media_is_here();
                Ok((session, first))
            }
            Err(error) => {
                self.source(SourceState::Refused, &error.to_string());
                Err(error)
            }
        }
    }
}
