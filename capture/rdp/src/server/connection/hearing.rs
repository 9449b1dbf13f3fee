//! What a client hears of its desktop, as far as the policy allows it.

use std::time::{Duration, Instant};

use super::{Activity, Session};
use crate::policy::{Capability, Denial};
use crate::server::channels::Static;
use crate::server::sound::{Sound, SoundError};
use crate::sound::{Block, Listener};

/// Sound that is refused counts once in this time, however long it lasts.
const REFUSED_INTERVAL: Duration = Duration::from_secs(5);

/// The sound of a client that takes it.
#[derive(Debug)]
pub struct Hearing {
    sound: Sound,
    listener: Listener,
    refused: Option<Instant>,
    /// Blocks that did not go because the client was slow.
    dropped: u64,
}

/// What is played next; never, where nobody listens.
pub async fn next(hearing: &mut Option<Hearing>) -> Block {
    if let Some(one) = hearing {
        if let Some(block) = one.listener.next().await {
            return block;
        }
        // The desktop is gone, which others tell.
        *hearing = None;
    }
    std::future::pending().await
}

impl Drop for Hearing {
    fn drop(&mut self) {
        let dropped = self.dropped + self.listener.missed();
        if dropped > 0 {
            tracing::debug!(dropped, "blocks of sound did not reach a slow client");
        }
    }
}

impl Session {
    /// Begins to listen for a client that joined the channel.
    pub(super) fn listen(&mut self) {
        let feed = self.admission.desktop.sound.as_ref();
        if let (true, Some(feed)) = (self.channels.has(Static::Sound), feed) {
            let (sound, listener) = (Sound::default(), feed.listen());
            self.hearing = Some(Hearing { sound, listener, refused: None, dropped: 0 });
            self.offer_sound();
        }
    }

    /// Offers sound once, when it is allowed.
    pub(super) fn offer_sound(&mut self) {
        if !self.gate.policy().allows(Capability::Audio) {
            return;
        }
        let Some(hearing) = &mut self.hearing else { return };
        match hearing.sound.offer() {
            Ok(Some(message)) => self.say_sound(&message),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a client gets no sound"),
        }
    }

    /// Takes what the client says about sound.
    pub(super) fn about_sound(&mut self, message: &[u8]) -> Result<(), SoundError> {
        let Some(hearing) = &mut self.hearing else { return Ok(()) };
        if let Some(answer) = hearing.sound.take(message)? {
            self.say_sound(&answer);
        }
        Ok(())
    }

    fn say_sound(&mut self, message: &[u8]) {
        if let Err(error) = self.channels.append(&mut self.out, Static::Sound, message) {
            tracing::warn!(%error, "a message about sound is not sent");
        }
    }

    /// Sends a block on, if the policy allows it and the client keeps up.
    pub(super) fn play(&mut self, block: &Block) {
        let allowed = self.gate.policy().allows(Capability::Audio);
        let Some(hearing) = &mut self.hearing else { return };
        if !allowed {
            // A program that holds the sound open without playing asks for nothing.
            let is_silent = block.iter().all(|byte| *byte == 0);
            let lately = hearing.refused.is_some_and(|at| at.elapsed() < REFUSED_INTERVAL);
            if !is_silent && !lately {
                hearing.refused = Some(Instant::now());
                self.gate.refuse(Capability::Audio, Denial::NotAllowed);
            }
            return;
        }
        if !matches!(self.activity, Activity::Active(_)) {
            return;
        }
        let time_ms = self.began.elapsed().as_millis() & u128::from(u32::MAX);
        let waves = hearing.sound.wave(block, u32::try_from(time_ms).unwrap_or_default());
        let mut out = Vec::new();
        let made = waves.map_err(|error| error.to_string()).and_then(|waves| {
            let mut append = |wave: &Vec<u8>| self.channels.append(&mut out, Static::Sound, wave);
            waves.iter().try_for_each(&mut append).map_err(|error| error.to_string())
        });
        match made {
            Ok(()) if out.is_empty() => {}
            Ok(()) => hearing.dropped += u64::from(self.outbox.sounds.try_send(out).is_err()),
            Err(error) => tracing::warn!(error, "a block of sound is not sent"),
        }
    }
}
