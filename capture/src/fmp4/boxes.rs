//! The box layer: finding boxes and fields in bytes, and putting boxes together.

use super::{Fmp4Error, FourCc, MAX_CHILDREN};

/// Where a box lies in the input; `body` is the first byte after its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub name: FourCc,
    pub start: usize,
    pub body: usize,
    pub end: usize,
}

impl Span {
    /// The fields of a plain box.
    pub fn fields<'a>(&self, data: &'a [u8]) -> Fields<'a> {
        Fields { data: data.get(..self.end).unwrap_or(data), at: self.body, name: self.name }
    }

    /// Version and flags of a full box, then its fields.
    pub fn full<'a>(&self, data: &'a [u8]) -> Result<(u8, u32, Fields<'a>), Fmp4Error> {
        let mut fields = self.fields(data);
        let word = fields.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff, fields))
    }

    /// The boxes inside, `skip` bytes after the header.
    pub fn children(&self, data: &[u8], skip: usize) -> Result<Vec<Span>, Fmp4Error> {
        let from = self.body.saturating_add(skip);
        if from > self.end {
            return Err(Fmp4Error::Truncated { name: self.name, at: self.start });
        }
        spans(data, from, self.end, self.name)
    }

    /// The one box of this name inside.
    pub fn child(&self, data: &[u8], name: &[u8; 4]) -> Result<Span, Fmp4Error> {
        one(&self.children(data, 0)?, name, self.name)
    }
}

/// The boxes between two offsets, which they must fill exactly.
pub(super) fn spans(
    data: &[u8],
    from: usize,
    to: usize,
    parent: FourCc,
) -> Result<Vec<Span>, Fmp4Error> {
    let mut found = Vec::new();
    let mut at = from;
    while at < to {
        if found.len() == MAX_CHILDREN {
            return Err(Fmp4Error::TooMany { name: parent, what: "boxes", limit: MAX_CHILDREN });
        }
        let mut header = Fields { data: data.get(..to).unwrap_or(data), at, name: parent };
        let short = header.u32()?;
        let name = FourCc(header.array()?);
        let size = if short == 1 {
            usize::try_from(header.u64()?).map_err(|_| Fmp4Error::Size { name, at })?
        } else {
            // 0 would mean "to the end of the file"; a fragment says how long it is.
            short as usize
        };
        let body = header.at;
        let end = at.checked_add(size).ok_or(Fmp4Error::Size { name, at })?;
        if end < body {
            return Err(Fmp4Error::Size { name, at });
        }
        if end > to {
            return Err(Fmp4Error::Truncated { name, at });
        }
        found.push(Span { name, start: at, body, end });
        at = end;
    }
    Ok(found)
}

/// The one box of this name; missing and repeated ones are errors.
pub(super) fn one(spans: &[Span], name: &[u8; 4], parent: FourCc) -> Result<Span, Fmp4Error> {
    let mut found = spans.iter().filter(|s| s.name.0 == *name);
    let first = found.next().ok_or(Fmp4Error::Missing { name: FourCc(*name), parent })?;
    match found.next() {
        Some(second) => Err(Fmp4Error::Misplaced { name: second.name, at: second.start }),
        None => Ok(*first),
    }
}

/// Reads big-endian fields and never past the end of their box.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    data: &'a [u8],
    at: usize,
    name: FourCc,
}

impl<'a> Fields<'a> {
    /// Where the next field lies in the input.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.at)
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fmp4Error> {
        let cut = Fmp4Error::Truncated { name: self.name, at: self.at };
        let end = self.at.checked_add(count).ok_or(cut)?;
        let bytes = self.data.get(self.at..end).ok_or(cut)?;
        self.at = end;
        Ok(bytes)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.data.get(self.at..).unwrap_or(&[]);
        self.at = self.data.len();
        rest
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fmp4Error> {
        let at = self.at;
        let name = self.name;
        self.bytes(N)?.try_into().map_err(|_| Fmp4Error::Truncated { name, at })
    }

    pub fn u16(&mut self) -> Result<u16, Fmp4Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Fmp4Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Fmp4Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn skip(&mut self, count: usize) -> Result<(), Fmp4Error> {
        self.bytes(count).map(|_| ())
    }
}

/// Writes boxes; lengths are filled in when a box closes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub out: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// A box with what `body` writes.
    pub fn nest(&mut self, name: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.u32(0);
        self.out.extend_from_slice(name);
        body(self);
        // Init segments and moof boxes stay far below 4 GiB by the limits of this module.
        let size = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        self.patch(start, size);
    }

    /// A full box.
    pub fn full(&mut self, name: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Self)) {
        self.nest(name, |w| {
            w.u32(u32::from(version) << 24 | flags);
            body(w);
        });
    }

    pub fn patch(&mut self, at: usize, value: u32) {
        if let Some(place) = self.out.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }
}
