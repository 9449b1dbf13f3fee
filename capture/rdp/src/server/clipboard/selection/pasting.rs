//! Programs of the desktop that paste: what the client has goes to them.

use std::time::Instant;

use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window,
};
use x11rb::wrapper::ConnectionExt as _;

use super::{
    Content, Kind, MAX_REQUESTS, MAX_TRANSFERS, News, Over, PIECE_BYTES, PROGRAM_TIMEOUT, Request,
    Transfer, Worker,
};
use crate::server::clipboard::{content, uris};

impl Worker {
    /// A program wants what the client has.
    pub(super) fn requested(&mut self, event: SelectionRequestEvent) -> Result<(), Over> {
        // Programs of before 1990 name no property.
        let property = if event.property == x11rb::NONE { event.target } else { event.property };
        let event = SelectionRequestEvent { property, ..event };
        let atoms = &self.atoms;
        if self.owned.is_empty() || event.selection != atoms.CLIPBOARD {
            return self.answer(&event, x11rb::NONE);
        }
        let replace = PropMode::REPLACE;
        if event.target == atoms.TARGETS {
            let mut targets = vec![atoms.TARGETS, atoms.TIMESTAMP];
            for kind in [Kind::Text, Kind::Image, Kind::Files] {
                if self.owned.has(kind) {
                    targets.extend(self.targets_of(kind));
                }
            }
            let kind = AtomEnum::ATOM;
            self.server.change_property32(replace, event.requestor, property, kind, &targets)?;
            return self.answer(&event, property);
        }
        if event.target == atoms.TIMESTAMP {
            let kind = AtomEnum::INTEGER;
            let time = [self.owned_at];
            self.server.change_property32(replace, event.requestor, property, kind, &time)?;
            return self.answer(&event, property);
        }
        let kind = self.kind_of(event.target).filter(|kind| self.owned.has(*kind));
        match kind {
            Some(kind) if self.requests.len() < MAX_REQUESTS => {
                let id = self.next_request;
                self.next_request += 1;
                self.requests.push(Request { id, event });
                self.tell(News::Wanted(id, kind))
            }
            _ => self.answer(&event, x11rb::NONE),
        }
    }

    pub(super) fn answer(&self, event: &SelectionRequestEvent, property: u32) -> Result<(), Over> {
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: event.time,
            requestor: event.requestor,
            selection: event.selection,
            target: event.target,
            property,
        };
        self.server.send_event(false, event.requestor, EventMask::NO_EVENT, answer)?;
        Ok(())
    }

    /// The client's content for a program.
    pub(super) fn provide(&mut self, id: u64, content: Option<Content>) -> Result<(), Over> {
        let Some(at) = self.requests.iter().position(|request| request.id == id) else {
            return Ok(());
        };
        let event = self.requests.swap_remove(at).event;
        let bytes = content.and_then(|content| self.bytes(content, event.target));
        let Some((kind, bytes)) = bytes else { return self.answer(&event, x11rb::NONE) };
        let (requestor, property) = (event.requestor, event.property);
        if bytes.len() <= PIECE_BYTES {
            self.server.change_property8(PropMode::REPLACE, requestor, property, kind, &bytes)?;
            return self.answer(&event, property);
        }
        if self.transfers.len() >= MAX_TRANSFERS {
            return self.answer(&event, x11rb::NONE);
        }
        let wanted = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        self.server.change_window_attributes(requestor, &wanted)?;
        let size = [u32::try_from(bytes.len()).unwrap_or(u32::MAX)];
        let incr = self.atoms.INCR;
        self.server.change_property32(PropMode::REPLACE, requestor, property, incr, &size)?;
        let until = Instant::now() + PROGRAM_TIMEOUT;
        self.transfers.push(Transfer { requestor, property, kind, data: bytes, at: 0, until });
        self.answer(&event, property)
    }

    fn bytes(&self, content: Content, target: u32) -> Option<(u32, Vec<u8>)> {
        let atoms = &self.atoms;
        let bytes = match content {
            Content::Text(text) if target == atoms.STRING => {
                let latin = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
                text.chars().map(latin).collect()
            }
            Content::Text(text) => {
                let kind = if target == atoms.TEXT { atoms.UTF8_STRING } else { target };
                return Some((kind, text.into_bytes()));
            }
            Content::Image(dib) if target == atoms.IMAGE_BMP => content::bmp_of_dib(&dib).ok()?,
            Content::Image(dib) => content::png_of_dib(&dib).ok()?,
            Content::Files(paths) if target == atoms.GNOME_FILES => uris::write_gnome(&paths),
            Content::Files(paths) => uris::write(&paths),
        };
        Some((target, bytes))
    }

    pub(super) fn next_piece(&mut self, requestor: Window, property: u32) -> Result<(), Over> {
        let ours = |one: &Transfer| (one.requestor, one.property) == (requestor, property);
        let Some(at) = self.transfers.iter().position(ours) else { return Ok(()) };
        let Some(transfer) = self.transfers.get_mut(at) else { return Ok(()) };
        let rest = transfer.data.get(transfer.at..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES).unwrap_or(rest);
        let kind = transfer.kind;
        self.server.change_property8(PropMode::REPLACE, requestor, property, kind, piece)?;
        transfer.at += piece.len();
        transfer.until = Instant::now() + PROGRAM_TIMEOUT;
        // An empty piece was the last.
        if piece.is_empty() {
            self.transfers.swap_remove(at);
        }
        Ok(())
    }
}
