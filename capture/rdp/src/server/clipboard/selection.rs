//! The desktop's clipboard, and its files, in a thread of its own: an X server or a disk that hangs
//! does not hang the connection.
//!
//! The thread owns the CLIPBOARD selection for what the client has, and reads it for the client
//! (ICCCM 2). Large content goes in pieces (INCR). What a program offers is looked at when the
//! owner changes, at most ten times a second.

mod copied;
mod pasting;
mod said;

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::mpsc;
use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xfixes::{ConnectionExt as _, SelectionEventMask};
use x11rb::protocol::xproto::{
    ConnectionExt as _, CreateWindowAux, EventMask, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

pub use said::{Content, Found, Kind, Kinds, Missing, News, Order};

use super::store::{Incoming, Store};
use crate::server::xconnection::{self, XError};
use crate::session::RunningDesktop;

/// Orders that wait for the thread, and news that wait for the connection.
const MAX_QUEUED: usize = 32;
/// Requests of the desktop's programs that wait for the client. More are refused.
const MAX_REQUESTS: usize = 16;
/// Contents that go to programs in pieces at a time.
const MAX_TRANSFERS: usize = 8;
/// Bytes of one piece.
const PIECE_BYTES: usize = 128 << 10;
/// Targets that are looked at.
const MAX_TARGETS: u32 = 256;
/// Shortest time between two looks at what a program offers.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long what a client offers must stand before it is taken over. FreeRDP offers twice for each
/// change, and answers neither request well that comes between the two.
const OFFER_SETTLES: Duration = Duration::from_millis(150);
/// How long a program may take for its content, and for each piece of it.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the thread sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_secs(60);

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        CLIPBOARD,
        TARGETS,
        TIMESTAMP,
        INCR,
        UTF8_STRING,
        STRING,
        TEXT,
        TEXT_PLAIN: b"text/plain",
        TEXT_PLAIN_UTF8: b"text/plain;charset=utf-8",
        IMAGE_PNG: b"image/png",
        IMAGE_BMP: b"image/bmp",
        URI_LIST: b"text/uri-list",
        GNOME_FILES: b"x-special/gnome-copied-files",
        LUCID_LOOK,
        LUCID_FETCH,
    }
}

/// The way to the thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Selection {
    orders: SyncSender<Order>,
    wake: UnixStream,
}

impl Selection {
    /// Connects to a desktop's clipboard. News stop coming when the desktop is gone.
    ///
    /// # Errors
    /// What is wrong with its X server.
    pub fn connect(desktop: &RunningDesktop) -> Result<(Self, mpsc::Receiver<News>), XError> {
        let display = desktop.display;
        let failed = |source| XError::Thread { display, what: "serve the clipboard of", source };
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true).map_err(failed)?;
        }
        let (orders, waiting) = sync_channel(MAX_QUEUED);
        let (news, told) = mpsc::channel(MAX_QUEUED);
        let store = desktop.files.clone().map(|path| Store::new(desktop.reach.clone(), path));
        let (server, root) = xconnection::connect(desktop)?;
        let what = "share its clipboard";
        let mut worker = Worker::new(server, root, waiting, news, woken, store)
            .map_err(|source| XError::Request { display, what, source })?;
        std::thread::Builder::new()
            .name(format!("rdp clip :{display}"))
            .spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::debug!(%error, "clipboard of a desktop ended");
                }
            })
            .map_err(failed)?;
        Ok((Selection { orders, wake }, told))
    }

    /// Hands on an order. False when the thread hangs; the order is dropped then.
    pub fn send(&self, order: Order) -> bool {
        use std::io::Write as _;
        let sent = self.orders.try_send(order).is_ok();
        // Full means that it is awake already.
        let _ = (&self.wake).write(&[0]);
        sent
    }
}

/// The end of the connection to the thread.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("nobody listens any more")]
    Dropped,
    #[error("the x server refuses or is gone")]
    Server(#[from] ReplyError),
    #[error("waiting failed")]
    Wait(#[from] rustix::io::Errno),
}

impl From<x11rb::errors::ConnectionError> for Over {
    fn from(error: x11rb::errors::ConnectionError) -> Self {
        Over::Server(error.into())
    }
}

/// A program that waits for content.
struct Request {
    id: u64,
    event: SelectionRequestEvent,
}

/// Content on its way to a program, in pieces.
struct Transfer {
    requestor: Window,
    property: u32,
    kind: u32,
    data: Vec<u8>,
    at: usize,
    until: Instant,
}

/// Content on its way from a program.
struct Fetch {
    kind: Kind,
    target: u32,
    limit: u64,
    /// What came so far, where it comes in pieces.
    pieces: Option<Vec<u8>>,
    until: Instant,
}

struct Worker {
    server: RustConnection,
    window: Window,
    atoms: Atoms,
    orders: Receiver<Order>,
    news: mpsc::Sender<News>,
    woken: UnixStream,
    store: Option<Store>,
    owned: Kinds,
    /// What is to be owned then.
    claim: Option<(Kinds, Instant)>,
    claimed: bool,
    /// Since when, as the X server counts.
    owned_at: u32,
    requests: Vec<Request>,
    next_request: u64,
    transfers: Vec<Transfer>,
    fetch: Option<Fetch>,
    /// What the owner offers.
    targets: Vec<u32>,
    /// The owner changed, and is to be looked at then.
    look_at: Option<Instant>,
    looked: Instant,
    incoming: Option<Incoming>,
}

impl Worker {
    fn new(
        server: RustConnection,
        root: Window,
        orders: Receiver<Order>,
        news: mpsc::Sender<News>,
        woken: UnixStream,
        store: Option<Store>,
    ) -> Result<Self, ReplyError> {
        let atoms = Atoms::new(&server)?.reply()?;
        server.xfixes_query_version(5, 0)?.reply()?;
        let window = server
            .generate_id()
            .map_err(|_| ReplyError::from(x11rb::errors::ConnectionError::InsufficientMemory))?;
        let wanted = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let class = WindowClass::INPUT_OUTPUT;
        server.create_window(0, window, root, 0, 0, 1, 1, 0, class, 0, &wanted)?.check()?;
        let mask = SelectionEventMask::SET_SELECTION_OWNER
            | SelectionEventMask::SELECTION_WINDOW_DESTROY
            | SelectionEventMask::SELECTION_CLIENT_CLOSE;
        server.xfixes_select_selection_input(window, atoms.CLIPBOARD, mask)?.check()?;
        let now = Instant::now();
        Ok(Worker {
            server,
            window,
            atoms,
            orders,
            news,
            woken,
            store,
            owned: Kinds::default(),
            claim: None,
            claimed: false,
            owned_at: x11rb::CURRENT_TIME,
            requests: Vec::new(),
            next_request: 0,
            transfers: Vec::new(),
            fetch: None,
            targets: Vec::new(),
            // What is there already is looked at too.
            look_at: Some(now),
            looked: now,
            incoming: None,
        })
    }

    fn run(&mut self) -> Result<(), Over> {
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(order) => self.order(order)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.time_passes()?;
            self.server.flush()?;
            let mut quiet = true;
            while let Some(event) = self.server.poll_for_event()? {
                quiet = false;
                self.event(event)?;
            }
            if quiet {
                self.sleep()?;
            }
        }
    }

    fn sleep(&mut self) -> Result<(), Over> {
        use std::io::Read as _;
        let times = self.transfers.iter().map(|one| one.until);
        let times = times.chain(self.fetch.as_ref().map(|one| one.until)).chain(self.look_at);
        let times = times.chain(self.claim.map(|(_, due)| due));
        let wait = times.min().map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        // A little longer, so that it is due then.
        let wait = Timespec::try_from(wait + Duration::from_millis(1));
        let wait = wait.unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = [
            PollFd::from_borrowed_fd(self.server.stream().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.woken.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut drain = [0; 64];
        while matches!(self.woken.read(&mut drain), Ok(1..)) {}
        Ok(())
    }

    fn time_passes(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if let Some((kinds, due)) = self.claim
            && due <= now
        {
            self.claim = None;
            self.claim(kinds)?;
        }
        if self.look_at.is_some_and(|due| due <= now) {
            self.look_at = None;
            self.looked = now;
            let (look, targets) = (self.atoms.LUCID_LOOK, self.atoms.TARGETS);
            let time = x11rb::CURRENT_TIME;
            self.server.convert_selection(
                self.window,
                self.atoms.CLIPBOARD,
                targets,
                look,
                time,
            )?;
        }
        self.transfers.retain(|one| one.until > now);
        if self.fetch.as_ref().is_some_and(|fetch| fetch.until <= now) {
            self.fetched(Err(Missing::Gone))?;
        }
        Ok(())
    }

    fn tell(&self, news: News) -> Result<(), Over> {
        self.news.blocking_send(news).map_err(|_| Over::Dropped)
    }

    fn order(&mut self, order: Order) -> Result<(), Over> {
        match order {
            Order::Own(kinds) => self.own(kinds)?,
            Order::Provide(id, content) => self.provide(id, content)?,
            Order::Fetch(kind, limit) => self.fetch(kind, limit)?,
            Order::Read(file, position, length) => {
                let store = self.store.as_ref();
                let read = store.and_then(|store| store.read(&file, position, length).ok());
                self.tell(News::ReadDone(read))?;
            }
            Order::Begin(name) => {
                let incoming = self.store.as_ref().map(|store| store.incoming(&name));
                self.incoming = incoming.and_then(|file| {
                    file.inspect_err(|error| tracing::warn!(%error, "a file is not taken")).ok()
                });
                self.tell(News::Stored(self.incoming.is_some()))?;
            }
            Order::Append(bytes) => {
                let taken = self.incoming.as_mut().is_some_and(|file| {
                    let taken = file.append(&bytes);
                    taken.inspect_err(|error| tracing::warn!(%error, "a file is not taken")).is_ok()
                });
                self.tell(News::Stored(taken))?;
            }
            Order::Finish => {
                let finished = self.incoming.take().map(Incoming::finish);
                self.tell(News::Finished(finished))?;
            }
            Order::Abandon => self.incoming = None,
        }
        Ok(())
    }

    fn own(&mut self, kinds: Kinds) -> Result<(), Over> {
        // What was there before is gone at once.
        self.owned = Kinds::default();
        self.claim = Some((kinds, Instant::now() + OFFER_SETTLES));
        self.refuse_all()
    }

    fn claim(&mut self, kinds: Kinds) -> Result<(), Over> {
        self.owned = kinds;
        let owner = if kinds.is_empty() { x11rb::NONE } else { self.window };
        if kinds.is_empty() && !self.claimed {
            return Ok(());
        }
        self.claimed = !kinds.is_empty();
        self.server.set_selection_owner(owner, self.atoms.CLIPBOARD, x11rb::CURRENT_TIME)?;
        Ok(())
    }

    fn refuse_all(&mut self) -> Result<(), Over> {
        for request in std::mem::take(&mut self.requests) {
            self.answer(&request.event, x11rb::NONE)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Over> {
        match event {
            Event::XfixesSelectionNotify(event) if event.selection == self.atoms.CLIPBOARD => {
                if event.owner == self.window {
                    self.owned_at = event.selection_timestamp;
                    return Ok(());
                }
                (self.owned, self.claimed, self.claim) = Default::default();
                self.refuse_all()?;
                if self.fetch.is_some() {
                    self.fetched(Err(Missing::Gone))?;
                }
                if event.owner == x11rb::NONE {
                    self.look_at = None;
                    return self.tell(News::Offered(Kinds::default()));
                }
                self.look_at = Some((self.looked + LOOK_INTERVAL).max(Instant::now()));
                Ok(())
            }
            Event::SelectionRequest(event) => self.requested(event),
            Event::SelectionNotify(event) => self.notified(&event),
            Event::PropertyNotify(event) => self.property(&event),
            // Errors are those of programs that went away meanwhile.
            _ => Ok(()),
        }
    }

    fn kind_of(&self, target: u32) -> Option<Kind> {
        let atoms = &self.atoms;
        let texts =
            [atoms.UTF8_STRING, atoms.TEXT_PLAIN_UTF8, atoms.TEXT_PLAIN, atoms.TEXT, atoms.STRING];
        if texts.contains(&target) {
            Some(Kind::Text)
        } else if [atoms.IMAGE_PNG, atoms.IMAGE_BMP].contains(&target) {
            Some(Kind::Image)
        } else if [atoms.URI_LIST, atoms.GNOME_FILES].contains(&target) {
            Some(Kind::Files)
        } else {
            None
        }
    }

    /// The targets of a kind, the best first.
    fn targets_of(&self, kind: Kind) -> Vec<u32> {
        let atoms = &self.atoms;
        match kind {
            Kind::Text => vec![
                atoms.UTF8_STRING,
                atoms.TEXT_PLAIN_UTF8,
                atoms.STRING,
                atoms.TEXT_PLAIN,
                atoms.TEXT,
            ],
            Kind::Image => vec![atoms.IMAGE_PNG, atoms.IMAGE_BMP],
            Kind::Files => vec![atoms.URI_LIST, atoms.GNOME_FILES],
        }
    }
}
