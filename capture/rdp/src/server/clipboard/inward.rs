//! What goes from the client into the desktop.

use std::collections::VecDeque;
use std::path::PathBuf;

use ironrdp_cliprdr::pdu::{
    ClipboardFileAttributes, ClipboardFormat, ClipboardFormatId, ClipboardPdu, FileContentsFlags,
    FileContentsRequest, FormatDataRequest, PackedFileList,
};
use ironrdp_core::decode;
use lucid_evidence::Hash;

use super::content;
use super::selection::{Content, Kind, Kinds, Order};
use super::store::Received;
use super::uris::MAX_FILES;
use super::{CLIENT_TIMEOUT_US, Effect, STALE_TIMEOUT_US, capability, event_kind, say};
use crate::event::EventKind;
use crate::policy::{Capability, Denial, Direction, Policy};

/// Bytes of a file that are asked for at a time; the answer fits a message.
const RANGE_BYTES: u32 = 128 << 10;

/// What the client has, by the numbers it gave.
#[derive(Debug, Default)]
struct Offer {
    text: Option<ClipboardFormatId>,
    image: Option<ClipboardFormatId>,
    files: Option<ClipboardFormatId>,
}

impl Offer {
    fn of(formats: &[ClipboardFormat]) -> Self {
        let named = |wanted| {
            let has = |one: &&ClipboardFormat| one.name().is_some_and(|n| n.value() == wanted);
            formats.iter().find(has).map(ClipboardFormat::id)
        };
        let numbered = |id| formats.iter().map(ClipboardFormat::id).find(|one| *one == id);
        Offer {
            text: numbered(ClipboardFormatId::CF_UNICODETEXT),
            image: numbered(ClipboardFormatId::CF_DIB),
            files: named(ironrdp_cliprdr::pdu::FORMAT_NAME_FILE_LIST),
        }
    }

    /// Whether it has every kind at once: so FreeRDP says that it does not know what it has, before
    /// anything was copied and when the program that copied does not answer.
    fn is_all(&self) -> bool {
        self.text.is_some() && self.image.is_some() && self.files.is_some()
    }

    fn id(&self, kind: Kind) -> Option<ClipboardFormatId> {
        match kind {
            Kind::Text => self.text,
            Kind::Image => self.image,
            Kind::Files => self.files,
        }
    }
}

/// A request to the client for content that is under way. They carry no number: the next answer is
/// the answer.
#[derive(Debug)]
struct Asked {
    kind: Kind,
    since_us: u64,
    /// Since when the client has other content: the answer is not wanted any more.
    stale_us: Option<u64>,
}

/// Files that come in one after the other.
#[derive(Debug, Default)]
struct Receiving {
    /// Those that are to come: number, name, length.
    waiting: VecDeque<(i32, String, u64)>,
    current: Option<Current>,
    done: Vec<PathBuf>,
}

#[derive(Debug)]
struct Current {
    index: i32,
    name: String,
    bytes: u64,
    came: u64,
    /// The request that is under way, since when.
    asked: Option<(u32, u64)>,
    /// The disk has something to answer.
    storing: bool,
}

/// What goes from the client into the desktop.
#[derive(Debug, Default)]
pub(super) struct Inward {
    offer: Offer,
    wanted: Vec<(u64, Kind)>,
    /// Content that was fetched of this offer.
    fetched: Vec<(Kind, Content)>,
    asked: Option<Asked>,
    receiving: Option<Receiving>,
    /// Answers of the disk that belong to files given up.
    stale_disk: u32,
    next_stream: u32,
}

impl Inward {
    /// The client has something else now.
    pub fn client_offers(
        &mut self,
        formats: &[ClipboardFormat],
        allowed: Kinds,
        now_us: u64,
        out: &mut Vec<Effect>,
    ) {
        self.offer = Offer::of(formats);
        // Nobody has copied anything that would be all of it.
        let told =
            if self.offer.is_all() { &[][..] } else { &[Kind::Text, Kind::Image, Kind::Files] };
        for kind in told.iter().copied() {
            if self.offer.id(kind).is_none() {
                continue;
            }
            out.push(match allowed.has(kind) {
                true => {
                    let (direction, content) = (Direction::In, event_kind(kind));
                    Effect::Record(EventKind::Offered { direction, content })
                }
                false => Effect::Refuse(capability(Direction::In, kind), Denial::NotAllowed),
            });
        }
        self.offer(allowed, now_us, out);
    }

    /// Offers the desktop what the client has, as far as it is allowed.
    pub fn offer(&mut self, allowed: Kinds, now_us: u64, out: &mut Vec<Effect>) {
        let has = |kind| self.offer.id(kind).is_some() && allowed.has(kind);
        let kinds =
            Kinds { text: has(Kind::Text), image: has(Kind::Image), files: has(Kind::Files) };
        self.lost(now_us, out);
        out.push(Effect::Do(Order::Own(kinds)));
    }

    /// What the client had is not wanted any more: it has something else, or a program has.
    pub fn lost(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        self.wanted.clear();
        self.fetched.clear();
        if let Some(asked) = &mut self.asked {
            asked.stale_us.get_or_insert(now_us);
        }
        if let Some(current) = self.receiving.take().and_then(|all| all.current) {
            self.stale_disk += u32::from(current.storing);
            out.push(Effect::Do(Order::Abandon));
        }
    }

    /// A program of the desktop wants what the client has.
    pub fn wanted(&mut self, id: u64, kind: Kind, now_us: u64, out: &mut Vec<Effect>) {
        if let Some((_, content)) = self.fetched.iter().find(|(one, _)| *one == kind) {
            out.push(Effect::Do(Order::Provide(id, Some(content.clone()))));
            return;
        }
        self.wanted.push((id, kind));
        self.ask(now_us, out);
    }

    /// Asks the client for what is wanted next.
    fn ask(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        if self.asked.is_some() {
            return;
        }
        while let Some((_, kind)) = self.wanted.first().copied() {
            if kind == Kind::Files && self.receiving.is_some() {
                return;
            }
            match self.offer.id(kind) {
                Some(format) => {
                    self.asked = Some(Asked { kind, since_us: now_us, stale_us: None });
                    let request = FormatDataRequest { format };
                    say(out, &ClipboardPdu::FormatDataRequest(request));
                    return;
                }
                None => self.provide(kind, None, out),
            }
        }
    }

    /// Answers all programs that want this kind.
    fn provide(&mut self, kind: Kind, content: Option<Content>, out: &mut Vec<Effect>) {
        for (id, _) in self.wanted.extract_if(.., |(_, wanted)| *wanted == kind) {
            out.push(Effect::Do(Order::Provide(id, content.clone())));
        }
        self.fetched.extend(content.map(|content| (kind, content)));
    }

    /// The client's answer; none when it has nothing.
    pub fn answered(
        &mut self,
        data: Option<&[u8]>,
        policy: &Policy,
        now_us: u64,
        out: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.asked.take() else { return };
        if asked.stale_us.is_none() {
            match (asked.kind, data) {
                (Kind::Files, Some(list)) => self.receive(list, policy, now_us, out),
                (kind, data) => {
                    let content = data.and_then(|data| permitted(kind, data, policy, out));
                    self.provide(kind, content, out);
                }
            }
        }
        self.ask(now_us, out);
    }

    /// The answer under way is longer than anything allowed.
    pub fn overlong(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let Some(asked) = self.asked.take() else { return };
        if asked.stale_us.is_none() {
            let refused = capability(Direction::In, asked.kind);
            out.push(Effect::Refuse(refused, Denial::OverLimit));
            self.provide(asked.kind, None, out);
        }
        self.ask(now_us, out);
    }

    /// Gives up what a client does not answer.
    pub fn tick(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let late = |since: u64| now_us.saturating_sub(since) > CLIENT_TIMEOUT_US;
        let asked = self.asked.as_ref().is_some_and(|asked| match asked.stale_us {
            Some(stale) => now_us.saturating_sub(stale) > STALE_TIMEOUT_US,
            None => late(asked.since_us),
        });
        if asked {
            self.answered(None, &Policy::default(), now_us, out);
        }
        let current = self.receiving.as_ref().and_then(|all| all.current.as_ref());
        if current.and_then(|one| one.asked).is_some_and(|(_, since)| late(since)) {
            self.give_up(now_us, out);
        }
    }

    /// Begins to receive the files of a list, as far as the policy allows each.
    fn receive(&mut self, list: &[u8], policy: &Policy, now_us: u64, out: &mut Vec<Effect>) {
        let Ok(list) = decode::<PackedFileList>(list) else {
            self.provide(Kind::Files, None, out);
            return;
        };
        let mut receiving = Receiving::default();
        for (index, file) in (0i32..).zip(list.files) {
            let directory =
                file.attributes.is_some_and(|all| all.contains(ClipboardFileAttributes::DIRECTORY));
            let verdict = match file.file_size {
                _ if receiving.waiting.len() >= MAX_FILES => Err(Denial::OverLimit),
                _ if directory => Err(Denial::Name),
                // Without a length nobody can say whether it is allowed.
                None => Err(Denial::OverLimit),
                Some(bytes) => policy.file(Direction::In, &file.name, bytes).map(|()| bytes),
            };
            match verdict {
                Ok(bytes) => receiving.waiting.push_back((index, file.name, bytes)),
                Err(denial) => out.push(Effect::Refuse(Capability::FilesIn, denial)),
            }
        }
        self.receiving = Some(receiving);
        self.next_file(now_us, out);
    }

    fn next_file(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let Some(receiving) = &mut self.receiving else { return };
        if let Some((index, name, bytes)) = receiving.waiting.pop_front() {
            out.push(Effect::Do(Order::Begin(name.clone())));
            let (asked, storing) = (None, true);
            receiving.current = Some(Current { index, name, bytes, came: 0, asked, storing });
            return;
        }
        let done = std::mem::take(&mut receiving.done);
        self.receiving = None;
        let content = (!done.is_empty()).then_some(Content::Files(done));
        self.provide(Kind::Files, content, out);
        self.ask(now_us, out);
    }

    /// Gives the file up that is coming in, and goes on with the next.
    fn give_up(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        if let Some(receiving) = &mut self.receiving {
            receiving.current = None;
        }
        out.push(Effect::Do(Order::Abandon));
        self.next_file(now_us, out);
    }

    /// The disk took what came, or did not.
    pub fn stored(&mut self, taken: bool, now_us: u64, out: &mut Vec<Effect>) {
        if let Some(left) = self.stale_disk.checked_sub(1) {
            self.stale_disk = left;
            return;
        }
        let current = self.receiving.as_mut().and_then(|all| all.current.as_mut());
        let Some(current) = current.filter(|one| one.storing) else { return };
        if !taken {
            self.give_up(now_us, out);
            return;
        }
        if current.came >= current.bytes {
            out.push(Effect::Do(Order::Finish));
            return;
        }
        current.storing = false;
        let stream_id = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(1);
        current.asked = Some((stream_id, now_us));
        let left = u32::try_from(current.bytes - current.came).unwrap_or(u32::MAX);
        let request = FileContentsRequest {
            stream_id,
            index: current.index,
            flags: FileContentsFlags::RANGE,
            position: current.came,
            requested_size: left.min(RANGE_BYTES),
            data_id: None,
        };
        say(out, &ClipboardPdu::FileContentsRequest(request));
    }

    /// A part of a file.
    pub fn contents(
        &mut self,
        stream: u32,
        data: Option<&[u8]>,
        policy: &Policy,
        now_us: u64,
        out: &mut Vec<Effect>,
    ) {
        let current = self.receiving.as_mut().and_then(|all| all.current.as_mut());
        let Some(current) = current else { return };
        if current.asked.is_none_or(|(asked, _)| asked != stream) {
            return;
        }
        current.asked = None;
        let data = data.filter(|data| !data.is_empty());
        let Some(data) = data else { return self.give_up(now_us, out) };
        current.came += data.len() as u64;
        // More than it was said to have, or the policy has changed since.
        let verdict = match current.came > current.bytes {
            true => Err(Denial::OverLimit),
            false => policy.file(Direction::In, &current.name, current.bytes),
        };
        if let Err(denial) = verdict {
            out.push(Effect::Refuse(Capability::FilesIn, denial));
            return self.give_up(now_us, out);
        }
        current.storing = true;
        out.push(Effect::Do(Order::Append(data.to_vec())));
    }

    /// A file is whole. One that was given up just before is there too, and so it is told.
    pub fn finished(&mut self, file: Option<Received>, now_us: u64, out: &mut Vec<Effect>) {
        let stale = self.stale_disk.checked_sub(1);
        self.stale_disk = stale.unwrap_or(0);
        if let Some(Received { path, bytes, hash }) = file {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let (direction, name) = (Direction::In, name.unwrap_or_default());
            out.push(Effect::Record(EventKind::File { direction, name, bytes, hash }));
            if let (None, Some(receiving)) = (stale, &mut self.receiving) {
                receiving.done.push(path);
            }
        }
        if stale.is_none() {
            self.next_file(now_us, out);
        }
    }
}

/// Content of the client as the desktop has it, if its size is allowed.
fn permitted(kind: Kind, data: &[u8], policy: &Policy, out: &mut Vec<Effect>) -> Option<Content> {
    let (content, bytes, hash) = match kind {
        Kind::Text => {
            let text = content::text_in(data).ok()?;
            let (bytes, hash) = (text.len(), Hash::of(text.as_bytes()));
            (Content::Text(text), bytes, hash)
        }
        Kind::Image => {
            content::bmp_of_dib(data).ok()?;
            (Content::Image(data.to_vec()), data.len(), Hash::of(data))
        }
        Kind::Files => return None,
    };
    let bytes = bytes as u64;
    if let Err(denial) = policy.clipboard(Direction::In, bytes) {
        out.push(Effect::Refuse(Capability::ClipboardIn, denial));
        return None;
    }
    let (direction, kind) = (Direction::In, event_kind(kind));
    out.push(Effect::Record(EventKind::Clipboard { direction, content: kind, bytes, hash }));
    Some(content)
}
