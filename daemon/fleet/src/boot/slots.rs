//! RAUC's view of the boot files: primary slot, good and bad, and the one trial start between
//! installing a system and trusting it.

use serde::Serialize;

use super::env::Health;
use super::{BootError, Slot, autoboot, env, make};
use crate::disk::Disk;

/// Who chooses the slot at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The Raspberry Pi's firmware, by `autoboot.txt` and the tryboot flag.
    Tryboot,
    /// Our initrd, by `lucid-boot.env`, which takes the trial back before it starts it.
    Initrd,
}

/// What the files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Who chooses.
    pub backend: Backend,
    /// The slot that runs, when the kernel's command line names it.
    pub current: Option<Slot>,
    /// The slot of an ordinary start.
    pub default: Slot,
    /// The slot the next start tries, if one waits.
    pub trial: Option<Slot>,
    /// What is known of A.
    pub health_a: Health,
    /// What is known of B.
    pub health_b: Health,
    /// Whether what runs is on trial: started, but not the default yet.
    pub on_trial: bool,
}

/// The two slots.
pub struct Slots<'a> {
    disk: &'a dyn Disk,
    backend: Backend,
    current: Option<Slot>,
}

impl<'a> Slots<'a> {
    /// The slots whose files are on `disk`; `current` is the one that runs.
    pub fn new(disk: &'a dyn Disk, backend: Backend, current: Option<Slot>) -> Self {
        Self { disk, backend, current }
    }

    /// Makes both files, for a new image.
    ///
    /// # Errors
    /// [`BootError::Exists`] without `force`; when they cannot be written.
    pub fn init(&self, default: Slot, force: bool) -> Result<(), BootError> {
        for (file, text) in
            [(env::FILE, env::text(default)), (autoboot::FILE, autoboot::text(default))]
        {
            let failed = |source| BootError::Disk { what: "read", file, source };
            if !force && self.disk.read(file, 1).map_err(failed)?.is_some() {
                return Err(BootError::Exists { file });
            }
            make(self.disk, file, &text)?;
        }
        Ok(())
    }

    /// What the files say.
    ///
    /// # Errors
    /// When one of them is missing or does not read.
    pub fn status(&self) -> Result<Status, BootError> {
        let env = env::load(self.disk)?;
        let default = match self.backend {
            Backend::Tryboot => autoboot::load(self.disk)?.default,
            Backend::Initrd => env.default,
        };
        Ok(Status {
            backend: self.backend,
            current: self.current,
            default,
            trial: env.trial.filter(|slot| *slot != default && env.health(*slot) != Health::Bad),
            health_a: env.health_a,
            health_b: env.health_b,
            on_trial: self.current.is_some_and(|current| current != default),
        })
    }

    /// The slot of the next start: the one to be tried, else the default.
    ///
    /// # Errors
    /// As [`Slots::status`].
    pub fn primary(&self) -> Result<Slot, BootError> {
        let status = self.status()?;
        Ok(status.trial.unwrap_or(status.default))
    }

    /// Lets the next start, and only that one, be of `slot`. The default stays what it is until
    /// the tried system is marked good; naming the default calls a waiting trial off.
    ///
    /// # Errors
    /// When the files do not read or cannot be written.
    pub fn set_primary(&self, slot: Slot) -> Result<(), BootError> {
        let status = self.status()?;
        if slot == status.default {
            return env::set_trial(self.disk, None);
        }
        if self.backend == Backend::Tryboot {
            // Heals what a cut in the middle of the last change of the default left.
            autoboot::set_default(self.disk, status.default)?;
        }
        if env::load(self.disk)?.health(slot) == Health::Bad {
            env::set_health(self.disk, slot, Health::Untried)?;
        }
        env::set_trial(self.disk, Some(slot))
    }

    /// What is known of a slot.
    ///
    /// # Errors
    /// When the file does not read.
    pub fn health(&self, slot: Slot) -> Result<Health, BootError> {
        Ok(env::load(self.disk)?.health(slot))
    }

    /// Marks a slot good. Of the running slot it is the confirmation: from here on it is the
    /// default. Of another slot it only says that it may be booted.
    ///
    /// # Errors
    /// When the files do not read or cannot be written.
    pub fn mark_good(&self, slot: Slot) -> Result<(), BootError> {
        env::set_health(self.disk, slot, Health::Good)?;
        if self.current != Some(slot) {
            return Ok(());
        }
        let env = env::load(self.disk)?;
        if self.backend == Backend::Tryboot {
            autoboot::set_default(self.disk, slot)?;
        }
        env::set_default(self.disk, slot)?;
        if env.trial == Some(slot) {
            env::set_trial(self.disk, None)?;
        }
        Ok(())
    }

    /// Marks a slot bad: no start takes it. Where it is the default, the other one becomes that.
    ///
    /// # Errors
    /// [`BootError::LastGood`] where no slot would be left that is known to work.
    pub fn mark_bad(&self, slot: Slot) -> Result<(), BootError> {
        let status = self.status()?;
        if env::load(self.disk)?.trial == Some(slot) {
            env::set_trial(self.disk, None)?;
        }
        if slot == status.default {
            let other = slot.other();
            if status.on_trial {
                return Err(BootError::LastGood { slot, why: "the running slot is on trial" });
            }
            if self.health(other)? != Health::Good {
                let why = "the other slot is not known to work";
                return Err(BootError::LastGood { slot, why });
            }
            if self.backend == Backend::Tryboot {
                autoboot::set_default(self.disk, other)?;
            }
            env::set_default(self.disk, other)?;
        }
        env::set_health(self.disk, slot, Health::Bad)
    }

    /// What the reboot that starts a waiting trial must be given; `None` is nothing.
    ///
    /// # Errors
    /// As [`Slots::status`].
    pub fn reboot_argument(&self) -> Result<Option<&'static str>, BootError> {
        let waits = self.status()?.trial.is_some();
        Ok((waits && self.backend == Backend::Tryboot).then_some("0 tryboot"))
    }
}
