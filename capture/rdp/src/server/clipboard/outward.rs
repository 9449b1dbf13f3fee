//! What goes from the desktop to the client.

use std::collections::VecDeque;

use blake3::Hasher;
use ironrdp_cliprdr::pdu::{
    ClipboardFileAttributes, ClipboardPdu, FileContentsFlags, FileContentsRequest,
    FileContentsResponse, FileDescriptor, FormatList, PackedFileList,
};
use ironrdp_core::encode_vec;
use lucid_evidence::Hash;

use super::content;
use super::selection::{Found, Kind, Kinds, Missing, Order};
use super::store::Outgoing;
use super::{Effect, capability, event_kind, formats_of, say, say_contents, say_data};
use crate::event::EventKind;
use crate::policy::{Capability, Denial, Direction, Policy};

/// Most bytes of a file that are given at a time.
const RANGE_MAX_BYTES: u32 = 1 << 20;
/// Requests for parts of files that wait. More are refused.
const MAX_QUEUED_RANGES: usize = 8;
/// Longest list of files of a program of the desktop, bytes.
const MAX_LIST_BYTES: u64 = 256 << 10;

/// A file that is offered to the client.
#[derive(Debug)]
struct Listed {
    file: Outgoing,
    /// How much went out, and its hash so far.
    sent: Option<(u64, Hasher)>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    stream: u32,
    index: usize,
    position: u64,
    length: u32,
}

/// What goes from the desktop to the client.
#[derive(Debug, Default)]
pub(super) struct Outward {
    desktop: Kinds,
    /// What the client was told last.
    told: Kinds,
    /// What the client asked for and waits for.
    serving: Option<Kind>,
    listed: Vec<Listed>,
    reading: Option<Range>,
    waiting: VecDeque<Range>,
}

impl Outward {
    /// A program of the desktop has something else now.
    pub fn desktop_offers(&mut self, kinds: Kinds, out: &mut Vec<Effect>) {
        self.desktop = kinds;
        self.told = Kinds::default();
        self.forget(out);
    }

    /// Offers the client what the desktop has, as far as it is allowed.
    pub fn offer(&mut self, allowed: Kinds, long_names: bool, out: &mut Vec<Effect>) {
        let mut kinds = Kinds::default();
        for kind in [Kind::Text, Kind::Image, Kind::Files] {
            if !self.desktop.has(kind) {
                continue;
            }
            if !allowed.has(kind) {
                let refused = capability(Direction::Out, kind);
                out.push(Effect::Refuse(refused, Denial::NotAllowed));
                continue;
            }
            match kind {
                Kind::Text => kinds.text = true,
                Kind::Image => kinds.image = true,
                Kind::Files => kinds.files = true,
            }
            if !self.told.has(kind) {
                let (direction, content) = (Direction::Out, event_kind(kind));
                out.push(Effect::Record(EventKind::Offered { direction, content }));
            }
        }
        if kinds == self.told {
            return;
        }
        self.told = kinds;
        match FormatList::new_unicode(&formats_of(kinds), long_names) {
            Ok(list) => say(out, &ClipboardPdu::FormatList(list)),
            Err(error) => tracing::warn!(%error, "an offer of the clipboard cannot be said"),
        }
    }

    /// The client wants content.
    pub fn requested(
        &mut self,
        kind: Option<Kind>,
        allowed: Kinds,
        policy: &Policy,
        out: &mut Vec<Effect>,
    ) {
        let Some(kind) = kind.filter(|kind| self.desktop.has(*kind)) else {
            return say_data(out, None);
        };
        let refused = match (allowed.has(kind), self.serving) {
            (false, _) => Some(Denial::NotAllowed),
            (true, Some(_)) => Some(Denial::OverLimit),
            (true, None) => None,
        };
        if let Some(denial) = refused {
            out.push(Effect::Refuse(capability(Direction::Out, kind), denial));
            return say_data(out, None);
        }
        let limit = match kind {
            Kind::Files => MAX_LIST_BYTES,
            Kind::Text | Kind::Image => policy.clipboard_out_bytes.unwrap_or(0),
        };
        self.serving = Some(kind);
        out.push(Effect::Do(Order::Fetch(kind, limit)));
    }

    /// The desktop's content, or that there is none.
    pub fn fetched(
        &mut self,
        kind: Kind,
        found: Result<Found, Missing>,
        policy: &Policy,
        out: &mut Vec<Effect>,
    ) {
        if self.serving.take().is_none() {
            return;
        }
        let data = match found {
            Ok(Found::Text(text)) => permitted(Kind::Text, text.as_bytes(), policy, out)
                .then(|| content::text_out(&text)),
            Ok(Found::Image(dib)) => permitted(Kind::Image, &dib, policy, out).then_some(dib),
            Ok(Found::Files(files, refused)) => self.list(files, refused, policy, out),
            Err(Missing::Large) => {
                let refused = capability(Direction::Out, kind);
                out.push(Effect::Refuse(refused, Denial::OverLimit));
                None
            }
            Err(Missing::Gone) => None,
        };
        say_data(out, data);
    }

    /// The list of files that may go out.
    fn list(
        &mut self,
        files: Vec<Outgoing>,
        refused: u64,
        policy: &Policy,
        out: &mut Vec<Effect>,
    ) -> Option<Vec<u8>> {
        self.forget(out);
        for _ in 0..refused {
            out.push(Effect::Refuse(Capability::FilesOut, Denial::Name));
        }
        for file in files {
            match policy.file(Direction::Out, &file.name, file.bytes) {
                Ok(()) => self.listed.push(Listed { file, sent: None }),
                Err(denial) => out.push(Effect::Refuse(Capability::FilesOut, denial)),
            }
        }
        let describe = |listed: &Listed| {
            FileDescriptor::new(listed.file.name.clone())
                .with_attributes(ClipboardFileAttributes::NORMAL)
                .with_file_size(listed.file.bytes)
        };
        let files: Vec<FileDescriptor> = self.listed.iter().map(describe).collect();
        if files.is_empty() {
            return None;
        }
        encode_vec(&PackedFileList { files }).ok()
    }

    /// The client wants a part of a file, or its length.
    pub fn contents_requested(
        &mut self,
        request: &FileContentsRequest,
        policy: &Policy,
        out: &mut Vec<Effect>,
    ) {
        let stream = request.stream_id;
        let index = usize::try_from(request.index).unwrap_or(usize::MAX);
        let Some(listed) = self.listed.get(index) else { return say_contents(out, stream, None) };
        let file = &listed.file;
        let verdict = match self.waiting.len() >= MAX_QUEUED_RANGES {
            true => Err(Denial::OverLimit),
            false => policy.file(Direction::Out, &file.name, file.bytes),
        };
        if let Err(denial) = verdict {
            out.push(Effect::Refuse(Capability::FilesOut, denial));
            return say_contents(out, stream, None);
        }
        if request.flags.contains(FileContentsFlags::SIZE) {
            let answer = FileContentsResponse::new_size_response(stream, file.bytes);
            return say(out, &ClipboardPdu::FileContentsResponse(answer));
        }
        let (position, length) = (request.position, request.requested_size.min(RANGE_MAX_BYTES));
        self.waiting.push_back(Range { stream, index, position, length });
        self.read_next(out);
    }

    fn read_next(&mut self, out: &mut Vec<Effect>) {
        while self.reading.is_none() {
            let Some(range) = self.waiting.pop_front() else { return };
            let Some(listed) = self.listed.get_mut(range.index) else {
                say_contents(out, range.stream, None);
                continue;
            };
            if range.position >= listed.file.bytes && range.position > 0 {
                say_contents(out, range.stream, Some(Vec::new()));
                continue;
            }
            // What went out is hashed as it goes, so it goes in order; it may begin anew.
            if range.position == 0 {
                let before = listed.sent.replace((0, Hasher::new()));
                out.extend(part(listed, before));
            }
            let next = listed.sent.as_ref().map_or(0, |(next, _)| *next);
            if range.position != next {
                out.push(Effect::Refuse(Capability::FilesOut, Denial::OverLimit));
                say_contents(out, range.stream, None);
                continue;
            }
            let length = usize::try_from(range.length).unwrap_or(0);
            out.push(Effect::Do(Order::Read(listed.file.clone(), range.position, length)));
            self.reading = Some(range);
        }
    }

    /// A part of a file was read; none when the file is gone.
    pub fn read(&mut self, bytes: Option<Vec<u8>>, out: &mut Vec<Effect>) {
        let Some(range) = self.reading.take() else { return };
        let listed = self.listed.get_mut(range.index);
        if let (Some(bytes), Some(listed)) = (&bytes, listed)
            && let Some((position, hasher)) = &mut listed.sent
        {
            hasher.update(bytes);
            *position += bytes.len() as u64;
            if *position >= listed.file.bytes {
                let sent = listed.sent.take();
                out.extend(part(listed, sent));
                // Its end may be asked for once more, but not another part of it.
                listed.sent = None;
            }
        }
        say_contents(out, range.stream, bytes);
        self.read_next(out);
    }

    /// The files that were offered are not any more; what went out in part is told.
    fn forget(&mut self, out: &mut Vec<Effect>) {
        for mut listed in std::mem::take(&mut self.listed) {
            let sent = listed.sent.take();
            out.extend(part(&listed, sent));
        }
        for range in std::mem::take(&mut self.waiting) {
            say_contents(out, range.stream, None);
        }
    }

    /// The connection is over.
    pub fn end(&mut self, out: &mut Vec<Effect>) {
        self.forget(out);
    }
}

/// The event of a file, or of the part of it, that went out.
fn part(listed: &Listed, sent: Option<(u64, Hasher)>) -> Option<Effect> {
    let (bytes, hasher) = sent?;
    (bytes > 0 || listed.file.bytes == 0).then(|| {
        let (direction, name) = (Direction::Out, listed.file.name.clone());
        let hash = Hash(*hasher.finalize().as_bytes());
        Effect::Record(EventKind::File { direction, name, bytes, hash })
    })
}

/// Whether content of this size may go out; told either way.
fn permitted(kind: Kind, data: &[u8], policy: &Policy, out: &mut Vec<Effect>) -> bool {
    let (direction, content) = (Direction::Out, event_kind(kind));
    let bytes = data.len() as u64;
    match policy.clipboard(direction, bytes) {
        Ok(()) => {
            let hash = Hash::of(data);
            out.push(Effect::Record(EventKind::Clipboard { direction, content, bytes, hash }));
            true
        }
        Err(denial) => {
            out.push(Effect::Refuse(Capability::ClipboardOut, denial));
            false
        }
    }
}
