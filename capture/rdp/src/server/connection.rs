//! One client that was let in: first the notice, then the desktop, until it leaves.

mod hearing;
mod shown;
mod size;
mod virtual_channels;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ironrdp_acceptor::Acceptor;
use ironrdp_pdu::Action;
use ironrdp_pdu::gcc::ClientEarlyCapabilityFlags;
use tokio::io::{AsyncRead, split};
use tokio::sync::watch;

use hearing::Hearing;

use super::activation::Activation;
use super::capabilities::{Accepted, accepted};
use super::channels::dynamic::{Dynamic, Dynamics};
use super::channels::{Channels, Static};
use super::clipboard::Effect;
use super::gate::{Gate, PointerUse};
use super::hands::Hands;
use super::handshake::Entered;
use super::input::Input;
use super::keylog::Key;
use super::message::{self, Message};
use super::notice::{Answer, Notice};
use super::outgoing::{self, Outbox};
use super::roundtrip::RoundTrip;
use super::screen::Wishes;
use super::sharing::{self, Sharing};
use super::video::Video;
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
    let video = result
        .client_early_capability_flags
        .contains(ClientEarlyCapabilityFlags::SUPPORT_DYN_VC_GFX_PROTOCOL);
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
        projected: None,
        size_wish: None,
        channels,
        dynamics: Dynamics::new(if video { &Dynamic::ALL } else { &Dynamic::PLAIN }),
        video: Arc::default(),
        video_due: false,
        sharing: None,
        hearing: None,
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
    video: Arc<Video>,
    /// The activation for which video was begun.
    projected: Option<u64>,
    /// Video is to begin once everything said so far has gone to the writer.
    video_due: bool,
    /// The clipboard, while the desktop is shown.
    sharing: Option<Sharing>,
    /// Its sound, while the desktop is shown to a client that takes sound.
    hearing: Option<Hearing>,
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
            if std::mem::take(&mut self.video_due) {
                self.project();
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
                block = hearing::next(&mut self.hearing) => {
                    self.play(&block);
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
        self.offer_sound();
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
}
