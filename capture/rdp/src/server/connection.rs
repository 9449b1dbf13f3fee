//! One client that was let in: first the notice, then the desktop, until it leaves.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::Action;
use ironrdp_pdu::mcs::{DisconnectProviderUltimatum, DisconnectReason, McsMessage};
use ironrdp_pdu::rdp::headers::{ShareControlHeader, ShareControlPdu, ShareDataPdu};
use ironrdp_pdu::x224::X224;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::capabilities::{Accepted, accepted};
use super::gate::{Gate, PointerUse};
use super::handshake::Entered;
use super::input::{self, Input};
use super::keyboard::Keyboard;
use super::notice::{Answer, Notice};
use super::picture::{Encoder, Part};
use super::screen::{self, FrameError, MAX_QUEUED_FRAMES, Wishes};
use crate::event::EventKind;
use crate::policy::Capability;
use crate::session::{Admission, Ended, Order};

/// Longest time one write may take before its reader counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time the worker may look at the notice.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often counts of input and refusals become events.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What a message of the client means.
enum Message {
    Inputs(Vec<Input>),
    Suppress(bool),
    Repaint,
    Goodbye,
    Nothing,
}

/// Serves a client until it leaves, and tells how it ended.
pub async fn serve(entered: Entered) {
    let Entered { wire, result, admission, leave } = entered;
    let (stream, leftover) = wire.into_inner();
    let (reader, writer) = split(stream);
    let reader = ironrdp_tokio::MovableTokioFramed::new_with_leftover(reader, leftover);
    let (frames, outgoing) = mpsc::channel(MAX_QUEUED_FRAMES);
    let accepted = accepted(&result.capabilities);
    let policy = admission.policy.borrow().clone();
    let session = Session {
        gate: Gate::new(policy, admission.observer, 0),
        keyboard: None,
        accepted,
        wishes: Arc::default(),
        frames: Some(frames),
        io_channel: result.io_channel_id,
        began: Instant::now(),
        admission,
    };
    // Reading goes on while a slow reader is written to.
    let reading = session.run(reader, result.input_events);
    let (ended, mut writer) = drive(reading, write(writer, outgoing)).await;
    leave.say(ended);
    goodbye(&mut writer).await;
}

type Outgoing = mpsc::Receiver<Result<Vec<u8>, FrameError>>;

/// Runs both halves until one of them ends.
async fn drive<W>(
    reading: impl Future<Output = Ended>,
    writing: impl Future<Output = (Ended, W)>,
) -> (Ended, Option<W>) {
    tokio::pin!(reading, writing);
    tokio::select! {
        ended = &mut reading => {
            // Its channel is closed: what is under way goes out, and the writer comes back.
            let patience = timeout(Duration::from_secs(1), writing).await;
            (ended, patience.ok().map(|(_, writer)| writer))
        }
        (ended, writer) = &mut writing => (ended, Some(writer)),
    }
}

async fn write<S: AsyncWrite>(
    mut writer: WriteHalf<S>,
    mut outgoing: Outgoing,
) -> (Ended, WriteHalf<S>) {
    while let Some(frame) = outgoing.recv().await {
        let bytes = match frame {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "desktop lost");
                return (Ended::NoDesktop, writer);
            }
        };
        let done = timeout(WRITE_TIMEOUT, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        if !matches!(done.await, Ok(Ok(()))) {
            return (Ended::Lost, writer);
        }
    }
    (Ended::LoggedOff, writer)
}

async fn goodbye<S: AsyncWrite>(writer: &mut Option<WriteHalf<S>>) {
    let Some(writer) = writer else { return };
    let reason = DisconnectReason::ProviderInitiated;
    let ultimatum =
        McsMessage::DisconnectProviderUltimatum(DisconnectProviderUltimatum::from_reason(reason));
    if let Ok(bytes) = encode_vec(&X224(ultimatum)) {
        // A client that is gone does not hear it.
        let _ = timeout(Duration::from_secs(1), async {
            writer.write_all(&bytes).await?;
            writer.shutdown().await
        })
        .await;
    }
}

struct Session {
    admission: Admission,
    gate: Gate,
    /// Only while the desktop is shown.
    keyboard: Option<Keyboard>,
    accepted: Accepted,
    wishes: Arc<Wishes>,
    /// Gone to the screen's thread once the desktop is shown.
    frames: Option<mpsc::Sender<Result<Vec<u8>, FrameError>>>,
    io_channel: u16,
    began: Instant,
}

impl Session {
    async fn run<S: AsyncRead + Unpin + Send>(
        mut self,
        mut reader: ironrdp_tokio::MovableTokioFramed<S>,
        backlog: Vec<Vec<u8>>,
    ) -> Ended {
        let notice = self.notice();
        if self.admission.accepted {
            if let Err(ended) = self.show() {
                return ended;
            }
        } else if let Err(ended) = self.ask(&notice).await {
            return ended;
        }
        for bytes in backlog {
            let action = bytes.first().and_then(|first| Action::from_fp_output_header(*first).ok());
            let Some(action) = action else { continue };
            if let Err(ended) = self.take(action, &bytes, &notice) {
                return self.end(ended);
            }
        }
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        loop {
            let step = tokio::select! {
                message = reader.read_pdu() => match message {
                    Ok((action, bytes)) => self.take(action, &bytes, &notice),
                    Err(_) => Err(Ended::Lost),
                },
                changed = self.admission.policy.changed() => match changed {
                    Ok(()) => {
                        self.gate.replace(self.admission.policy.borrow_and_update().clone());
                        Ok(())
                    }
                    Err(_) => Err(Ended::Ordered),
                },
                changed = self.admission.orders.changed() => {
                    match (changed, &*self.admission.orders.borrow()) {
                        (Ok(()), Order::Run) => Ok(()),
                        _ => Err(Ended::Ordered),
                    }
                }
                _ = report.tick() => {
                    self.report();
                    let waited = self.keyboard.is_none() && !self.is_shown();
                    match waited && self.began.elapsed() > NOTICE_TIMEOUT {
                        true => Err(Ended::Declined),
                        false => Ok(()),
                    }
                }
            };
            if let Err(ended) = step {
                return self.end(ended);
            }
        }
    }

    fn end(&mut self, ended: Ended) -> Ended {
        self.report();
        ended
    }

    fn report(&mut self) {
        for event in self.gate.report() {
            self.admission.events.record(event);
        }
    }

    fn is_shown(&self) -> bool {
        self.frames.is_none()
    }

    fn notice(&self) -> Notice {
        let admission = &self.admission;
        Notice::new(
            &admission.desktop.name,
            &admission.user,
            &admission.recorded_by,
            admission.session,
            admission.policy.borrow().hash(),
        )
    }

    /// Shows the notice, and nothing else.
    async fn ask(&mut self, notice: &Notice) -> Result<(), Ended> {
        let (width, height) = self.size();
        let canvas = notice.draw(width, height);
        let mut encoder = Encoder::new(self.accepted, width, height);
        let mut out = Vec::new();
        let all = Part { x: 0, y: 0, width, height };
        if let Err(error) = encoder.append(&mut out, canvas.pixels(), &[all]) {
            tracing::warn!(%error, "notice cannot be shown");
            return Err(Ended::NoDesktop);
        }
        let Some(frames) = &self.frames else { return Ok(()) };
        frames.send(Ok(out)).await.map_err(|_| Ended::Lost)?;
        self.admission.events.record(EventKind::NoticeShown { text: notice.hash() });
        Ok(())
    }

    /// Shows the desktop and lets input through.
    fn show(&mut self) -> Result<(), Ended> {
        let Some(frames) = self.frames.take() else { return Ok(()) };
        let desktop = &self.admission.desktop;
        if !self.admission.observer {
            match Keyboard::connect(desktop) {
                Ok(keyboard) => self.keyboard = Some(keyboard),
                Err(error) => {
                    tracing::warn!(%error, "desktop lost");
                    return Err(Ended::NoDesktop);
                }
            }
        }
        screen::start(desktop, self.accepted, self.wishes.clone(), frames).map_err(|error| {
            tracing::warn!(%error, "desktop cannot be shown");
            Ended::NoDesktop
        })
    }

    fn size(&self) -> (u16, u16) {
        (self.admission.desktop.width, self.admission.desktop.height)
    }

    fn take(&mut self, action: Action, bytes: &[u8], notice: &Notice) -> Result<(), Ended> {
        match self.read(action, bytes) {
            Message::Inputs(inputs) => {
                for input in inputs {
                    self.input(input, notice)?;
                }
            }
            Message::Suppress(suppressed) => {
                self.wishes.suppressed.store(suppressed, Ordering::Relaxed);
                if !suppressed {
                    self.wishes.repaint.store(true, Ordering::Relaxed);
                }
            }
            Message::Repaint => self.wishes.repaint.store(true, Ordering::Relaxed),
            Message::Goodbye => return Err(Ended::LoggedOff),
            Message::Nothing => {}
        }
        Ok(())
    }

    /// Reads one message. What cannot be read is dropped: a client may send what we do not know.
    fn read(&self, action: Action, bytes: &[u8]) -> Message {
        if action == Action::FastPath {
            return input::fast_path(bytes).map_or(Message::Nothing, Message::Inputs);
        }
        let Ok(X224(message)) = decode::<X224<McsMessage<'_>>>(bytes) else {
            return Message::Nothing;
        };
        let data = match message {
            McsMessage::SendDataRequest(data) => data,
            McsMessage::DisconnectProviderUltimatum(_) => return Message::Goodbye,
            _ => return Message::Nothing,
        };
        if data.channel_id != self.io_channel {
            return Message::Nothing;
        }
        let Ok(header) = decode::<ShareControlHeader>(&data.user_data) else {
            return Message::Nothing;
        };
        let ShareControlPdu::Data(header) = header.share_control_pdu else {
            return Message::Nothing;
        };
        match header.share_data_pdu {
            ShareDataPdu::Input(pdu) => Message::Inputs(input::slow_path(pdu)),
            ShareDataPdu::SuppressOutput(pdu) => Message::Suppress(pdu.desktop_rect.is_none()),
            ShareDataPdu::RefreshRectangle(_) => Message::Repaint,
            ShareDataPdu::ShutdownRequest => Message::Goodbye,
            _ => Message::Nothing,
        }
    }

    fn input(&mut self, input: Input, notice: &Notice) -> Result<(), Ended> {
        if !self.is_shown() {
            let (width, height) = self.size();
            return match notice.answer(input, width, height) {
                None => Ok(()),
                Some(Answer::Declined) => Err(Ended::Declined),
                Some(Answer::Accepted) => {
                    let (user, text) = (self.admission.user.clone(), notice.hash());
                    self.admission.events.record(EventKind::NoticeAccepted { user, text });
                    self.show()
                }
            };
        }
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let passes = match input {
            Input::Key { down: true, .. } | Input::Unicode { down: true, .. } => self.gate.key(),
            // Letting go of what was never pressed is nothing to the keyboard.
            Input::Key { down: false, .. } | Input::Unicode { down: false, .. } => true,
            Input::Move { .. } => self.gate.pointer(PointerUse::Move, now_us),
            Input::Wheel { .. } => self.gate.pointer(PointerUse::Wheel, now_us),
            Input::Button { down: true, .. } => self.gate.pointer(PointerUse::Press, now_us),
            Input::Button { down: false, .. } => self.gate.pointer(PointerUse::Release, now_us),
        };
        if let (true, Some(keyboard)) = (passes, &self.keyboard)
            && !keyboard.send(input)
        {
            self.gate.overrun(match input {
                Input::Key { .. } | Input::Unicode { .. } => Capability::Keyboard,
                _ => Capability::Mouse,
            });
        }
        Ok(())
    }
}
