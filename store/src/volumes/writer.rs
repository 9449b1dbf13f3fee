//! The one thread that writes, and the one that seals behind it. What is written is made durable
//! by a third one, in `syncing`.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::syncing::{Reply, Syncing, Written};
use super::{Incident, Shared, VolumeId, VolumeInfo, lock, now_us, seal};
use crate::StoreError;
use crate::engine::Use;
use crate::engine::sled_engine::{VOLUME_SEGMENT_BYTES, remove_mark, sync_files};
use crate::volume::{Ready, STEP_BYTES_MAX, Volume};

/// Volumes waiting to be sealed; a writer that is faster than that waits.
const SEAL_QUEUE_MAX: usize = 1;

/// Openings granted to the engine to come to rest before a volume is sealed; two are the rule.
const REST_OPENINGS_MAX: u32 = 6;

/// A volume filled faster than this, in microseconds, is part of bulk writing: nobody plays it
/// back just now, and its pages serve the next volume better than fresh ones from the system.
const BULK_FILL_US: u64 = 2_000_000;

/// What callers ask of the writer.
pub(super) enum Command {
    /// Store these and say where.
    Append { records: Vec<Ready>, reply: Reply },
    /// Begin a new volume with the next append.
    Seal { reply: SyncSender<Result<(), StoreError>> },
    /// Begin a volume with this number and age, and fill no other until it is sealed by command.
    Begin { volume: VolumeId, created_us: u64, reply: SyncSender<Result<(), StoreError>> },
}

/// A volume to seal, and who wants to hear when it and those before it are sealed.
type Closing = (Option<VolumeId>, Option<SyncSender<Result<(), StoreError>>>);

struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    syncing: Syncing,
    seals: SyncSender<Closing>,
    /// The current volume and the bytes stored in it.
    current: Option<(VolumeId, u64)>,
    /// Bytes that the current volume's log still takes, when it has one.
    room: Option<u64>,
    next: VolumeId,
    /// The current volume is a copy of one elsewhere and takes what that held, however much.
    copying: bool,
}

/// Starts both threads. `current` is open already; `unsealed` are sealed first.
pub(super) fn start(
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    current: Option<(VolumeId, u64)>,
    next: VolumeId,
    unsealed: Vec<VolumeId>,
) -> Result<JoinHandle<()>, StoreError> {
    let (seals, to_seal) = sync_channel(SEAL_QUEUE_MAX);
    let no_thread = {
        let root = shared.settings.root.clone();
        move |e| StoreError::io("start a thread for", &root, e)
    };
    let sealing = shared.clone();
    let sealer = Builder::new()
        .name("store-seal".into())
        .spawn(move || run_sealer(&sealing, unsealed, &to_seal))
        .map_err(&no_thread)?;
    let next = current.map_or(next, |(id, _)| VolumeId(next.0.max(id.0 + 1)));
    let syncing = Syncing::start(shared.clone())?;
    let mut writer =
        Writer { shared, queue, syncing, seals, current, room: None, next, copying: false };
    writer.measure();
    Builder::new()
        .name("store-write".into())
        .spawn(move || {
            writer.run();
            drop(writer);
            // The sealer ends when the last sender is gone; a panic there is in the log.
            let _ = sealer.join();
        })
        .map_err(&no_thread)
}

impl Writer {
    fn run(&mut self) {
        let mut pushed_back = None;
        loop {
            let command = match pushed_back.take() {
                Some(command) => command,
                None => match self.queue.recv() {
                    Ok(command) => command,
                    Err(_) => return,
                },
            };
            match command {
                Command::Seal { reply } => self.seal(Some(reply)),
                Command::Begin { volume, created_us, reply } => {
                    let _ = reply.send(self.begin(volume, created_us));
                }
                Command::Append { mut records, reply } => {
                    let mut replies = vec![reply];
                    let mut cost: usize = records.iter().map(Ready::cost).sum();
                    self.make_room(cost as u64);
                    let room = self.room.map_or(usize::MAX, |room| room as usize);
                    let most = STEP_BYTES_MAX.min(room);
                    while cost < most {
                        match self.queue.try_recv() {
                            Ok(Command::Append { records: more, reply })
                                if cost + more.iter().map(Ready::cost).sum::<usize>() <= most =>
                            {
                                cost += more.iter().map(Ready::cost).sum::<usize>();
                                records.extend(more);
                                replies.push(reply);
                            }
                            Ok(other) => {
                                pushed_back = Some(other);
                                break;
                            }
                            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                        }
                    }
                    let bytes: usize = records.iter().map(Ready::bytes).sum();
                    self.commit(records, bytes as u64, replies);
                }
            }
        }
    }

    /// Writes records; whoever waits for them hears of it once they are durable.
    fn commit(&mut self, records: Vec<Ready>, bytes: u64, replies: Vec<Reply>) {
        if let Err((error, replies)) = self.write(records, bytes, replies) {
            for reply in replies {
                // A caller that stopped waiting has nothing to be told.
                let _ = reply.send(Err(error.clone()));
            }
        }
    }

    fn write(
        &mut self,
        records: Vec<Ready>,
        bytes: u64,
        replies: Vec<Reply>,
    ) -> Result<(), (StoreError, Vec<Reply>)> {
        let (volume, stored) = match self.volume_for(bytes) {
            Ok(current) => current,
            Err(error) => return Err((error, replies)),
        };
        let mut steps = Volume::steps(records).into_iter().peekable();
        let mut replies = Some(replies);
        let stored = stored + bytes;
        while let Some((step, cost)) = steps.next() {
            self.syncing.wait_for_room(cost);
            let written = match self.syncing.failure(volume) {
                Some(error) => Err(error),
                None => self.shared.with(volume, |open| open.write(step)),
            };
            if let Err(error) = written {
                self.give_up(volume, &error);
                return Err((error, replies.unwrap_or_default()));
            }
            // The last step answers for those before it: a volume that fails once fails for good.
            let answers = if steps.peek().is_none() { replies.take() } else { None };
            if answers.is_some() {
                self.current = Some((volume, stored));
                self.shared.update_info(volume, |info| info.bytes_stored = stored);
            }
            self.syncing.sync(Written { volume, cost, replies: answers.unwrap_or_default() });
        }
        self.measure();
        if !self.copying && stored >= self.shared.settings.volume_bytes {
            self.seal(None);
        }
        Ok(())
    }

    /// The current volume, or a new one.
    fn volume_for(&mut self, bytes: u64) -> Result<(VolumeId, u64), StoreError> {
        self.shared.room().check(bytes)?;
        if let Some(current) = self.current {
            match self.syncing.failure(current.0) {
                None => return Ok(current),
                Some(error) => self.give_up(current.0, &error),
            }
        }
        let volume = self.next;
        self.shared.create(volume)?;
        self.next = VolumeId(volume.0 + 1);
        self.current = Some((volume, 0));
        Ok((volume, 0))
    }

    /// After a failed write the engine is in an unknown state: goes on in a fresh volume.
    fn give_up(&mut self, volume: VolumeId, error: &StoreError) {
        self.syncing.drain();
        if self.syncing.failure(volume).is_none() {
            self.shared.fail(volume, error);
        }
        self.seal(None);
    }

    /// Ends the current volume when an append of this cost has no room in it.
    fn make_room(&mut self, cost: u64) {
        if self.room.is_some_and(|room| cost > room) {
            // What is not synced yet counts twice in the estimate; the end is worth a wait.
            self.syncing.drain();
            self.measure();
            if self.room.is_some_and(|room| cost > room) {
                self.seal(None);
            }
        }
    }

    /// Notes how much room the current volume has. A volume ends where a segment of its log ends,
    /// as nearly as the appends allow: what is left of the last segment is filled with zeros.
    fn measure(&mut self) {
        let segment = VOLUME_SEGMENT_BYTES as u64;
        let whole = self.shared.settings.volume_bytes / segment * segment;
        let log = match self.current {
            Some((volume, stored)) if stored > 0 && whole > 0 && !self.copying => {
                // An error comes up again with the next append.
                self.shared.with(volume, Volume::log_bytes).ok().flatten()
            }
            _ => None,
        };
        // Some of what is not synced yet may not be in the file yet.
        let unsynced = self.syncing.unsynced_bytes() as u64;
        self.room = log.map(|log| whole.saturating_sub(log + unsynced));
    }

    fn begin(&mut self, volume: VolumeId, created_us: u64) -> Result<(), StoreError> {
        self.seal(None);
        if volume < self.next {
            return Err(StoreError::VolumeTaken { volume });
        }
        self.shared.create(volume)?;
        self.shared.update_info(volume, |info| info.created_us = created_us);
        self.next = VolumeId(volume.0 + 1);
        self.current = Some((volume, 0));
        self.copying = true;
        Ok(())
    }

    /// Hands the current volume to the sealer; `reply` hears when it is sealed.
    fn seal(&mut self, reply: Option<SyncSender<Result<(), StoreError>>>) {
        self.copying = false;
        self.room = None;
        self.syncing.drain();
        let volume = self.current.take().map(|(volume, _)| volume);
        // The sealer outlives the writer, unless it panicked; then the next start seals, and
        // whoever waits for the reply learns that the store is closed.
        drop(self.seals.send((volume, reply)));
    }
}

fn run_sealer(shared: &Shared, unsealed: Vec<VolumeId>, queue: &Receiver<Closing>) {
    let left_over = unsealed.into_iter().map(|volume| (Some(volume), None));
    for (volume, reply) in left_over.chain(queue.iter()) {
        let result = volume.map_or(Ok(()), |volume| shared.seal(volume));
        if let (Some(volume), Err(error)) = (volume, &result) {
            let what = format!("volume could not be sealed: {error}");
            shared.report(Incident { volume, what, quarantined: None });
        }
        if let Some(reply) = reply {
            let _ = reply.send(result);
        }
    }
}

impl Shared {
    /// Closes a volume that could not be written, so that a reader that comes before the sealer
    /// opens it anew, and keeps why.
    pub(super) fn fail(&self, volume: VolumeId, error: &StoreError) {
        self.close(volume);
        let what = format!("volume was closed early: {error}");
        self.report(Incident { volume, what, quarantined: None });
    }

    /// Closes a volume for good. Readers wait meanwhile, some tens of milliseconds.
    fn seal(&self, volume: VolumeId) -> Result<(), StoreError> {
        let slot = self.slot(volume)?;
        let dir = self.dir(volume);
        let mut database = slot.database.write().unwrap_or_else(PoisonError::into_inner);
        if lock(&slot.facts).gone {
            return Ok(());
        }
        database.take();
        lock(&self.open).retain(|id| *id != volume);
        // From here on the sums say what must be there.
        remove_mark(&dir)?;
        // Opened until the engine leaves its files as they are: it writes a snapshot when it opens,
        // merges small leaves when they are walked, and after a power cut clears the log's tail.
        // The log is durable before, and all of it after; in between nothing is promised.
        seal::sync_log(&dir)?;
        let mut before = None;
        let (mut records, mut bytes_stored) = (0, 0);
        for _ in 0..REST_OPENINGS_MAX {
            let engine = self.opener.open(&dir, &Self::name(volume), Use::SealedVolume)?;
            let rested = Volume::new(Self::name(volume), engine)?;
            (records, bytes_stored) = rested.totals()?;
            drop(rested);
            let files = seal::files(&dir)?;
            if before.as_ref() == Some(&files) {
                break;
            }
            before = Some(files);
        }
        sync_files(&dir)?;
        let known = lock(&slot.facts).info.clone();
        let created_us = known.map_or_else(now_us, |info| info.created_us);
        seal::write(&dir, created_us, records, bytes_stored)?;
        if now_us().saturating_sub(created_us) < BULK_FILL_US {
            seal::drop_from_cache(&dir);
        }
        let bytes_on_disk = seal::bytes_on_disk(&dir);
        lock(&slot.facts).info =
            Some(VolumeInfo { id: volume, sealed: true, bytes_on_disk, bytes_stored, created_us });
        Ok(())
    }
}
