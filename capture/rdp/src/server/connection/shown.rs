//! What a client sees: the notice, then the desktop.

use std::sync::atomic::Ordering;

use super::{Activity, Session};
use crate::event::EventKind;
use crate::server::channels::Static;
use crate::server::hands::Hands;
use crate::server::outgoing::Frame;
use crate::server::picture::{Encoder, Part};
use crate::server::screen::Screen;
use crate::server::sharing::{self, Sharing};
use crate::server::video::Projection;
use crate::session::Ended;

impl Session {
    /// Shows the notice, and nothing else.
    pub(super) async fn ask(&mut self) -> Result<(), Ended> {
        let bytes = self.notice_picture()?;
        let frame = Frame { generation: self.outbox.generation.load(Ordering::Acquire), bytes };
        self.outbox.frames.send(Ok(frame)).await.map_err(|_| Ended::Lost)?;
        self.admission.events.record(EventKind::NoticeShown { text: self.notice.hash() });
        Ok(())
    }

    fn notice_picture(&self) -> Result<Vec<u8>, Ended> {
        let (width, height) = self.size();
        let canvas = self.notice.draw(width, height);
        let mut encoder = Encoder::new(self.accepted, width, height);
        let mut out = Vec::new();
        let all = Part { x: 0, y: 0, width, height };
        encoder.append(&mut out, canvas.pixels(), &[all]).map_err(|error| {
            tracing::warn!(%error, "notice cannot be shown");
            Ended::NoDesktop
        })?;
        Ok(out)
    }

    /// Shows the desktop and lets input through.
    pub(super) fn show(&mut self) -> Result<(), Ended> {
        if std::mem::replace(&mut self.shown, true) {
            return Ok(());
        }
        if !self.admission.observer {
            match Hands::connect(&self.admission.desktop, self.gate.policy()) {
                Ok(hands) => self.hands = Some(hands),
                Err(error) => {
                    tracing::warn!(%error, "desktop lost");
                    return Err(Ended::NoDesktop);
                }
            }
            if self.channels.has(Static::Clipboard) {
                let policy = self.admission.policy.borrow().clone();
                let now_us = self.now_us();
                self.sharing = Sharing::begin(&self.admission.desktop, policy, now_us);
                self.limit_clipboard();
                self.share(|_, _| sharing::greeting());
            }
            self.listen();
        }
        self.watch()
    }

    /// Begins to send the desktop's pictures.
    pub(super) fn watch(&mut self) -> Result<(), Ended> {
        self.video_due = true;
        let screen = Screen {
            desktop: self.admission.desktop.clone(),
            accepted: self.accepted,
            wishes: self.wishes.clone(),
            frames: self.outbox.frames.clone(),
            generation: self.outbox.generation.clone(),
            resized: self.resized.clone(),
            video: self.video.clone(),
            counters: self.admission.counters.clone(),
        };
        screen.start().map_err(|error| {
            tracing::warn!(%error, "desktop cannot be shown");
            Ended::NoDesktop
        })
    }

    /// Begins to send the recording's pictures, if the client takes them and may see them now.
    pub(super) fn project(&mut self) {
        let generation = self.outbox.generation.load(Ordering::Acquire);
        let carrier = self.channels.carrier(Static::Dynamic);
        let active = matches!(self.activity, Activity::Active(_));
        let (Some(carrier), true) = (carrier, self.shown && active && self.video.is_agreed())
        else {
            return;
        };
        if self.projected.replace(generation) == Some(generation) {
            return;
        }
        let projection = Projection {
            desktop: self.admission.desktop.clone(),
            video: self.video.clone(),
            wishes: self.wishes.clone(),
            carrier,
            frames: self.outbox.frames.clone(),
            generation: self.outbox.generation.clone(),
            counters: self.admission.counters.clone(),
        };
        if let Err(error) = projection.start() {
            tracing::warn!(%error, "a client gets no video");
        }
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.admission.desktop.width, self.admission.desktop.height)
    }
}
