//! What a client says over its virtual channels, and what it is told there.

use std::time::Instant;

use super::Session;
use crate::server::channels::Static;
use crate::server::channels::chunk::ChunkError;
use crate::server::channels::dynamic::{self, Dynamic, DynamicError, Dynamics, Told};
use crate::server::display;
use crate::server::graphics::Heard;

impl Session {
    /// Begins with the virtual channels that the client joined.
    pub(super) fn open_channels(&mut self) {
        if self.channels.has(Static::Dynamic) {
            let begin = Dynamics::begin().and_then(|message| self.say_dynamic(&message));
            self.lament(begin);
        }
    }

    pub(super) fn channel(&mut self, id: u16, chunk: &[u8]) {
        if let Some(time) = self.round_trip.answer(id, chunk, Instant::now()) {
            self.admission.counters.round_trip(time);
        }
        let Some((channel, message)) = self.channels.take(id, chunk) else { return };
        match (channel, message) {
            (Static::Dynamic, Ok(message)) => {
                let done = self.dynamic(&message);
                self.lament(done);
            }
            (Static::Clipboard, Ok(message)) => self.share(|one, now_us| {
                let taken = one.clipboard.take(&message, now_us);
                taken.unwrap_or_else(|error| {
                    tracing::debug!(%error, "a message of the clipboard is dropped");
                    Vec::new()
                })
            }),
            (Static::Sound, Ok(message)) => {
                if let Err(error) = self.about_sound(&message) {
                    tracing::debug!(%error, "a message about sound is dropped");
                }
            }
            (channel, Err(error)) => {
                tracing::debug!(%error, "a message of a virtual channel is dropped");
                if let (Static::Clipboard, ChunkError::Message { .. }) = (channel, error) {
                    self.share(|one, now_us| one.clipboard.overlong(now_us));
                }
            }
        }
    }

    /// What a client says wrongly in a dynamic channel harms nobody but itself.
    fn lament(&self, done: Result<(), DynamicError>) {
        if let Err(error) = done {
            tracing::debug!(%error, "a message of a dynamic channel is dropped");
        }
    }

    fn say_dynamic(&mut self, message: &[u8]) -> Result<(), DynamicError> {
        let said = self.channels.append(&mut self.out, Static::Dynamic, message);
        said.map_err(DynamicError::Encode)
    }

    fn say(&mut self, channel: Dynamic, message: &[u8]) -> Result<(), DynamicError> {
        for fragment in dynamic::fragments(channel, message)? {
            self.say_dynamic(&fragment)?;
        }
        Ok(())
    }

    fn dynamic(&mut self, message: &[u8]) -> Result<(), DynamicError> {
        match self.dynamics.take(message)? {
            Told::Create(requests) => {
                for request in requests {
                    self.say_dynamic(&request)?;
                }
            }
            Told::Opened(Dynamic::Display) => {
                self.say(Dynamic::Display, &display::capabilities())?
            }
            Told::Data(Dynamic::Display, message) => match display::wanted(&message) {
                Ok(Some(size)) => self.size_wish = Some((size, tokio::time::Instant::now())),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a wish for another size is dropped"),
            },
            Told::Data(Dynamic::Graphics, message) => match self.video.take(&message) {
                Ok(Heard::Begin(answer)) => {
                    self.say(Dynamic::Graphics, &answer)?;
                    self.video_due = true;
                }
                Ok(Heard::Unfit) => {
                    let close = self.dynamics.close(Dynamic::Graphics)?;
                    self.say_dynamic(&close)?;
                }
                Ok(Heard::Nothing) => {}
                Err(error) => tracing::debug!(%error, "a message about graphics is dropped"),
            },
            Told::Opened(Dynamic::Graphics) | Told::Closed(_) | Told::Nothing => {}
        }
        Ok(())
    }
}
