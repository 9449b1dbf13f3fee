//! The clipboard between a client and its desktop ([MS-RDPECLIP]): text, pictures and files.
//!
//! Nothing goes over before a program asks for it, and each content is asked of the policy twice:
//! when it is offered, and when its size and hash are known. The state machine is pure: messages of
//! the client and news of the desktop go in, [`Effect`]s come out. What goes into the desktop is in
//! `inward`, what goes out of it in `outward`; [`selection`] is the desktop's side.
//!
//! [MS-RDPECLIP]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpeclip/

pub mod content;
mod inward;
mod outward;
pub mod selection;
pub mod store;
pub mod uris;

use std::sync::Arc;

use ironrdp_cliprdr::pdu::{
    Capabilities, ClipboardFormat, ClipboardFormatId, ClipboardFormatName,
    ClipboardGeneralCapabilityFlags as Flags, ClipboardPdu, ClipboardProtocolVersion,
    FileContentsResponse, FormatDataResponse, FormatListResponse,
};
use ironrdp_core::{DecodeError, decode, encode_vec};

use crate::event::{ClipboardKind, EventKind};
use crate::policy::{Capability, Denial, Direction, Policy};
use inward::Inward;
use outward::Outward;
use selection::{Kind, Kinds, News, Order};

/// Messages of a client that are no content, bytes: lists of formats and of files.
const MAX_LIST_BYTES: usize = 256 << 10;
/// Offers of a client a second, and how many may come at once. More are refused.
const OFFERS_PER_S: u64 = 10;
const OFFERS_AT_ONCE: u64 = 20;
/// Formats of one offer that are looked at.
const MAX_FORMATS: usize = 256;
/// The number under which files are offered to clients; theirs may be another.
const FILES_FORMAT: u32 = 0xc0f1;
/// How long a client may take for content before its programs are told there is none.
const CLIENT_TIMEOUT_US: u64 = 60_000_000;
/// How long it may take to answer for content that it does not have any more. FreeRDP does not
/// answer when its own clipboard changes meanwhile, and nothing else can be asked before.
const STALE_TIMEOUT_US: u64 = 2_000_000;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this message to the client.
    Say(Vec<u8>),
    /// Have the desktop's side do this.
    Do(Order),
    /// Record this.
    Record(EventKind),
    /// Count this as refused.
    Refuse(Capability, Denial),
}

/// Why a message of a client is not taken.
#[derive(Debug, thiserror::Error)]
#[error("no message of the clipboard")]
pub struct ClipboardError(#[source] DecodeError);

/// The clipboard of one connection.
#[derive(Debug)]
pub struct Clipboard {
    policy: Arc<Policy>,
    /// Whether the desktop has a directory for files.
    files: bool,
    long_names: bool,
    /// The client has made its first offer: before, it does not listen.
    ready: bool,
    /// Offers still allowed, in millionths.
    credit: u64,
    credit_at_us: u64,
    inward: Inward,
    outward: Outward,
}

impl Clipboard {
    /// A clipboard under `policy`; `files` where the desktop has a directory for them.
    pub fn new(policy: Arc<Policy>, files: bool, now_us: u64) -> Self {
        Clipboard {
            policy,
            files,
            long_names: false,
            ready: false,
            credit: OFFERS_AT_ONCE * 1_000_000,
            credit_at_us: now_us,
            inward: Inward::default(),
            outward: Outward::default(),
        }
    }

    /// The first messages to the client.
    pub fn begin() -> Vec<Effect> {
        let flags = Flags::USE_LONG_FORMAT_NAMES
            | Flags::STREAM_FILECLIP_ENABLED
            | Flags::FILECLIP_NO_FILE_PATHS
            | Flags::HUGE_FILE_SUPPORT_ENABLED;
        let capabilities = Capabilities::new(ClipboardProtocolVersion::V2, flags);
        let mut effects = Vec::new();
        say(&mut effects, &ClipboardPdu::Capabilities(capabilities));
        say(&mut effects, &ClipboardPdu::MonitorReady);
        effects
    }

    /// Longest message that is taken of the client now, bytes: text has up to two for each of ours.
    pub fn max_message_bytes(&self) -> usize {
        let content = self.policy.clipboard_in_bytes.unwrap_or(0).saturating_mul(2);
        usize::try_from(content).unwrap_or(usize::MAX).saturating_add(MAX_LIST_BYTES)
    }

    /// Another policy is in force: what it newly allows is offered.
    pub fn replace(&mut self, policy: Arc<Policy>, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = std::mem::replace(&mut self.policy, policy);
        let had = (self.allowed(&before, Direction::In), self.allowed(&before, Direction::Out));
        let (inward, outward) = self.permitted();
        if inward != had.0 {
            self.inward.offer(inward, now_us, &mut effects);
        }
        if outward != had.1 && self.ready {
            self.outward.offer(outward, self.long_names, &mut effects);
        }
        effects
    }

    /// Which kinds may go that way at all.
    fn allowed(&self, policy: &Policy, direction: Direction) -> Kinds {
        let (content, files) = capabilities(direction);
        let content = policy.allows(content);
        Kinds { text: content, image: content, files: self.files && policy.allows(files) }
    }

    fn permitted(&self) -> (Kinds, Kinds) {
        let policy = &self.policy;
        (self.allowed(policy, Direction::In), self.allowed(policy, Direction::Out))
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// Bytes that are none; nothing has changed then.
    pub fn take(&mut self, message: &[u8], now_us: u64) -> Result<Vec<Effect>, ClipboardError> {
        let mut effects = Vec::new();
        let out = &mut effects;
        match decode::<ClipboardPdu<'_>>(message).map_err(ClipboardError)? {
            ClipboardPdu::Capabilities(capabilities) => {
                self.long_names = capabilities.flags().contains(Flags::USE_LONG_FORMAT_NAMES);
            }
            ClipboardPdu::FormatList(list) => {
                // A client that cannot be read has nothing.
                let formats = list.get_formats(self.long_names).unwrap_or_default();
                self.client_offers(&formats, now_us, out);
            }
            ClipboardPdu::FormatDataRequest(request) => {
                let kind = kind_of(request.format);
                self.outward.requested(kind, self.permitted().1, &self.policy, out);
            }
            ClipboardPdu::FormatDataResponse(answer) => {
                let data = (!answer.is_error()).then(|| answer.data());
                self.inward.answered(data, &self.policy, now_us, out);
            }
            ClipboardPdu::FileContentsRequest(request) => {
                self.outward.contents_requested(&request, &self.policy, out);
            }
            ClipboardPdu::FileContentsResponse(answer) => {
                let data = (!answer.is_error()).then(|| answer.data());
                let stream = answer.stream_id();
                self.inward.contents(stream, data, &self.policy, now_us, out);
            }
            ClipboardPdu::MonitorReady
            | ClipboardPdu::FormatListResponse(_)
            | ClipboardPdu::TemporaryDirectory(_)
            | ClipboardPdu::LockData(_)
            | ClipboardPdu::UnlockData(_) => {}
        }
        Ok(effects)
    }

    fn client_offers(&mut self, formats: &[ClipboardFormat], now_us: u64, out: &mut Vec<Effect>) {
        let passed = now_us.saturating_sub(self.credit_at_us);
        self.credit_at_us = self.credit_at_us.max(now_us);
        let earned = self.credit.saturating_add(passed.saturating_mul(OFFERS_PER_S));
        self.credit = earned.min(OFFERS_AT_ONCE * 1_000_000);
        let Some(left) = self.credit.checked_sub(1_000_000) else {
            out.push(Effect::Refuse(Capability::ClipboardIn, Denial::OverLimit));
            say(out, &ClipboardPdu::FormatListResponse(FormatListResponse::Fail));
            return;
        };
        self.credit = left;
        say(out, &ClipboardPdu::FormatListResponse(FormatListResponse::Ok));
        let formats = formats.get(..MAX_FORMATS).unwrap_or(formats);
        let (inward, outward) = self.permitted();
        self.inward.client_offers(formats, inward, now_us, out);
        if !std::mem::replace(&mut self.ready, true) {
            self.outward.offer(outward, self.long_names, out);
        }
    }

    /// The client began a message that is longer than it may be.
    pub fn overlong(&mut self, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.inward.overlong(now_us, &mut effects);
        effects
    }

    /// Takes what the desktop's side tells.
    pub fn news(&mut self, news: News, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let out = &mut effects;
        match news {
            News::Offered(kinds) => {
                self.inward.lost(now_us, out);
                self.outward.desktop_offers(kinds, out);
                if self.ready {
                    self.outward.offer(self.permitted().1, self.long_names, out);
                }
            }
            News::Wanted(id, kind) => self.inward.wanted(id, kind, now_us, out),
            News::Fetched(kind, found) => self.outward.fetched(kind, found, &self.policy, out),
            News::ReadDone(bytes) => self.outward.read(bytes, out),
            News::Stored(taken) => self.inward.stored(taken, now_us, out),
            News::Finished(file) => self.inward.finished(file, now_us, out),
        }
        effects
    }

    /// Time passes: what a client does not answer is given up.
    pub fn tick(&mut self, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.inward.tick(now_us, &mut effects);
        effects
    }

    /// The connection is over: what went out in part is told.
    pub fn end(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.outward.end(&mut effects);
        effects
    }
}

/// The capabilities for content and for files.
fn capabilities(direction: Direction) -> (Capability, Capability) {
    match direction {
        Direction::In => (Capability::ClipboardIn, Capability::FilesIn),
        Direction::Out => (Capability::ClipboardOut, Capability::FilesOut),
    }
}

fn capability(direction: Direction, kind: Kind) -> Capability {
    let (content, files) = capabilities(direction);
    if kind == Kind::Files { files } else { content }
}

fn event_kind(kind: Kind) -> ClipboardKind {
    match kind {
        Kind::Text => ClipboardKind::Text,
        Kind::Image => ClipboardKind::Image,
        Kind::Files => ClipboardKind::Files,
    }
}

fn say(out: &mut Vec<Effect>, message: &ClipboardPdu<'_>) {
    match encode_vec(message) {
        Ok(bytes) => out.push(Effect::Say(bytes)),
        Err(error) => tracing::warn!(%error, "a message of the clipboard cannot be said"),
    }
}

/// Answers a request for content: none is an error for the client.
fn say_data(out: &mut Vec<Effect>, data: Option<Vec<u8>>) {
    let answer = data.map_or_else(FormatDataResponse::new_error, FormatDataResponse::new_data);
    say(out, &ClipboardPdu::FormatDataResponse(answer));
}

fn say_contents(out: &mut Vec<Effect>, stream: u32, data: Option<Vec<u8>>) {
    let answer = match data {
        Some(data) => FileContentsResponse::new_data_response(stream, data),
        None => FileContentsResponse::new_error(stream),
    };
    say(out, &ClipboardPdu::FileContentsResponse(answer));
}

/// What a number means that we offered.
fn kind_of(format: ClipboardFormatId) -> Option<Kind> {
    match format {
        ClipboardFormatId::CF_UNICODETEXT => Some(Kind::Text),
        ClipboardFormatId::CF_DIB => Some(Kind::Image),
        ClipboardFormatId(FILES_FORMAT) => Some(Kind::Files),
        _ => None,
    }
}

/// The formats under which kinds are offered to a client.
fn formats_of(kinds: Kinds) -> Vec<ClipboardFormat> {
    let mut formats = Vec::new();
    if kinds.text {
        formats.push(ClipboardFormat::new(ClipboardFormatId::CF_UNICODETEXT));
    }
    if kinds.image {
        formats.push(ClipboardFormat::new(ClipboardFormatId::CF_DIB));
    }
    if kinds.files {
        let format = ClipboardFormat::new(ClipboardFormatId(FILES_FORMAT));
        formats.push(format.with_name(ClipboardFormatName::FILE_LIST));
    }
    formats
}

#[cfg(test)]
mod tests;
