//! What a worker's client has of a desktop besides the picture: keyboard and mouse, the log of
//! keys, and the banner that tells what was denied and granted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::banner::Banner;
use super::input::Input;
use super::keyboard::Keyboard;
use super::keylog::{HOT_KEY, Key, KeyLog};
use super::xconnection::XError;
use crate::event::EventKind;
use crate::policy::{Capability, Denial, Policy};
use crate::session::{EventSink, RunningDesktop};

/// How long a denial is not told again on the desktop.
const TOLD_FOR: Duration = Duration::from_secs(30);

/// The hands of one worker.
#[derive(Debug)]
pub struct Hands {
    keyboard: Keyboard,
    log: KeyLog,
    banner: Option<Banner>,
    desktop: RunningDesktop,
    told: BTreeMap<Capability, Instant>,
}

impl Hands {
    /// Reaches for the desktop.
    ///
    /// # Errors
    /// What is wrong with its X server.
    pub fn connect(desktop: &RunningDesktop, policy: &Policy) -> Result<Self, XError> {
        let keyboard = Keyboard::connect(desktop)?;
        let banner = Banner::connect(desktop);
        if let Err(error) = &banner {
            tracing::debug!(%error, "a desktop has no banner");
        }
        let log = KeyLog::new(policy.record_keys);
        let (banner, desktop, told) = (banner.ok(), desktop.clone(), BTreeMap::new());
        Ok(Hands { keyboard, log, banner, desktop, told })
    }

    /// Follows the keyboard. The hot-key is acted on, and its key is not to go on.
    pub fn follow(&mut self, input: Input, events: &dyn EventSink) -> Key {
        let key = self.log.follow(input, &self.keyboard.layout());
        if key == Key::Hot {
            // What was typed before the change is told before it.
            self.report(events);
            let on = self.log.toggle();
            events.record(EventKind::Redaction { on });
            if let Some(banner) = &self.banner {
                banner
                    .stand(on.then(|| format!("Keys are not recorded. {HOT_KEY} records again.")));
            }
        }
        key
    }

    /// Hands an input on to the desktop; false if that takes no more for the moment.
    pub fn send(&mut self, input: Input, key: Key, now_us: u64) -> bool {
        // Asked before the key goes on: what it ends looks different after it.
        let secret = matches!(key, Key::Down(_))
            && self.log.is_recording()
            && self.desktop.secrecy.is_likely();
        if !self.keyboard.send(input) {
            return false;
        }
        if let Key::Down(keysym) = key {
            self.log.pressed(keysym, now_us, secret);
        }
        true
    }

    /// Tells of the keys since this was last asked.
    pub fn report(&mut self, events: &dyn EventSink) {
        self.log.report().into_iter().for_each(|event| events.record(event));
    }

    /// Tells the worker of a refusal, if it is one that can be granted.
    pub fn refused(&mut self, event: &EventKind) {
        let EventKind::Refused { capability, denial: Denial::NotAllowed, .. } = event else {
            return;
        };
        let told = self.told.get(capability);
        if told.is_none_or(|told| told.elapsed() >= TOLD_FOR)
            && let Some(banner) = &self.banner
        {
            self.told.insert(*capability, Instant::now());
            let what = capability.as_str().replace('_', " ");
            banner.say(format!("Not allowed in this session: {what}. An operator can grant it."));
        }
    }

    /// Tells the worker what another policy allows that the one before did not.
    pub fn granted(&mut self, before: &Policy, now: &Policy) {
        for capability in Capability::ALL {
            if now.allows(capability)
                && !before.allows(capability)
                && let Some(banner) = &self.banner
            {
                self.told.remove(&capability);
                let what = capability.as_str().replace('_', " ");
                banner.say(format!("Granted for this session: {what}."));
            }
        }
    }
}
