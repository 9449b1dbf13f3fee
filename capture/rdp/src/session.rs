//! Where the wire meets the rest: who is let in, to which desktop, under which policy, and who is
//! told of what happens.
//!
//! The wire asks a [`Gatekeeper`] once per connection, after TLS and before the first picture. From
//! then on it holds to the [`Admission`]: it shows that desktop and nothing else, asks the policy
//! in force for each request, and tells the [`EventSink`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lucid_capture::encoded::EncodedFeed;
use lucid_capture::screen::Access;
use lucid_evidence::SessionId;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::controller::ClientId;
use crate::desktop::reach::Reach;
use crate::event::EventKind;
use crate::monitor::Counters;
use crate::policy::Policy;
use crate::secrecy::Secrecy;
use crate::sound::SoundFeed;

/// Where a client knocked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The port that picks the desktop from the user name, `desktop\user`.
    Shared,
    /// The port of one desktop, by its identifier.
    Desktop(String),
}

/// A client that wants in.
#[derive(Debug)]
pub struct Attempt {
    /// Where it knocked.
    pub endpoint: Endpoint,
    /// The desktop it named before the backslash, if it did; at most 256 bytes.
    pub desktop: Option<String>,
    /// The user it named, at most 256 bytes.
    pub user: String,
    /// What it showed, at most 512 bytes.
    pub secret: Zeroizing<String>,
    /// From where.
    pub peer: SocketAddr,
}

/// What a client is told that is not let in: nothing that helps it to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Wrong, used, expired, or not for this desktop.
    #[error("refused")]
    Refused,
    /// Too many failures from there.
    #[error("refused; slow down")]
    SlowDown,
}

/// A desktop whose X server runs.
#[derive(Clone)]
pub struct RunningDesktop {
    /// The number of its display.
    pub display: u16,
    /// Its MIT-MAGIC-COOKIE-1.
    pub cookie: Zeroizing<Vec<u8>>,
    /// Its name for people.
    pub name: String,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// The ways into it: its X server, its files, its terminals.
    pub reach: Arc<dyn Reach>,
    /// Where files that come in are put, and below which files may go out, as the desktop's
    /// programs name that directory; it is entered through `reach`. None for no files, whatever
    /// the policy says.
    pub files: Option<PathBuf>,
    /// Whether what is typed into it is likely a secret.
    pub secrecy: Arc<Secrecy>,
    /// Where its recording puts the pictures it encodes, for clients that take H.264. Nobody
    /// publishes there while it is not recorded.
    pub encoded: EncodedFeed,
    /// What its programs play; none where it has no sound, whatever the policy says.
    pub sound: Option<SoundFeed>,
}

impl RunningDesktop {
    /// What a recorder of its display needs.
    pub fn access(&self) -> Access {
        let reach = self.reach.clone();
        Access::Handed { cookie: self.cookie.clone(), connect: Arc::new(move || reach.connect()) }
    }
}

impl std::fmt::Debug for RunningDesktop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningDesktop(:{} {}x{})", self.display, self.width, self.height)
    }
}

/// What the owner of a session wants of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Run,
    /// Close it, and say why.
    End {
        /// A sentence for the event and the log.
        reason: String,
    },
}

/// Why a connection that was let in is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The worker did not accept the notice.
    Declined,
    /// The client said goodbye.
    LoggedOff,
    /// The connection broke, or its other side went silent.
    Lost,
    /// Its owner ended it.
    Ordered,
    /// The desktop's X server is gone.
    NoDesktop,
}

/// Takes what happens. [`EventSink::record`] never waits: an implementation keeps at most a stated
/// number of events, counts what comes above it, and records that count when there is room again.
pub trait EventSink: Send + Sync {
    /// Takes one event, to be stamped with the time at which it is called.
    fn record(&self, event: EventKind);
}

/// A client that is let in.
#[derive(Clone)]
pub struct Admission {
    /// The session; recorded, and opened on the chain, before this is given out.
    pub session: SessionId,
    /// The connection's own name, for [`Gatekeeper::left`]: a session may have several at a time.
    pub client: ClientId,
    /// Who, as the notice and the events name the worker.
    pub user: String,
    /// Who records, for the notice.
    pub recorded_by: String,
    /// The desktop it sees.
    pub desktop: RunningDesktop,
    /// The policy in force; changes when an operator grants something.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Whether the notice was accepted in this session already: so on a reconnect.
    pub accepted: bool,
    /// Sees everything, touches nothing.
    pub observer: bool,
    /// Who is told.
    pub events: Arc<dyn EventSink>,
    /// Where the wire counts for this desktop.
    pub counters: Arc<Counters>,
    /// What its owner wants; a closed channel ends the connection.
    pub orders: watch::Receiver<Order>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("session", &self.session)
            .field("desktop", &self.desktop)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

/// Decides who comes in.
#[async_trait::async_trait]
pub trait Gatekeeper: Send + Sync {
    /// The size of an endpoint's desktop before anybody is let in, where it is known: saves a
    /// client one change of size. Columns and rows.
    fn size(&self, endpoint: &Endpoint) -> Option<(u16, u16)>;

    /// Lets a client in or not. The session is recorded when this returns.
    ///
    /// # Errors
    /// What the client may be told.
    async fn admit(&self, attempt: Attempt) -> Result<Admission, Refused>;

    /// The connection of an admission is over.
    fn left(&self, session: SessionId, client: ClientId, ended: Ended);
}
