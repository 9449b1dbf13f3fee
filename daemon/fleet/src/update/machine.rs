//! The state machine of updates: an event and the time in, the new record and effects out.
//!
//! The driver keeps the record before it does what the effects ask, so that a cut between the two
//! is a start with the record: [`Event::Started`] takes everything up again.

use super::record::{Attempt, Ended, HISTORY_MAX, Offer, Origin, Outcome, Phase, Record, Source};
use super::rules::{Bundle, Refusal, Rules, gate, judge};
use crate::boot::Slot;

/// Downloads that may fail before the update is given up.
const DOWNLOADS_MAX: u32 = 20;
/// Installations that may be cut before the update is given up.
const INSTALLS_MAX: u32 = 3;
/// Trials that may never have begun before the update is given up.
const TRIALS_MAX: u32 = 2;
/// First wait after a failed download; it doubles, microseconds.
const AGAIN_FIRST_US: u64 = 30_000_000;
/// Longest wait after a failed download, microseconds.
const AGAIN_MOST_US: u64 = 3_600_000_000;
/// Longest reason kept, in characters.
const REASON_CHARS_MAX: usize = 400;

/// How the device was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The slot that runs.
    pub slot: Slot,
    /// The slot of an ordinary start.
    pub default: Slot,
    /// The slot whose trial still waits.
    pub armed: Option<Slot>,
    /// What the confirming unit of the new system left as the reason of its end.
    pub given_up: Option<String>,
}

/// What the device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Recordings that run.
    pub recording: usize,
    /// Minute of the day by the device's time zone.
    pub minute: u16,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon started.
    Started(Start),
    /// An update is offered, or offered again with other words.
    Offered(Offer),
    /// A person agrees to the update under way.
    Agreed {
        /// Even if it is older than what runs.
        allow_older: bool,
        /// Even while something is recorded, outside of the window.
        at_once: bool,
    },
    /// Somebody calls it off; the words say who.
    Cancelled(String),
    /// Time passed.
    Tick(Conditions),
    /// So many bytes of the bundle are here.
    Downloaded(u64),
    /// All of it, with its SHA-256 in hexadecimal.
    Whole(String),
    /// The download broke off; `again` if it may be taken up.
    DownloadFailed {
        /// Why.
        reason: String,
        /// Whether another try makes sense.
        again: bool,
    },
    /// What RAUC says of the bundle: what is in it, or why it is not to be trusted.
    Inspected(Result<Bundle, String>),
    /// RAUC got so far, of 100.
    Installing(u8),
    /// RAUC is done, and why it failed if it did.
    Installed(Result<(), String>),
    /// The restart could not be asked for.
    RebootFailed(String),
    /// The self-test is done.
    Tested(Result<(), String>),
    /// The running system is the default now.
    Confirmed,
    /// The server took note of the end of an update.
    Reported(String),
    /// A block of the chain holds the statement of a bundle.
    Stated {
        /// SHA-256 of the bundle, hexadecimal.
        sha256: String,
        /// The transaction.
        statement: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the server that a person agreed.
    Agree(String),
    /// Download, from where the last one broke off.
    Download(Offer),
    /// Stop downloading.
    StopDownload,
    /// Ask RAUC what is in the bundle.
    Inspect,
    /// Let RAUC write it to the other slot.
    Install,
    /// Restart into the trial.
    Reboot,
    /// Put the new system to the test.
    SelfTest,
    /// Leave the verdict for the confirming unit.
    Verdict(Result<(), String>),
    /// State the bundle on the chain.
    Anchor {
        /// SHA-256 of the bundle, hexadecimal.
        sha256: String,
        /// Its version.
        version: String,
    },
    /// Mark the slot that is not running bad: its system did not prove itself.
    MarkOtherBad,
    /// Remove the bundle.
    Discard,
}

/// Takes an event in. `random` is any number; it spreads devices that fail together.
pub fn step(
    record: &mut Record,
    event: Event,
    rules: &Rules,
    now_us: u64,
    random: u64,
) -> Vec<Effect> {
    match event {
        Event::Offered(offer) => return offered(record, offer, rules, now_us),
        Event::Reported(id) => {
            for ended in record.history.iter_mut().filter(|ended| ended.id == id) {
                ended.reported = true;
            }
            return Vec::new();
        }
        Event::Stated { sha256, statement } => {
            stated(record, &sha256, statement);
            return Vec::new();
        }
        _ => {}
    }
    let Some(mut attempt) = record.attempt.take() else {
        return match event {
            // Installed by hand, or the record was lost: whatever is on trial is put to the test.
            Event::Started(start) if start.slot != start.default => vec![Effect::SelfTest],
            Event::Tested(result) => vec![Effect::Verdict(result)],
            _ => Vec::new(),
        };
    };
    let next = advance(&mut attempt, event, rules, now_us, random);
    match next {
        Next::Go(effects) => {
            record.attempt = Some(attempt);
            effects
        }
        Next::End(outcome, reason, effects) => {
            end(record, attempt, outcome, &reason, now_us);
            effects
        }
    }
}

enum Next {
    Go(Vec<Effect>),
    End(Outcome, String, Vec<Effect>),
}

fn go(effects: impl Into<Vec<Effect>>) -> Next {
    Next::Go(effects.into())
}

fn fail(reason: impl Into<String>) -> Next {
    Next::End(Outcome::Failed, reason.into(), vec![Effect::Discard])
}

/// Notes the statement with the update under way, or with the one that ended meanwhile.
fn stated(record: &mut Record, sha256: &str, statement: String) {
    let of_this = |hash: &Option<String>| hash.as_deref() == Some(sha256);
    if let Some(attempt) = record.attempt.as_mut().filter(|attempt| of_this(&attempt.sha256)) {
        attempt.statement = Some(statement);
    } else if let Some(ended) = record.history.iter_mut().find(|ended| of_this(&ended.sha256)) {
        ended.statement = Some(statement);
    }
}

fn offered(record: &mut Record, offer: Offer, rules: &Rules, now_us: u64) -> Vec<Effect> {
    let known = |ended: &Ended| ended.id == offer.id && ended.origin == offer.origin;
    if let Some(attempt) = &mut record.attempt {
        if attempt.offer.id != offer.id || attempt.offer.origin != offer.origin {
            // One at a time. The server offers again, and a person is told before.
            return Vec::new();
        }
        attempt.offer = offer;
        return match attempt.phase {
            Phase::Offered => begin(attempt, rules),
            _ => Vec::new(),
        };
    }
    if let Some(ended) = record.history.iter_mut().find(|ended| known(ended)) {
        // The server did not hear the end: tell it again.
        ended.reported = false;
        return Vec::new();
    }
    let mut attempt = Attempt {
        phase: Phase::Offered,
        note: None,
        agreed: false,
        allow_older: offer.allow_older,
        at_once: offer.at_once,
        offer,
        tries: 0,
        not_before_us: 0,
        began_us: now_us,
        bundle: None,
        sha256: None,
        statement: None,
        from_version: rules.running.clone(),
        to: None,
        starts: 0,
    };
    let effects = begin(&mut attempt, rules);
    record.attempt = Some(attempt);
    effects
}

/// From the offer on, as far as agreement and source let it.
fn begin(attempt: &mut Attempt, rules: &Rules) -> Vec<Effect> {
    // A bundle that a person brought was agreed to by bringing it.
    attempt.agreed |= match attempt.offer.origin {
        Origin::Upload => true,
        Origin::Server => !rules.ask && !attempt.offer.ask,
    };
    attempt.note = None;
    if !attempt.agreed {
        attempt.note = Some("for somebody to agree".into());
        return Vec::new();
    }
    match &attempt.offer.source {
        Source::AfterAgreement => vec![Effect::Agree(attempt.offer.id.clone())],
        Source::Here => {
            attempt.phase = Phase::Verified;
            attempt.sha256 = attempt.offer.sha256.clone();
            vec![Effect::Inspect]
        }
        Source::Url(_) => {
            attempt.phase = Phase::Downloading { bytes: 0 };
            vec![Effect::Download(attempt.offer.clone())]
        }
    }
}

fn advance(attempt: &mut Attempt, event: Event, rules: &Rules, now_us: u64, random: u64) -> Next {
    match event {
        Event::Started(start) => started(attempt, &start, rules),
        Event::Agreed { allow_older, at_once } => {
            attempt.agreed = true;
            attempt.allow_older |= allow_older;
            attempt.at_once |= at_once;
            match attempt.phase {
                Phase::Offered => go(begin(attempt, rules)),
                _ => go([]),
            }
        }
        Event::Cancelled(by) if attempt.phase.cancellable() => {
            let effects = match attempt.phase {
                Phase::RebootWanted => vec![Effect::MarkOtherBad, Effect::Discard],
                _ => vec![Effect::StopDownload, Effect::Discard],
            };
            Next::End(Outcome::Cancelled, by, effects)
        }
        Event::Tick(conditions) => tick(attempt, conditions, rules, now_us),
        Event::Downloaded(bytes) => {
            if let Phase::Downloading { bytes: here } = &mut attempt.phase {
                *here = bytes;
            }
            go([])
        }
        Event::Whole(sha256) if matches!(attempt.phase, Phase::Downloading { .. }) => {
            let right = attempt.offer.sha256.as_ref();
            if right.is_some_and(|right| !right.eq_ignore_ascii_case(&sha256)) {
                return again(
                    attempt,
                    "what came is not what was offered (SHA-256)",
                    now_us,
                    random,
                    vec![Effect::Discard],
                );
            }
            attempt.sha256 = Some(sha256);
            (attempt.phase, attempt.tries, attempt.note) = (Phase::Verified, 0, None);
            go([Effect::Inspect])
        }
        Event::DownloadFailed { reason, again: true }
            if matches!(attempt.phase, Phase::Downloading { .. }) =>
        {
            again(attempt, &reason, now_us, random, Vec::new())
        }
        Event::DownloadFailed { reason, again: false }
            if matches!(attempt.phase, Phase::Downloading { .. }) =>
        {
            fail(reason)
        }
        Event::Inspected(told) if attempt.phase == Phase::Verified => {
            inspected(attempt, told, rules)
        }
        Event::Installing(percent) => {
            if let Phase::Installing { percent: shown } = &mut attempt.phase {
                *shown = percent.min(100);
            }
            go([])
        }
        Event::Installed(Ok(())) if matches!(attempt.phase, Phase::Installing { .. }) => {
            (attempt.phase, attempt.tries) = (Phase::RebootWanted, 0);
            Next::Go(anchor(attempt).into_iter().chain([Effect::Discard]).collect())
        }
        Event::Installed(Err(reason)) if matches!(attempt.phase, Phase::Installing { .. }) => {
            fail(reason)
        }
        Event::RebootFailed(reason) if attempt.phase == Phase::TrialBoot => {
            attempt.phase = Phase::RebootWanted;
            attempt.note = Some(short(&reason));
            go([])
        }
        Event::Tested(result) if attempt.phase == Phase::SelfTest => {
            // The end is written by whoever starts next: the new system when it is confirmed, else
            // the one before it, which finds this note.
            attempt.note = result.as_ref().err().map(|reason| short(reason));
            go([Effect::Verdict(result)])
        }
        Event::Confirmed if attempt.phase == Phase::SelfTest => confirmed(),
        _ => go([]),
    }
}

fn inspected(attempt: &mut Attempt, told: Result<Bundle, String>, rules: &Rules) -> Next {
    let bundle = match told {
        Ok(bundle) => bundle,
        Err(reason) => return fail(reason),
    };
    let judged = judge(&bundle, rules, attempt.allow_older);
    attempt.bundle = Some(bundle);
    match judged {
        Ok(()) => {
            attempt.phase = Phase::Waiting;
            go([])
        }
        Err(refusal) => {
            // The server wants this version here, and here it is.
            let same = matches!(*refusal, Refusal::Same(_));
            let outcome = match same && attempt.offer.origin == Origin::Server {
                true => Outcome::Confirmed,
                false => Outcome::Refused,
            };
            Next::End(outcome, refusal.to_string(), vec![Effect::Discard])
        }
    }
}

fn tick(attempt: &mut Attempt, conditions: Conditions, rules: &Rules, now_us: u64) -> Next {
    match attempt.phase {
        Phase::Downloading { .. } if attempt.tries > 0 && now_us >= attempt.not_before_us => {
            // Once: the next failure says when the next try is.
            attempt.not_before_us = u64::MAX;
            go([Effect::Download(attempt.offer.clone())])
        }
        Phase::Waiting | Phase::RebootWanted => {
            match gate(attempt, rules, conditions.recording, conditions.minute) {
                Err(waits) => {
                    attempt.note = Some(waits);
                    go([])
                }
                Ok(()) if attempt.phase == Phase::Waiting => {
                    (attempt.phase, attempt.note) = (Phase::Installing { percent: 0 }, None);
                    attempt.to = Some(rules.slot.other());
                    go([Effect::Install])
                }
                Ok(()) => {
                    (attempt.phase, attempt.note) = (Phase::TrialBoot, None);
                    go([Effect::Reboot])
                }
            }
        }
        _ => go([]),
    }
}

/// Takes up what a restart interrupted, or judges the restart itself.
fn started(attempt: &mut Attempt, start: &Start, rules: &Rules) -> Next {
    match attempt.phase {
        Phase::Offered => go(begin(attempt, rules)),
        Phase::Downloading { .. } => go([Effect::Download(attempt.offer.clone())]),
        Phase::Verified => go([Effect::Inspect]),
        Phase::Waiting => go([]),
        Phase::Installing { .. } if start.armed.is_none() && start.slot == start.default => {
            attempt.tries += 1;
            if attempt.tries >= INSTALLS_MAX {
                return fail(format!("the installation was cut {INSTALLS_MAX} times"));
            }
            (attempt.phase, attempt.note) =
                (Phase::Waiting, Some("the installation was cut and begins again".into()));
            go([])
        }
        // The other slot is whole: the last thing RAUC does is to arm its trial.
        Phase::Installing { .. } | Phase::RebootWanted | Phase::TrialBoot | Phase::SelfTest => {
            match after_installation(attempt, start) {
                Next::Go(mut effects) => {
                    // The restart may have come before the block.
                    effects.extend(anchor(attempt));
                    Next::Go(effects)
                }
                end => end,
            }
        }
    }
}

/// The bundle's statement, unless the chain has it.
fn anchor(attempt: &Attempt) -> Option<Effect> {
    if attempt.statement.is_some() {
        return None;
    }
    let (sha256, version) = (attempt.sha256.clone()?, attempt.bundle.as_ref()?.version.to_string());
    Some(Effect::Anchor { sha256, version })
}

fn after_installation(attempt: &mut Attempt, start: &Start) -> Next {
    let Some(target) = attempt.to else {
        return fail("the record does not say which slot was written");
    };
    let asked = matches!(attempt.phase, Phase::TrialBoot | Phase::SelfTest);
    if start.slot == target && start.slot != start.default {
        attempt.starts += 1;
        attempt.phase = Phase::SelfTest;
        return go([Effect::SelfTest]);
    }
    if start.slot == target {
        return confirmed();
    }
    if !asked {
        attempt.phase = Phase::RebootWanted;
        return go([]);
    }
    // The old system runs, although the new one was to be tried.
    if attempt.starts == 0 && start.armed == Some(target) {
        attempt.tries += 1;
        if attempt.tries < TRIALS_MAX {
            attempt.phase = Phase::RebootWanted;
            attempt.note = Some("the trial may never have begun and is asked for again".into());
            return go([]);
        }
    }
    let reason = match (attempt.note.take(), &start.given_up, attempt.starts) {
        (Some(note), _, 1..) => format!("the self-test failed: {note}"),
        (_, Some(left), _) => left.clone(),
        (_, None, 0) => "the new system did not get as far as starting Lucid".into(),
        (_, None, 1) => "the new system ended before its self-test did".into(),
        (_, None, starts) => {
            format!("Lucid was started {starts} times on the new system and never confirmed")
        }
    };
    Next::End(Outcome::FellBack, reason, vec![Effect::MarkOtherBad])
}

fn confirmed() -> Next {
    Next::End(Outcome::Confirmed, String::new(), Vec::new())
}

fn again(
    attempt: &mut Attempt,
    reason: &str,
    now_us: u64,
    random: u64,
    effects: Vec<Effect>,
) -> Next {
    attempt.tries += 1;
    if attempt.tries >= DOWNLOADS_MAX {
        return fail(format!("given up after {DOWNLOADS_MAX} downloads: {reason}"));
    }
    let wait = AGAIN_FIRST_US.saturating_mul(1 << (attempt.tries - 1).min(10)).min(AGAIN_MOST_US);
    // Between a half and the whole of it.
    attempt.not_before_us = now_us + wait / 2 + random % (wait / 2);
    attempt.note = Some(short(reason));
    go(effects)
}

fn end(record: &mut Record, attempt: Attempt, outcome: Outcome, reason: &str, now_us: u64) {
    let ended = Ended {
        id: attempt.offer.id,
        reported: attempt.offer.origin != Origin::Server,
        origin: attempt.offer.origin,
        name: attempt.offer.name,
        version: attempt.bundle.map(|bundle| bundle.version),
        sha256: attempt.sha256,
        statement: attempt.statement,
        outcome,
        reason: short(reason),
        began_us: attempt.began_us,
        ended_us: now_us,
    };
    record.history.insert(0, ended);
    record.history.truncate(HISTORY_MAX);
}

fn short(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}
