//! What a program of the desktop has copied: looked at, and read for the client.

use std::time::Instant;

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ConnectionExt as _, Property, PropertyNotifyEvent, SelectionNotifyEvent,
};

use super::{Fetch, Found, Kind, Kinds, MAX_TARGETS, Missing, News, Over, PROGRAM_TIMEOUT, Worker};
use crate::server::clipboard::content::{self, ContentError};
use crate::server::clipboard::store::Outgoing;
use crate::server::clipboard::uris;

impl Worker {
    /// Reads what a program of the desktop has.
    pub(super) fn fetch(&mut self, kind: Kind, limit: u64) -> Result<(), Over> {
        let best = self.targets_of(kind).into_iter().find(|one| self.targets.contains(one));
        let (Some(target), None) = (best, &self.fetch) else {
            return self.tell(News::Fetched(kind, Err(Missing::Gone)));
        };
        let until = Instant::now() + PROGRAM_TIMEOUT;
        self.fetch = Some(Fetch { kind, target, limit, pieces: None, until });
        let (clipboard, property) = (self.atoms.CLIPBOARD, self.atoms.LUCID_FETCH);
        let time = x11rb::CURRENT_TIME;
        self.server.delete_property(self.window, property)?;
        self.server.convert_selection(self.window, clipboard, target, property, time)?;
        Ok(())
    }

    pub(super) fn notified(&mut self, event: &SelectionNotifyEvent) -> Result<(), Over> {
        if event.target == self.atoms.TARGETS {
            let property = self.atoms.LUCID_LOOK;
            let any = AtomEnum::ANY;
            let reply =
                self.server.get_property(true, self.window, property, any, 0, MAX_TARGETS)?;
            // A program that refuses has nothing we know.
            let reply = reply.reply()?;
            let found = reply.value32().into_iter().flatten();
            self.targets = if event.property == property { found.collect() } else { Vec::new() };
            let has = |kind| self.targets_of(kind).iter().any(|one| self.targets.contains(one));
            let files = has(Kind::Files) && self.store.is_some();
            let kinds = Kinds { text: has(Kind::Text), image: has(Kind::Image), files };
            return self.tell(News::Offered(kinds));
        }
        let Some(fetch) = &self.fetch else { return Ok(()) };
        if event.property != self.atoms.LUCID_FETCH || event.target != fetch.target {
            return if event.target == fetch.target {
                self.fetched(Err(Missing::Gone))
            } else {
                Ok(())
            };
        }
        let limit = fetch.limit;
        let (kind, bytes) = self.taken(limit)?;
        if kind == self.atoms.INCR {
            if let Some(fetch) = &mut self.fetch {
                fetch.pieces = Some(Vec::new());
            }
            return Ok(());
        }
        self.fetched(bytes.ok_or(Missing::Large))
    }

    /// Takes our property: its type, and its bytes unless they are over the limit.
    fn taken(&self, limit: u64) -> Result<(u32, Option<Vec<u8>>), Over> {
        let property = self.atoms.LUCID_FETCH;
        let words = u32::try_from(limit / 4 + 1).unwrap_or(u32::MAX);
        let any = AtomEnum::ANY;
        let reply = self.server.get_property(false, self.window, property, any, 0, words)?;
        let reply = reply.reply()?;
        self.server.delete_property(self.window, property)?;
        self.server.flush()?;
        let fits = reply.bytes_after == 0 && reply.value.len() as u64 <= limit;
        Ok((reply.type_, fits.then_some(reply.value)))
    }

    pub(super) fn property(&mut self, event: &PropertyNotifyEvent) -> Result<(), Over> {
        if event.window != self.window {
            return match event.state {
                Property::DELETE => self.next_piece(event.window, event.atom),
                _ => Ok(()),
            };
        }
        let ours = event.atom == self.atoms.LUCID_FETCH && event.state == Property::NEW_VALUE;
        let Some(fetch) = self.fetch.as_ref().filter(|fetch| ours && fetch.pieces.is_some()) else {
            return Ok(());
        };
        let had = fetch.pieces.as_ref().map_or(0, Vec::len) as u64;
        let (_, piece) = self.taken(fetch.limit.saturating_sub(had))?;
        let Some(piece) = piece else { return self.fetched(Err(Missing::Large)) };
        let Some(fetch) = &mut self.fetch else { return Ok(()) };
        fetch.until = Instant::now() + PROGRAM_TIMEOUT;
        if piece.is_empty() {
            let whole = fetch.pieces.take().unwrap_or_default();
            return self.fetched(Ok(whole));
        }
        if let Some(pieces) = &mut fetch.pieces {
            pieces.extend_from_slice(&piece);
        }
        Ok(())
    }

    pub(super) fn fetched(&mut self, bytes: Result<Vec<u8>, Missing>) -> Result<(), Over> {
        let Some(fetch) = self.fetch.take() else { return Ok(()) };
        let found = bytes.and_then(|bytes| self.found(&fetch, bytes));
        self.tell(News::Fetched(fetch.kind, found))
    }

    fn found(&self, fetch: &Fetch, bytes: Vec<u8>) -> Result<Found, Missing> {
        let atoms = &self.atoms;
        let unreadable = |error| match error {
            ContentError::Large { .. } => Missing::Large,
            _ => Missing::Gone,
        };
        match fetch.kind {
            Kind::Text if fetch.target == atoms.STRING => {
                Ok(Found::Text(bytes.into_iter().map(char::from).collect()))
            }
            Kind::Text => String::from_utf8(bytes).map(Found::Text).map_err(|_| Missing::Gone),
            Kind::Image if fetch.target == atoms.IMAGE_BMP => {
                content::dib_of_bmp(&bytes).map(Found::Image).map_err(unreadable)
            }
            Kind::Image => {
                let dib = content::dib_of_png(&bytes, fetch.limit);
                dib.map(Found::Image).map_err(unreadable)
            }
            Kind::Files => {
                let store = self.store.as_ref().ok_or(Missing::Gone)?;
                let named = uris::read(&bytes);
                let files: Vec<Outgoing> =
                    named.iter().filter_map(|path| store.outgoing(path)).collect();
                let refused = named.len().saturating_sub(files.len()) as u64;
                Ok(Found::Files(files, refused))
            }
        }
    }
}
