//! Updates of the system: drives the state machine of `lucid-fleet` with what this device is,
//! does and meets. Nothing is decided here.

mod effects;
mod self_test;
mod server;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_fleet::boot::{Backend, BootError, Slot, Slots, Status};
use lucid_fleet::disk::Directory;
use lucid_fleet::rauc::{Rauc, SlotStatus};
use lucid_fleet::update::{Conditions, Effect, Event, Phase, Record, Rules, Start, step};
use lucid_fleet::version::Version;
use lucid_store::DATA_VERSION;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::events::{Events, Topic};
use crate::http::App;
use crate::http::time::now_us;
use crate::http::updates::view;
use crate::supervisor::Reporter;

pub use server::Contact;

/// How often the state machine hears what the device is doing.
const TICK: Duration = Duration::from_secs(5);
/// Ticks between two looks at slots that RAUC did not show yet.
const LOOK_EVERY: u64 = 2;
/// Longest an answer waits for the state machine; then it tells what it knows.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// Events that may wait for the state machine; who has more waits.
const INBOX: usize = 64;
/// Where the Pi's firmware leaves its mark.
const FIRMWARE: &str = "/proc/device-tree/chosen/bootloader";
/// What the confirming unit of a system that gave up leaves for the one before it.
const GIVEN_UP: &str = "/var/lib/lucid-fleet/given-up";
/// The bundle that is being brought or installed.
const BUNDLE: &str = "bundle.raucb";
/// The bundle that a person is bringing.
const PART: &str = "bundle.part";

/// Why this device cannot be updated this way.
#[derive(Debug, thiserror::Error)]
pub enum UpdatesError {
    /// Not made of two systems.
    #[error(
        "this system was not started from one of two slots; its updates come as packages \
         (rauc.slot= is not on the kernel's command line)"
    )]
    NoSlots,
    /// The boot files.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Our own directory.
    #[error("the directory of updates cannot be used")]
    Directory(#[source] std::io::Error),
    /// Our own record.
    #[error(transparent)]
    Record(#[from] lucid_fleet::update::RecordError),
    /// The running version.
    #[error(transparent)]
    Version(#[from] lucid_fleet::version::VersionError),
}

/// An event for the state machine, and who wants to hear that it was taken in.
struct Mail {
    event: Event,
    taken: Option<oneshot::Sender<()>>,
}

/// Updates of this device.
pub struct Updates {
    config: crate::config::Updates,
    /// The device as the server knows it.
    name: String,
    directory: PathBuf,
    slot: Option<Slot>,
    backend: Backend,
    record: Mutex<Record>,
    rules: Mutex<Option<Rules>>,
    slots: Mutex<Vec<SlotStatus>>,
    contact: Mutex<Contact>,
    /// Why updates are off, or what is wrong with them.
    problem: Mutex<Option<String>>,
    inbox: mpsc::Sender<Mail>,
    events_in: tokio::sync::Mutex<mpsc::Receiver<Mail>>,
    /// Wakes the poll.
    check: Notify,
    /// What the fleet server heard last of the update under way: its action and the words.
    told: Mutex<Option<(String, String)>>,
    /// Held while a bundle comes in.
    uploads: Semaphore,
    /// Stops the download.
    download: Mutex<CancellationToken>,
    events: Events,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Updates {
    /// Nothing is looked at yet.
    pub fn new(config: &Config, fingerprint: &str, events: Events) -> Arc<Self> {
        let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let slot = config.updates.slot.or_else(|| Slot::of_command_line(&command_line));
        let backend = match std::path::Path::new(FIRMWARE).exists() {
            true => Backend::Tryboot,
            false => Backend::Initrd,
        };
        let (inbox, events_in) = mpsc::channel(INBOX);
        let short: String = fingerprint.chars().take(8).collect();
        let name = config.updates.device.clone().unwrap_or_else(|| format!("lucid-{short}"));
        Arc::new(Self {
            name,
            uploads: Semaphore::new(1),
            directory: config.data_dir.join("updates"),
            config: config.updates.clone(),
            slot,
            backend,
            record: Mutex::default(),
            rules: Mutex::default(),
            slots: Mutex::default(),
            contact: Mutex::default(),
            problem: Mutex::default(),
            inbox,
            events_in: tokio::sync::Mutex::new(events_in),
            check: Notify::new(),
            told: Mutex::default(),
            download: Mutex::default(),
            events,
        })
    }

    /// Runs updates until asked to stop.
    ///
    /// # Errors
    /// When the boot files or the record cannot be used.
    pub async fn run(
        self: Arc<Self>,
        app: App,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if self.slot.is_none() {
            let reason = UpdatesError::NoSlots.to_string();
            *lock(&self.problem) = Some(reason.clone());
            reporter.nothing_to_do(reason);
            stop.cancelled().await;
            return Ok(());
        }
        let result = self.drive(&app, &reporter, &stop).await;
        *lock(&self.problem) = result.as_ref().err().map(|error| format!("{error:#}"));
        lock(&self.download).cancel();
        result
    }

    async fn drive(
        self: &Arc<Self>,
        app: &App,
        reporter: &Reporter,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut inbox = self.events_in.lock().await;
        let start = self.open().await?;
        let polling = tokio::spawn(Arc::clone(self).poll(App::clone(app), stop.clone()));
        let mut todo = VecDeque::from([Mail { event: Event::Started(start), taken: None }]);
        let mut tick = tokio::time::interval(TICK);
        let mut shown = String::new();
        let mut ticks = 0u64;
        let ended = loop {
            while let Some(Mail { event, taken }) = todo.pop_front() {
                let effects = match self.step(event) {
                    Ok(effects) => effects,
                    Err(error) => {
                        polling.abort();
                        return Err(error.into());
                    }
                };
                let now = view(self);
                let text = serde_json::to_string(&now).unwrap_or_default();
                if text != shown {
                    self.events.publish(Topic::Update, &now);
                    shown = text;
                }
                for effect in effects {
                    self.perform(app, effect);
                }
                if let Some(taken) = taken {
                    let _nobody_waits_any_more = taken.send(());
                }
            }
            reporter.healthy();
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                mail = inbox.recv() => todo.extend(mail),
                _ = tick.tick() => {
                    ticks += 1;
                    if ticks.is_multiple_of(LOOK_EVERY) && lock(&self.slots).is_empty() {
                        let this = Arc::clone(self);
                        tokio::spawn(async move { this.look_at_slots().await });
                    }
                    let minute = minute_of_day();
                    let recording = app.recordings.count();
                    let tick = Event::Tick(Conditions { recording, minute });
                    todo.push_back(Mail { event: tick, taken: None });
                    if self.is_confirmed() {
                        todo.push_back(Mail { event: Event::Confirmed, taken: None });
                    }
                }
            }
        };
        polling.abort();
        ended
    }

    /// Reads what is kept, and how the device was started.
    async fn open(&self) -> Result<Start, UpdatesError> {
        std::fs::create_dir_all(&self.directory).map_err(UpdatesError::Directory)?;
        // Left over from before this start: a verdict of another start, an upload that broke off.
        for left in [self.verdict_file(), self.part()] {
            match std::fs::remove_file(left) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(UpdatesError::Directory(error));
                }
                _ => {}
            }
        }
        let status = self.boot_status()?;
        let (record, whole) = Record::load(&Directory::new(&self.directory))?;
        if !whole {
            tracing::error!("the record of updates did not verify and was put aside");
        }
        let since_us = record.attempt.as_ref().map_or(u64::MAX, |attempt| attempt.began_us);
        let given_up = given_up(since_us);
        *lock(&self.record) = record;
        let slot = self.slot.ok_or(UpdatesError::NoSlots)?;
        let running: Version = env!("CARGO_PKG_VERSION").parse()?;
        *lock(&self.rules) = Some(Rules {
            // Known once RAUC shows its slots; until then RAUC alone judges.
            compatible: None,
            running,
            slot,
            data_format: DATA_VERSION,
            ask: self.config.ask,
            allow_older: self.config.allow_older,
            window: self.config.window,
        });
        self.look_at_slots().await;
        Ok(Start { slot, default: status.default, armed: status.trial, given_up })
    }

    /// What the boot files say.
    ///
    /// # Errors
    /// When they are missing or do not read.
    pub fn boot_status(&self) -> Result<Status, UpdatesError> {
        let disk = Directory::new(&self.config.boot_config);
        Ok(Slots::new(&disk, self.backend, self.slot).status()?)
    }

    /// One event through the state machine; the record is on the disk before anything follows.
    fn step(&self, event: Event) -> Result<Vec<Effect>, UpdatesError> {
        let rules = lock(&self.rules).clone().ok_or(UpdatesError::NoSlots)?;
        let quiet = matches!(event, Event::Downloaded(_) | Event::Installing(_));
        let mut record = lock(&self.record);
        let before = record.clone();
        let effects = step(&mut record, event, &rules, now_us(), random());
        if before.attempt.is_some() && record.attempt.is_none() {
            // The fleet server may be waiting for this one.
            self.check.notify_one();
        }
        // How far a download is, the file itself says after a restart.
        if *record != before && !quiet {
            record.save(&Directory::new(&self.directory))?;
        }
        Ok(effects)
    }

    /// Whether the system on trial has become the default.
    fn is_confirmed(&self) -> bool {
        let testing = lock(&self.record)
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.phase == Phase::SelfTest);
        testing && self.boot_status().is_ok_and(|status| !status.on_trial)
    }

    /// Tells the state machine; waits where much is waiting.
    pub async fn tell(&self, event: Event) {
        // The receiver lives as long as this.
        let _never_closed = self.inbox.send(Mail { event, taken: None }).await;
    }

    /// Tells the state machine something that may be lost where newer news are waiting already.
    fn mention(&self, event: Event) {
        let _full = self.inbox.try_send(Mail { event, taken: None });
    }

    /// Tells the state machine, and waits until it has taken the event in and kept the record.
    pub async fn put(&self, event: Event) {
        let (sender, taken) = oneshot::channel();
        let mail = Mail { event, taken: Some(sender) };
        // The receiver lives as long as this; updates that ended meanwhile take nothing in.
        let _never_closed = self.inbox.send(mail).await;
        let _ended_meanwhile = tokio::time::timeout(TAKEN_WITHIN, taken).await;
    }

    /// Asks the fleet server now.
    ///
    /// # Errors
    /// Why there is nobody to ask.
    pub fn check_now(&self) -> Result<(), String> {
        if self.config.server.is_none() {
            return Err("the configuration key `updates.server` names the fleet server".into());
        }
        self.check.notify_one();
        Ok(())
    }

    /// What is kept.
    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// The slots as RAUC showed them last.
    pub fn slots(&self) -> Vec<SlotStatus> {
        lock(&self.slots).clone()
    }

    /// How the last talk with the fleet server went.
    pub fn contact(&self) -> Contact {
        lock(&self.contact).clone()
    }

    /// Why this device cannot be updated this way.
    pub fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    /// Address of the fleet server.
    pub fn server(&self) -> Option<String> {
        self.config.server.clone()
    }

    /// Held while a bundle comes in.
    pub fn uploads(&self) -> &Semaphore {
        &self.uploads
    }

    /// The slot that runs.
    pub fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Where the bundle is put.
    pub fn bundle(&self) -> PathBuf {
        self.directory.join(BUNDLE)
    }

    /// Where a bundle that a person brings is put until it is whole.
    pub fn part(&self) -> PathBuf {
        self.directory.join(PART)
    }

    /// Asks RAUC for what it knows of this device.
    async fn look_at_slots(&self) {
        let Ok(rauc) = Rauc::connect(None).await else { return };
        if let Ok(slots) = rauc.slots().await {
            *lock(&self.slots) = slots;
        }
        if let Ok(compatible) = rauc.compatible().await
            && let Some(rules) = lock(&self.rules).as_mut()
        {
            rules.compatible = Some(compatible);
        }
    }
}

/// What a system that gave up left as its reason, if that was after the update began.
fn given_up(since_us: u64) -> Option<String> {
    let at = std::fs::metadata(GIVEN_UP).and_then(|metadata| metadata.modified()).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    if at.as_micros() < u128::from(since_us) {
        return None;
    }
    let text = std::fs::read_to_string(GIVEN_UP).ok()?;
    Some(text.trim().chars().take(400).collect::<String>()).filter(|text| !text.is_empty())
}

fn minute_of_day() -> u16 {
    let now = jiff::Zoned::now();
    u16::try_from(i16::from(now.hour()) * 60 + i16::from(now.minute())).unwrap_or(0)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Only spreads devices: without randomness they come together.
    let _none = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
