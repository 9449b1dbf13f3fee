//! The state machine step by step, and whole devices that are cut, crash and lie during an update.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::boot::env::Health;
use crate::boot::{Backend, Slot, Slots, autoboot, env};
use crate::disk::cut::CutDisk;
use crate::version::Version;

const DAY_US: u64 = 86_400_000_000;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn rules(slot: Slot, running: &str) -> Rules {
    Rules {
        compatible: Some("lucid-rpi5".into()),
        running: version(running),
        slot,
        data_format: 1,
        ask: false,
        allow_older: false,
        window: None,
    }
}

fn offer() -> Offer {
    Offer {
        id: "8".into(),
        origin: Origin::Server,
        source: Source::Url("https://fleet.example/8".into()),
        name: "lucid 2.0.0".into(),
        bytes: 100,
        sha256: Some("ab".repeat(32)),
        ask: false,
        install: true,
        allow_older: false,
        at_once: false,
    }
}

fn bundle(text: &str) -> Bundle {
    Bundle {
        compatible: "lucid-rpi5".into(),
        version: version(text),
        data_format: 1,
        data_format_oldest: 1,
    }
}

const IDLE: Conditions = Conditions { recording: 0, minute: 0 };

/// A record taken through events; returns the last effects.
struct Walk {
    record: Record,
    rules: Rules,
    now_us: u64,
}

impl Walk {
    fn new() -> Self {
        Self { record: Record::default(), rules: rules(Slot::A, "1.0.0"), now_us: DAY_US }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        step(&mut self.record, event, &self.rules, self.now_us, 7)
    }

    fn phase(&self) -> &'static str {
        self.record.attempt.as_ref().map_or("idle", |attempt| attempt.phase.name())
    }

    fn note(&self) -> String {
        self.record.attempt.as_ref().and_then(|attempt| attempt.note.clone()).unwrap_or_default()
    }

    #[track_caller]
    fn end(&self) -> (Outcome, String) {
        assert_eq!(self.record.attempt, None);
        (self.record.history[0].outcome, self.record.history[0].reason.clone())
    }

    /// Up to a bundle that RAUC calls good.
    fn verified(version: &str) -> Self {
        let mut walk = Self::new();
        walk.step(Event::Offered(offer()));
        walk.step(Event::Whole("AB".repeat(32)));
        walk.step(Event::Inspected(Ok(bundle(version))));
        walk
    }
}

#[test]
fn an_update_passes_every_phase() {
    let mut walk = Walk::new();
    assert_eq!(walk.step(Event::Offered(offer())), [Effect::Download(offer())]);
    assert_eq!(walk.phase(), "downloading");
    walk.step(Event::Downloaded(60));
    assert_eq!(walk.step(Event::Whole("ab".repeat(32))), [Effect::Inspect]);
    assert_eq!(walk.phase(), "verified");
    walk.step(Event::Inspected(Ok(bundle("2.0.0"))));
    assert_eq!(walk.phase(), "waiting");
    walk.step(Event::Tick(Conditions { recording: 2, minute: 0 }));
    assert_eq!((walk.phase(), walk.note().as_str()), ("waiting", "until 2 recordings are over"));
    assert_eq!(walk.step(Event::Tick(IDLE)), [Effect::Install]);
    walk.step(Event::Installing(40));
    let effects = walk.step(Event::Installed(Ok(())));
    let anchor = Effect::Anchor { sha256: "ab".repeat(32), version: "2.0.0".into() };
    assert_eq!(effects, [anchor.clone(), Effect::Discard]);
    // Something is recorded again: the restart waits as the installation did.
    walk.step(Event::Tick(Conditions { recording: 1, minute: 0 }));
    assert_eq!(
        (walk.phase(), walk.note().as_str()),
        ("reboot_wanted", "until a recording is over")
    );
    assert_eq!(walk.step(Event::Tick(IDLE)), [Effect::Reboot]);
    assert_eq!(walk.phase(), "trial_boot");
    walk.rules = rules(Slot::B, "2.0.0");
    let start = Start { slot: Slot::B, default: Slot::A, armed: None, given_up: None };
    // The restart came before the block that holds the statement: it is made once more.
    assert_eq!(walk.step(Event::Started(start)), [Effect::SelfTest, anchor]);
    let stated =
        |statement: &str| Event::Stated { sha256: "ab".repeat(32), statement: statement.into() };
    walk.step(stated("first"));
    assert_eq!(walk.step(Event::Tested(Ok(()))), [Effect::Verdict(Ok(()))]);
    assert_eq!(walk.phase(), "self_test", "a passed test confirms nothing by itself");
    walk.step(Event::Confirmed);
    assert_eq!(walk.end().0, Outcome::Confirmed);
    assert_eq!(walk.record.history[0].statement.as_deref(), Some("first"));
    walk.step(stated("late"));
    assert_eq!(walk.record.history[0].statement.as_deref(), Some("late"));
    assert_eq!(walk.record.history[0].version, Some(version("2.0.0")));
    assert_eq!(walk.record.unreported().count(), 1);
    walk.step(Event::Reported("8".into()));
    assert_eq!(walk.record.unreported().count(), 0);
}

#[test]
fn what_may_not_be_installed_is_refused_with_what_would_be_right() {
    let older = Walk::verified("0.9.0");
    assert_eq!(older.end().0, Outcome::Refused);
    assert!(older.end().1.contains("must be allowed"), "{}", older.end().1);
    // Running already is what the server wanted.
    assert_eq!(Walk::verified("1.0.0").end().0, Outcome::Confirmed);

    let cases: [(Bundle, &str); 3] = [
        (Bundle { compatible: "lucid-pc".into(), ..bundle("2.0.0") }, "lucid-pc"),
        (
            Bundle { data_format: 0, data_format_oldest: 0, ..bundle("2.0.0") },
            "could not read them",
        ),
        (Bundle { data_format: 3, data_format_oldest: 2, ..bundle("2.0.0") }, "between first"),
    ];
    for (bundle, words) in cases {
        let refusal = judge(&bundle, &rules(Slot::A, "1.0.0"), true).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
    // Allowed by name, or by the setting.
    assert!(judge(&bundle("0.9.0"), &rules(Slot::A, "1.0.0"), true).is_ok());
    let lenient = Rules { allow_older: true, ..rules(Slot::A, "1.0.0") };
    assert!(judge(&bundle("0.9.0"), &lenient, false).is_ok());
    // A bundle RAUC does not trust is failed, with RAUC's words.
    let mut walk = Walk::new();
    walk.step(Event::Offered(offer()));
    walk.step(Event::Whole("ab".repeat(32)));
    walk.step(Event::Inspected(Err("signature verification failed".into())));
    assert_eq!(walk.end(), (Outcome::Failed, "signature verification failed".into()));
}

#[test]
fn a_window_lets_recordings_be_interrupted_and_nothing_else_does() {
    let mut walk = Walk::verified("2.0.0");
    walk.rules.window = Some(Window { from: 23 * 60, to: 60 });
    let at = |minute| Conditions { recording: 4, minute };
    assert_eq!(walk.step(Event::Tick(at(12 * 60))), []);
    assert_eq!(walk.note(), "for the window from 23:00 to 01:00");
    assert_eq!(walk.step(Event::Tick(Conditions { recording: 0, minute: 12 * 60 })), []);
    assert_eq!(walk.step(Event::Tick(at(30))), [Effect::Install], "past midnight");
    // A person may say that it is to be now.
    let mut walk = Walk::verified("2.0.0");
    assert_eq!(walk.step(Event::Tick(at(0))), []);
    walk.step(Event::Agreed { allow_older: false, at_once: true });
    assert_eq!(walk.step(Event::Tick(at(0))), [Effect::Install]);
    // The server may want it downloaded only.
    let mut walk = Walk::verified("2.0.0");
    walk.step(Event::Offered(Offer { install: false, ..offer() }));
    assert_eq!(walk.step(Event::Tick(IDLE)), []);
    assert!(walk.note().contains("server"), "{}", walk.note());
    walk.step(Event::Offered(offer()));
    assert_eq!(walk.step(Event::Tick(IDLE)), [Effect::Install]);
}

#[test]
fn agreement_is_asked_for_and_told_to_the_server() {
    let mut walk = Walk::new();
    let asks = Offer { ask: true, source: Source::AfterAgreement, ..offer() };
    assert_eq!(walk.step(Event::Offered(asks.clone())), []);
    assert_eq!(walk.phase(), "offered");
    let agreed = Event::Agreed { allow_older: false, at_once: false };
    assert_eq!(walk.step(agreed), [Effect::Agree("8".into())]);
    // The server lost it: it is told again. Then it gives the bundle.
    assert_eq!(walk.step(Event::Offered(asks)), [Effect::Agree("8".into())]);
    assert_eq!(walk.step(Event::Offered(offer())), [Effect::Download(offer())]);
    // One at a time; of the next one the server is asked again later.
    assert_eq!(walk.step(Event::Offered(Offer { id: "9".into(), ..offer() })), []);
    assert_eq!(walk.record.attempt.as_ref().unwrap().offer.id, "8");
    walk.step(Event::Cancelled("called off by the server".into()));
    assert_eq!(walk.end().0, Outcome::Cancelled);
    // Offered again although it is over: the server did not hear.
    walk.step(Event::Reported("8".into()));
    assert_eq!(walk.step(Event::Offered(offer())), []);
    assert_eq!(walk.record.unreported().count(), 1);
}

#[test]
fn downloads_are_taken_up_again_with_longer_waits_and_given_up_at_last() {
    let mut walk = Walk::new();
    walk.step(Event::Offered(offer()));
    let mut waits = Vec::new();
    loop {
        let failed = Event::DownloadFailed { reason: "reset by peer".into(), again: true };
        walk.step(failed);
        let Some(attempt) = &walk.record.attempt else { break };
        waits.push(attempt.not_before_us - walk.now_us);
        assert_eq!(walk.step(Event::Tick(IDLE)), [], "not before its time");
        walk.now_us = walk.record.attempt.as_ref().unwrap().not_before_us;
        assert_eq!(walk.step(Event::Tick(IDLE)), [Effect::Download(offer())]);
        assert_eq!(walk.step(Event::Tick(IDLE)), [], "one at a time");
    }
    assert_eq!(waits.len(), 19);
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!(waits.iter().all(|wait| (15_000_000..=3_600_000_000).contains(wait)), "{waits:?}");
    assert!(walk.end().1.contains("reset by peer"));
    // Wrong bytes are thrown away and asked for again.
    let mut walk = Walk::new();
    walk.step(Event::Offered(offer()));
    assert_eq!(walk.step(Event::Whole("cd".repeat(32))), [Effect::Discard]);
    assert_eq!(walk.phase(), "downloading");
}

#[test]
fn a_system_on_trial_is_put_to_the_test_even_if_nobody_knows_why_it_runs() {
    let mut walk = Walk::new();
    let start = Start { slot: Slot::B, default: Slot::A, armed: None, given_up: None };
    assert_eq!(walk.step(Event::Started(start.clone())), [Effect::SelfTest]);
    assert_eq!(walk.step(Event::Tested(Ok(()))), [Effect::Verdict(Ok(()))]);
    assert_eq!(walk.step(Event::Started(Start { slot: Slot::A, ..start })), []);
}

#[test]
fn the_record_is_the_old_or_the_new_one_after_any_cut() {
    let walk = Walk::verified("2.0.0");
    let old = Record::default();
    for step in 0.. {
        for seed in 0..32 {
            let disk = CutDisk::default();
            old.save(&disk).unwrap();
            disk.cut_after(step);
            let saved = walk.record.save(&disk).is_ok();
            if saved && !disk.is_cut() {
                assert!(step > 3, "{step} steps were cut");
                return;
            }
            let (after, whole) = Record::load(&disk.restart(seed)).unwrap();
            assert!(whole, "cut {step} seed {seed} damages the record");
            assert!(after == old || after == walk.record);
        }
    }
}

#[test]
fn a_damaged_record_is_put_aside_and_said() {
    let disk = CutDisk::new(&[("updates.json", b"lucid-updates 1 00\n{}")]);
    assert_eq!(Record::load(&disk).unwrap(), (Record::default(), false));
    use crate::disk::Disk;
    assert_eq!(disk.read("updates.damaged", 7).unwrap().unwrap(), b"lucid-u");
    assert_eq!(Record::load(&disk).unwrap(), (Record::default(), true));
}

/// What a new system is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
    Works,
    FailsItsTest,
    /// Lucid starts and ends before its test is done, each time, until the unit gives up.
    Crashes,
    /// Nothing runs; the watchdog resets.
    Hangs,
}

/// A device through an update, with cuts.
struct World {
    backend: Backend,
    boot: CutDisk,
    data: CutDisk,
    /// What is installed in A and B; `None` is half written.
    installed: BTreeMap<char, Option<String>>,
    new: New,
    /// The firmware's flag.
    tryboot: bool,
    given_up: Option<String>,
    /// Cuts the power when it reaches nothing.
    fuel: Cell<usize>,
    confirmed_by_test: bool,
}

/// The power is gone.
struct Cut;

impl World {
    fn new(backend: Backend, new: New, fuel: usize) -> Self {
        let (env, autoboot) = (env::text(Slot::A), autoboot::text(Slot::A));
        let files = [(env::FILE, env.as_bytes()), (autoboot::FILE, autoboot.as_bytes())];
        Self {
            backend,
            boot: CutDisk::new(&files),
            data: CutDisk::default(),
            installed: BTreeMap::from([('A', Some("1.0.0".into())), ('B', None)]),
            new,
            tryboot: false,
            given_up: None,
            fuel: Cell::new(fuel),
            confirmed_by_test: false,
        }
    }

    fn burn(&self) -> Result<(), Cut> {
        let left = self.fuel.get().checked_sub(1).ok_or(Cut)?;
        self.fuel.set(left);
        Ok(())
    }

    fn key(slot: Slot) -> char {
        char::from(slot.letter())
    }

    /// Firmware or initrd.
    fn choose(&mut self) -> Result<Slot, Cut> {
        let flag = std::mem::take(&mut self.tryboot);
        if self.backend == Backend::Tryboot {
            let autoboot = autoboot::load(&self.boot).map_err(|error| self.cut(&error))?;
            return Ok(if flag { autoboot.trial } else { autoboot.default });
        }
        let env = env::load(&self.boot).map_err(|error| self.cut(&error))?;
        env::set_trial(&self.boot, None).map_err(|error| self.cut(&error))?;
        Ok(env.trial.filter(|slot| env.health(*slot) != Health::Bad).unwrap_or(env.default))
    }

    /// Nothing but a cut may keep these files from being read and written.
    fn cut(&self, error: &dyn std::fmt::Debug) -> Cut {
        assert!(self.boot.is_cut() || self.data.is_cut(), "{error:?}");
        Cut
    }

    /// One life from start to reset. `Ok(true)` when the update is over.
    fn live(&mut self) -> Result<bool, Cut> {
        let slot = self.choose()?;
        let running = self.installed[&Self::key(slot)].clone();
        let running = running.expect("a half written system was started");
        let status = Slots::new(&self.boot, self.backend, Some(slot)).status();
        let status = status.map_err(|error| self.cut(&error))?;
        let new = running == "2.0.0";
        if new && self.new == New::Hangs {
            assert!(status.on_trial, "a system that hangs became the default");
            return Ok(false);
        }
        let rules = rules(slot, &running);
        let loaded = Record::load(&self.data).map_err(|error| self.cut(&error));
        let (mut record, whole) = loaded?;
        assert!(whole);
        let start = Start {
            slot,
            default: status.default,
            armed: status.trial,
            given_up: self.given_up.take(),
        };
        if record.attempt.is_none() && record.history.is_empty() {
            self.put(&mut record, Event::Offered(offer()), &rules)?;
        }
        let mut events = vec![Event::Started(start)];
        for _ in 0..100 {
            let event = events.pop().unwrap_or(Event::Tick(IDLE));
            if matches!(event, Event::Tested(_)) && new && self.new == New::Crashes {
                // The unit starts Lucid a few times, then the confirming unit gives up.
                let slots = Slots::new(&self.boot, self.backend, Some(slot));
                self.burn()?;
                slots.mark_bad(slot).map_err(|error| self.cut(&error))?;
                self.given_up = Some("these units failed: lucid.service".into());
                return Ok(false);
            }
            for effect in self.put(&mut record, event, &rules)? {
                self.burn()?;
                let slots = Slots::new(&self.boot, self.backend, Some(slot));
                match effect {
                    Effect::Download(_) => events.push(Event::Whole("ab".repeat(32))),
                    Effect::Inspect => events.push(Event::Inspected(Ok(bundle("2.0.0")))),
                    Effect::Install => {
                        let other = Self::key(slot.other());
                        slots.mark_bad(slot.other()).map_err(|error| self.cut(&error))?;
                        self.installed.insert(other, None);
                        self.burn()?;
                        self.installed.insert(other, Some("2.0.0".into()));
                        slots.set_primary(slot.other()).map_err(|error| self.cut(&error))?;
                        self.burn()?;
                        events.push(Event::Installed(Ok(())));
                    }
                    Effect::Reboot => {
                        self.tryboot =
                            slots.reboot_argument().map_err(|error| self.cut(&error))?.is_some();
                        return Ok(false);
                    }
                    Effect::SelfTest => events.push(Event::Tested(match self.new {
                        New::FailsItsTest => Err("nothing was anchored".into()),
                        _ => Ok(()),
                    })),
                    Effect::Verdict(Ok(())) => {
                        self.confirmed_by_test = true;
                        slots.mark_good(slot).map_err(|error| self.cut(&error))?;
                        events.push(Event::Confirmed);
                    }
                    Effect::Verdict(Err(_)) => {
                        slots.mark_bad(slot).map_err(|error| self.cut(&error))?;
                        self.given_up = Some("these units failed: lucid-confirm".into());
                        return Ok(false);
                    }
                    Effect::MarkOtherBad => {
                        slots.mark_bad(slot.other()).map_err(|error| self.cut(&error))?
                    }
                    Effect::Anchor { .. } | Effect::Discard | Effect::StopDownload => {}
                    Effect::Agree(_) => unreachable!("nobody has to agree"),
                }
            }
            if record.attempt.is_none() && !record.history.is_empty() {
                return Ok(true);
            }
        }
        panic!("the update stands still: {record:?}");
    }

    /// A step, kept before anything of it is done.
    fn put(&self, record: &mut Record, event: Event, rules: &Rules) -> Result<Vec<Effect>, Cut> {
        let effects = step(record, event, rules, DAY_US, 3);
        self.burn()?;
        record.save(&self.data).map_err(|error| self.cut(&error))?;
        Ok(effects)
    }

    /// Runs until the update is over; the outcome and how often the device was started.
    fn run(mut self, seed: u64) -> (Ended, u32, Self) {
        for starts in 1..20 {
            match self.live() {
                Ok(true) => {
                    let (record, _) = Record::load(&self.data.restart(seed)).unwrap();
                    return (record.history[0].clone(), starts, self);
                }
                Ok(false) => {}
                Err(Cut) => {
                    (self.boot, self.data) = (self.boot.restart(seed), self.data.restart(seed));
                    self.fuel.set(usize::MAX);
                    // A cut takes the firmware's flag with it.
                    self.tryboot = false;
                }
            }
        }
        panic!("the update has no end");
    }
}

/// Every kind of new system on both kinds of device, with the power cut after every action, at
/// every write to the boot files, and at every write to the record: the update ends, the device
/// runs a system that works, and what is reported is what runs.
#[test]
fn whatever_is_cut_the_device_ends_on_a_system_that_works_and_says_which() {
    let mut cuts = 0;
    for backend in [Backend::Tryboot, Backend::Initrd] {
        for new in [New::Works, New::FailsItsTest, New::Crashes, New::Hangs] {
            for kind in 0..3 {
                for at in 0.. {
                    let world = World::new(backend, new, if kind == 0 { at } else { usize::MAX });
                    match kind {
                        1 => world.boot.cut_after(at),
                        2 => world.data.cut_after(at),
                        _ => {}
                    }
                    let (ended, _, mut world) = world.run(at as u64);
                    let never_cut = match kind {
                        0 => world.fuel.get() < usize::MAX,
                        1 => !world.boot.is_cut() && at > 60,
                        _ => !world.data.is_cut() && at > 120,
                    };
                    let what = format!("{backend:?} {new:?} cut {kind} at {at}: {ended:?}");
                    world.boot = world.boot.restart(0);
                    let default = world.choose().ok().unwrap();
                    let runs = world.installed[&World::key(default)].clone();
                    let updated = runs.as_deref() == Some("2.0.0");
                    assert_eq!(ended.outcome == Outcome::Confirmed, updated, "{what}");
                    assert!(!updated || (new == New::Works && world.confirmed_by_test), "{what}");
                    if !updated {
                        assert_eq!(runs.as_deref(), Some("1.0.0"), "{what}");
                        assert!(!ended.reason.is_empty(), "{what}");
                    }
                    cuts += 1;
                    if never_cut {
                        break;
                    }
                }
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn the_reason_of_a_fall_back_is_named() {
    for (new, words) in [
        (New::FailsItsTest, "the self-test failed: nothing was anchored"),
        (New::Crashes, "lucid.service"),
        (New::Hangs, "did not get as far as starting Lucid"),
    ] {
        for backend in [Backend::Tryboot, Backend::Initrd] {
            let (ended, ..) = World::new(backend, new, usize::MAX).run(0);
            assert_eq!(ended.outcome, Outcome::FellBack);
            assert!(ended.reason.contains(words), "{backend:?} {new:?}: {}", ended.reason);
        }
    }
    let (ended, starts, _) = World::new(Backend::Initrd, New::Works, usize::MAX).run(0);
    assert_eq!((ended.outcome, starts), (Outcome::Confirmed, 2));
}
