//! One client that was let in: first the notice, then the desktop, until it leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ironrdp_acceptor::Acceptor;
use ironrdp_pdu::Action;
use ironrdp_pdu::gcc::ClientEarlyCapabilityFlags;
use tokio::io::{AsyncRead, split};
use tokio::sync::watch;

use super::activation::{Activation, ActivationError};
use super::capabilities::{Accepted, accepted};
use super::channels::chunk::ChunkError;
use super::channels::dynamic::{self, Dynamic, DynamicError, Dynamics, Told};
use super::channels::{Channels, Static};
use super::clipboard::Effect;
use super::display;
use super::gate::{Gate, PointerUse};
use super::hands::Hands;
use super::handshake::Entered;
use super::input::Input;
use super::keylog::Key;
use super::message::{self, Message};
use super::notice::{Answer, Notice};
use super::outgoing::{self, Frame, Outbox};
use super::picture::{Encoder, Part};
use super::roundtrip::RoundTrip;
use super::screen::{Screen, Wishes};
use super::sharing::{self, Sharing};
use crate::event::EventKind;
use crate::policy::Capability;
use crate::session::{Admission, Ended, Order};

/// Longest time the worker may look at the notice.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often counts of input and refusals become events.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time a client may take to be active again after a change of size.
const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client's wish for another size must stand before it is granted: a window that is
/// drawn larger says a new size with every move.
const SIZE_SETTLES: Duration = Duration::from_millis(300);

/// Serves a client until it leaves, and tells how it ended.
pub async fn serve(entered: Entered) {
    let Entered { wire, acceptor, result, channels, admission, leave } = entered;
    let (stream, leftover) = wire.into_inner();
    let (reader, writer) = split(stream);
    let reader = ironrdp_tokio::MovableTokioFramed::new_with_leftover(reader, leftover);
    let (outbox, outgoing) = outgoing::outbox();
    let policy = admission.policy.borrow().clone();
    let size = (admission.desktop.width, admission.desktop.height);
    let answers = result
        .client_early_capability_flags
        .contains(ClientEarlyCapabilityFlags::SUPPORT_NET_CHAR_AUTODETECT);
    let answering = result.message_channel_id.filter(|_| answers);
    let session = Session {
        gate: Gate::new(policy, admission.observer, 0),
        notice: notice(&admission),
        hands: None,
        accepted: accepted(&result.capabilities),
        wishes: Arc::default(),
        outbox,
        out: Vec::new(),
        shown: false,
        resized: watch::Sender::new(size),
        activity: Activity::Active(acceptor),
        size_wish: None,
        channels,
        dynamics: Dynamics::default(),
        sharing: None,
        round_trip: RoundTrip::new(result.user_channel_id, answering),
        ids: (result.user_channel_id, result.io_channel_id),
        began: Instant::now(),
        admission,
    };
    // Reading goes on while a slow reader is written to.
    let counters = session.admission.counters.clone();
    let reading = session.run(reader, result.input_events);
    let writing = outgoing::write(writer, outgoing, counters);
    let (ended, mut writer) = outgoing::drive(reading, writing).await;
    leave.say(ended);
    outgoing::goodbye(&mut writer).await;
}

fn notice(admission: &Admission) -> Notice {
    Notice::new(
        &admission.desktop.name,
        &admission.user,
        &admission.recorded_by,
        admission.session,
        &admission.policy.borrow(),
    )
}

/// Whether the client may be sent pictures.
enum Activity {
    Active(Acceptor),
    /// On the way to another size, since then.
    Changing(Activation, Instant),
    /// For the moment in which one becomes the other.
    Between,
}

struct Session {
    admission: Admission,
    gate: Gate,
    notice: Notice,
    /// Only while the desktop is shown.
    hands: Option<Hands>,
    accepted: Accepted,
    wishes: Arc<Wishes>,
    outbox: Outbox,
    /// Replies of the step that is under way.
    out: Vec<u8>,
    /// The notice was accepted.
    shown: bool,
    /// The size the desktop was last seen with.
    resized: watch::Sender<(u16, u16)>,
    activity: Activity,
    /// The size the client wants, and since when.
    size_wish: Option<((u16, u16), tokio::time::Instant)>,
    channels: Channels,
    dynamics: Dynamics,
    /// The clipboard, while the desktop is shown.
    sharing: Option<Sharing>,
    round_trip: RoundTrip,
    /// The server's own MCS channel and that of the pictures.
    ids: (u16, u16),
    began: Instant,
}

impl Session {
    async fn run<S: AsyncRead + Unpin + Send>(
        mut self,
        mut reader: ironrdp_tokio::MovableTokioFramed<S>,
        backlog: Vec<Vec<u8>>,
    ) -> Ended {
        let begun = match self.admission.accepted {
            true => self.show(),
            false => self.ask().await,
        };
        if let Err(ended) = begun {
            return ended;
        }
        for bytes in backlog {
            let action = bytes.first().and_then(|first| Action::from_fp_output_header(*first).ok());
            let Some(action) = action else { continue };
            if let Err(ended) = self.take(action, &bytes) {
                return self.end(ended);
            }
        }
        self.open_channels();
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        let mut resized = self.resized.subscribe();
        loop {
            if !self.out.is_empty() {
                let reply = std::mem::take(&mut self.out);
                if self.outbox.replies.send(reply).await.is_err() {
                    return self.end(Ended::Lost);
                }
            }
            let settled = self.size_wish.map(|(_, since)| since + SIZE_SETTLES);
            let step = tokio::select! {
                message = reader.read_pdu() => match message {
                    Ok((action, bytes)) => {
                        self.admission.counters.received(bytes.len());
                        self.take(action, &bytes)
                    }
                    Err(_) => Err(Ended::Lost),
                },
                changed = self.admission.policy.changed() => match changed {
                    Ok(()) => {
                        self.follow_policy();
                        Ok(())
                    }
                    Err(_) => Err(Ended::Ordered),
                },
                news = sharing::news(&mut self.sharing) => {
                    self.share(|one, now_us| one.clipboard.news(news, now_us));
                    Ok(())
                }
                changed = self.admission.orders.changed() => {
                    match (changed, &*self.admission.orders.borrow()) {
                        (Ok(()), Order::Run) => Ok(()),
                        _ => Err(Ended::Ordered),
                    }
                }
                _ = tokio::time::sleep_until(settled.unwrap_or_else(tokio::time::Instant::now)),
                    if settled.is_some() && self.shown =>
                {
                    self.change_size();
                    Ok(())
                }
                _ = resized.changed() => self.follow_size(),
                _ = report.tick() => self.tick(),
            };
            if let Err(ended) = step {
                return self.end(ended);
            }
        }
    }

    fn end(&mut self, ended: Ended) -> Ended {
        self.share(|one, _| one.clipboard.end());
        self.report();
        ended
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn follow_policy(&mut self) {
        let policy = self.admission.policy.borrow_and_update().clone();
        if let Some(hands) = &mut self.hands {
            hands.granted(self.gate.policy(), &policy);
        }
        self.gate.replace(policy.clone());
        self.share(|one, now_us| one.clipboard.replace(policy, now_us));
        self.limit_clipboard();
    }

    fn limit_clipboard(&mut self) {
        if let Some(sharing) = &self.sharing {
            self.channels.set_limit(Static::Clipboard, sharing.clipboard.max_message_bytes());
        }
    }

    /// Has the clipboard do something, and does what comes of it.
    fn share(&mut self, act: impl FnOnce(&mut Sharing, u64) -> Vec<Effect>) {
        let now_us = self.now_us();
        let effects = self.sharing.as_mut().map(|sharing| act(sharing, now_us));
        self.carry_out(effects.unwrap_or_default());
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Say(message) => {
                    let said = self.channels.append(&mut self.out, Static::Clipboard, &message);
                    if let Err(error) = said {
                        tracing::warn!(%error, "a message of the clipboard is not sent");
                    }
                }
                Effect::Do(order) => {
                    if let Some(sharing) = &self.sharing {
                        sharing.order(order);
                    }
                }
                Effect::Record(event) => self.admission.events.record(event),
                Effect::Refuse(capability, denial) => self.gate.refuse(capability, denial),
            }
        }
    }

    fn report(&mut self) {
        if let Some(hands) = &mut self.hands {
            hands.report(self.admission.events.as_ref());
        }
        for event in self.gate.report() {
            if let Some(hands) = &mut self.hands {
                hands.refused(&event);
            }
            self.admission.events.record(event);
        }
    }

    fn tick(&mut self) -> Result<(), Ended> {
        self.share(|one, now_us| one.clipboard.tick(now_us));
        self.report();
        if matches!(self.activity, Activity::Active(_)) {
            self.round_trip.ask(Instant::now(), &mut self.out);
        }
        if !self.shown && self.began.elapsed() > NOTICE_TIMEOUT {
            return Err(Ended::Declined);
        }
        match &self.activity {
            Activity::Changing(_, since) if since.elapsed() > ACTIVATION_TIMEOUT => {
                Err(Ended::Lost)
            }
            _ => Ok(()),
        }
    }

    /// Shows the notice, and nothing else.
    async fn ask(&mut self) -> Result<(), Ended> {
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
    fn show(&mut self) -> Result<(), Ended> {
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
        }
        self.watch()
    }

    /// Begins to send the desktop's pictures.
    fn watch(&self) -> Result<(), Ended> {
        let screen = Screen {
            desktop: self.admission.desktop.clone(),
            accepted: self.accepted,
            wishes: self.wishes.clone(),
            frames: self.outbox.frames.clone(),
            generation: self.outbox.generation.clone(),
            resized: self.resized.clone(),
            counters: self.admission.counters.clone(),
        };
        screen.start().map_err(|error| {
            tracing::warn!(%error, "desktop cannot be shown");
            Ended::NoDesktop
        })
    }

    fn size(&self) -> (u16, u16) {
        (self.admission.desktop.width, self.admission.desktop.height)
    }

    fn take(&mut self, action: Action, bytes: &[u8]) -> Result<(), Ended> {
        match message::read(self.ids.1, action, bytes) {
            Message::Inputs(inputs) => {
                for input in inputs {
                    self.input(input)?;
                }
            }
            Message::Suppress(suppressed) => {
                self.wishes.suppressed.store(suppressed, Ordering::Relaxed);
                if !suppressed {
                    self.wishes.repaint.store(true, Ordering::Relaxed);
                }
            }
            Message::Repaint => self.wishes.repaint.store(true, Ordering::Relaxed),
            Message::Channel(id, chunk) => self.channel(id, &chunk),
            Message::Activation => return self.activate(bytes),
            Message::Goodbye => return Err(Ended::LoggedOff),
            Message::Nothing => {}
        }
        Ok(())
    }

    fn input(&mut self, input: Input) -> Result<(), Ended> {
        if !self.shown {
            let (width, height) = self.size();
            return match self.notice.answer(input, width, height) {
                None => Ok(()),
                Some(Answer::Declined) => Err(Ended::Declined),
                Some(Answer::Accepted) => {
                    let (user, text) = (self.admission.user.clone(), self.notice.hash());
                    self.admission.events.record(EventKind::NoticeAccepted { user, text });
                    self.show()
                }
            };
        }
        let now_us = self.now_us();
        let events = self.admission.events.as_ref();
        let key = match &mut self.hands {
            Some(hands) => hands.follow(input, events),
            None => Key::Other,
        };
        let passes = match input {
            _ if key == Key::Hot => return Ok(()),
            Input::Key { down: true, .. } | Input::Unicode { down: true, .. } => self.gate.key(),
            // Letting go of what was never pressed is nothing to the keyboard.
            Input::Key { down: false, .. } | Input::Unicode { down: false, .. } => true,
            Input::Move { .. } => self.gate.pointer(PointerUse::Move, now_us),
            Input::Wheel { .. } => self.gate.pointer(PointerUse::Wheel, now_us),
            Input::Button { down: true, .. } => self.gate.pointer(PointerUse::Press, now_us),
            Input::Button { down: false, .. } => self.gate.pointer(PointerUse::Release, now_us),
        };
        if let (true, Some(hands)) = (passes, &mut self.hands)
            && !hands.send(input, key, now_us)
        {
            self.gate.overrun(match input {
                Input::Key { .. } | Input::Unicode { .. } => Capability::Keyboard,
                _ => Capability::Mouse,
            });
        }
        Ok(())
    }

    /// Begins with the virtual channels that the client joined.
    fn open_channels(&mut self) {
        if self.channels.has(Static::Dynamic) {
            let begin = Dynamics::begin().and_then(|message| self.say_dynamic(&message));
            self.lament(begin);
        }
    }

    fn channel(&mut self, id: u16, chunk: &[u8]) {
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
            Told::Closed(_) | Told::Nothing => {}
        }
        Ok(())
    }

    /// Has the desktop take the size the client wants. Whoever watches it will see.
    fn change_size(&mut self) {
        let Some((size, _)) = self.size_wish.take() else { return };
        if size == self.size() || !self.gate.other(Capability::Resize) {
            return;
        }
        let desktop = self.admission.desktop.clone();
        // The X server may hang; nobody waits for it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = display::change(&desktop, size) {
                tracing::warn!(%error, "a desktop keeps its size");
            }
        });
    }

    /// Activates the client anew when the desktop has another size.
    fn follow_size(&mut self) -> Result<(), Ended> {
        let size = *self.resized.borrow();
        if size == self.size() {
            return Ok(());
        }
        let acceptor = match std::mem::replace(&mut self.activity, Activity::Between) {
            Activity::Active(acceptor) => acceptor,
            // It is looked at again when the client is active.
            changing => {
                self.activity = changing;
                return Ok(());
            }
        };
        self.outbox.generation.fetch_add(1, Ordering::AcqRel);
        let begun = Activation::begin(acceptor, self.ids, size, &mut self.out);
        self.activity = Activity::Changing(begun.map_err(given_up)?, Instant::now());
        Ok(())
    }

    fn activate(&mut self, message: &[u8]) -> Result<(), Ended> {
        let Activity::Changing(activation, _) = &mut self.activity else { return Ok(()) };
        let Some(result) = activation.take(message, &mut self.out).map_err(given_up)? else {
            return Ok(());
        };
        let (width, height) = activation.size();
        if let Activity::Changing(activation, _) =
            std::mem::replace(&mut self.activity, Activity::Between)
        {
            self.activity = Activity::Active(activation.into_acceptor());
        }
        self.accepted = accepted(&result.capabilities);
        (self.admission.desktop.width, self.admission.desktop.height) = (width, height);
        let (width, height) = (width.into(), height.into());
        self.admission.events.record(EventKind::Resized { width, height });
        self.follow_size()?;
        match self.activity {
            Activity::Active(_) => self.watch(),
            _ => Ok(()),
        }
    }
}

fn given_up(error: ActivationError) -> Ended {
    tracing::debug!(%error, "rdp client lost at a change of size");
    Ended::Lost
}
