//! One session on a desktop: who is there, what they may do now, and what is recorded of it.
//!
//! What decides is `lucid_rdp`'s controller and policy; this feeds them with what happens and with
//! real time, and does what they say. Nothing here waits: clients are told through channels,
//! events go into the recording's feed, and the end of a session is left for the driver.

mod clients;
mod observers;
mod requests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use lucid_capture::recorder::EventFeed;
use lucid_evidence::{Hash, SessionId};
use lucid_rdp::controller::{ClientId, Controller, Effect, Ending, Input, State, Timing};
use lucid_rdp::event::{Approval, Connection, EventKind};
use lucid_rdp::monitor::Counters;
use lucid_rdp::policy::{Policy, PolicyInForce, Void};
use lucid_rdp::session::{EventSink, Order, RunningDesktop};
use lucid_rdp::windows::WindowWatcher;
use tokio::sync::{Notify, watch};

use super::policy::PolicyBody;
use observers::ObserverKey;
pub use requests::Unanswerable;
use requests::{APPROVAL_WAITS_US, Request};

use super::stored::DesktopId;
use super::view::{ClientView, ConnectionView};
use crate::events::{Events, Topic};
use crate::http::time::{Rfc3339, now_us};

/// A browser that has asked for no picture for so long no longer watches, microseconds.
const WATCHING_US: u64 = 20_000_000;

/// Whom a session tells of its changes.
pub struct Herald {
    /// Listeners of the API.
    pub events: Events,
    /// Woken when a session has come to its end.
    pub wake: Notify,
}

/// What a session begins with.
pub struct Opening {
    /// The session.
    pub id: SessionId,
    /// Its desktop.
    pub desktop: DesktopId,
    /// The desktop's name.
    pub desktop_name: String,
    /// Who records, for the notice.
    pub recorded_by: String,
    /// The policy, as anchored.
    pub policy: Policy,
    /// Its hash, as anchored.
    pub anchored: Hash,
    /// How long things may take.
    pub timing: Timing,
    /// Where events go.
    pub feed: EventFeed,
    /// Where the wire counts.
    pub counters: Arc<Counters>,
    /// Who is told.
    pub herald: Arc<Herald>,
}

/// A session that runs.
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its desktop.
    pub desktop: DesktopId,
    desktop_name: String,
    recorded_by: String,
    opened_us: u64,
    feed: EventFeed,
    counters: Arc<Counters>,
    policy: watch::Sender<Arc<Policy>>,
    herald: Arc<Herald>,
    began: Instant,
    /// Tells which window has the focus.
    windows: Mutex<Option<WindowWatcher>>,
    inner: Mutex<Inner>,
}

struct Inner {
    controller: Controller,
    force: PolicyInForce,
    clients: BTreeMap<u64, Client>,
    /// The user who accepted the notice last.
    accepted: Option<String>,
    state_since_us: u64,
    requests: Vec<Request>,
    asked: u64,
    watchers: BTreeMap<String, u64>,
    observer_keys: Vec<ObserverKey>,
    ending: Option<Ending>,
    keys: u64,
    refused: u64,
}

struct Client {
    user: String,
    peer: SocketAddr,
    since_us: u64,
    observer: bool,
    orders: watch::Sender<Order>,
}

/// Tells the session what one client does.
struct Sink {
    session: Arc<Session>,
    client: ClientId,
}

impl EventSink for Sink {
    fn record(&self, event: EventKind) {
        self.session.take(self.client, event);
    }
}

/// Takes what happens on the desktop whoever is connected.
struct Beside(Weak<Session>);

impl EventSink for Beside {
    fn record(&self, event: EventKind) {
        if let Some(session) = self.0.upgrade() {
            session.note(event);
        }
    }
}

impl Session {
    /// A session whose recording runs and whose first client is about to come in.
    ///
    /// # Errors
    /// [`Void`], when the policy is not the anchored one.
    pub fn open(opening: Opening) -> Result<Arc<Self>, Void> {
        let Opening { id, desktop, desktop_name, recorded_by, policy, anchored, .. } = opening;
        let (encoding, sender) = (policy.encode(), watch::Sender::new(Arc::new(policy.clone())));
        let force = PolicyInForce::new(policy, anchored)?;
        let session = Self {
            id,
            desktop,
            desktop_name,
            recorded_by,
            opened_us: now_us(),
            feed: opening.feed,
            counters: opening.counters,
            policy: sender,
            herald: opening.herald,
            began: Instant::now(),
            windows: Mutex::new(None),
            inner: Mutex::new(Inner {
                controller: Controller::new(opening.timing, 0),
                force,
                clients: BTreeMap::new(),
                accepted: None,
                state_since_us: now_us(),
                requests: Vec::new(),
                asked: 0,
                watchers: BTreeMap::new(),
                observer_keys: Vec::new(),
                ending: None,
                keys: 0,
                refused: 0,
            }),
        };
        session.note(EventKind::Policy { hash: anchored, encoding });
        Ok(Arc::new(session))
    }

    /// Records from now on which window has the focus. What cannot be watched is recorded as such.
    pub fn watch_windows(self: &Arc<Self>, desktop: &RunningDesktop) {
        let events = Arc::new(Beside(Arc::downgrade(self)));
        match WindowWatcher::start(desktop, events) {
            Ok(watcher) => {
                *self.windows.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "its windows are not watched");
                self.note(EventKind::Alert { what: "windows are not watched".into() });
            }
        }
    }

    /// Windows are no longer watched. Blocks a moment.
    pub fn unwatch_windows(&self) {
        let watcher = self.windows.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(watcher);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Writes an event into the recording.
    pub fn note(&self, kind: EventKind) {
        self.feed.record(move |stamp| kind.encode(stamp));
    }

    fn connection(&self, change: Connection, user: &str, peer: &str, reason: &str) {
        let (user, peer, reason) = (user.to_owned(), peer.to_owned(), reason.to_owned());
        let what = change.as_str();
        tracing::info!(session = %self.id, what, user, peer, reason, "a desktop's connection");
        self.note(EventKind::Connection { change, user, peer, reason });
    }

    /// Gives the session to another user.
    pub fn transfer(&self, to: &str) {
        self.step(Input::Transfer { to: to.to_owned() });
    }

    /// Ends the session.
    pub fn end(&self, ending: Ending) {
        self.step(Input::End(ending));
    }

    fn step(&self, input: Input) {
        let mut inner = self.lock();
        let effects = inner.controller.step(input, self.elapsed_us());
        let changed = !effects.is_empty();
        self.apply(&mut inner, effects);
        drop(inner);
        if changed {
            self.tell();
        }
    }

    /// Time has passed: state changes that are due, requests and observers that are over.
    pub fn tick(&self) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let elapsed = self.elapsed_us();
        // The kernel asks silent peers; whoever is still connected is alive.
        if let Some(client) = inner.controller.client()
            && inner.clients.contains_key(&client.0)
        {
            inner.controller.step(Input::Alive(client), elapsed);
        }
        let effects = inner.controller.step(Input::Tick, elapsed);
        let mut changed = !effects.is_empty();
        self.apply(inner, effects);
        let now = now_us();
        let mut expired = Vec::new();
        for request in &mut inner.requests {
            let over = now.saturating_sub(request.asked_us) >= APPROVAL_WAITS_US;
            if request.state != Approval::Asked || !over {
                continue;
            }
            request.state = Approval::Expired;
            request.answered = Some((now, String::new()));
            let (number, capability) = (request.number, request.capability);
            let (approval, by) = (Approval::Expired, String::new());
            self.note(EventKind::Approval { request: number, capability, approval, by });
            expired.push(self.approval_view(request));
        }
        inner.watchers.retain(|account, last| {
            let there = now.saturating_sub(*last) < WATCHING_US;
            if !there {
                self.connection(Connection::ObserverLeft, account, "the device's page", "");
                changed = true;
            }
            there
        });
        drop(guard);
        for view in &expired {
            self.herald.events.publish(Topic::Approval, view);
        }
        if changed || !expired.is_empty() {
            self.tell();
        }
    }

    /// Compares the policy as it is stored now with the anchored one; a session under another is
    /// void and ends.
    pub fn hold_to(&self, stored: &Policy) {
        let checked = self.lock().force.check(stored);
        if let Err(void) = checked {
            tracing::error!(session = %self.id, %void, "a desktop's session is ended");
            self.note(EventKind::Alert { what: void.to_string() });
            self.end(Ending::Void);
        }
    }

    /// Why the session is over, once it is.
    pub fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.lock().controller.state()
    }

    fn apply(&self, inner: &mut Inner, effects: Vec<Effect>) {
        let who = |inner: &Inner, client: ClientId| {
            inner.clients.get(&client.0).map_or_else(Default::default, |client| {
                (client.user.clone(), client.peer.to_string())
            })
        };
        for effect in effects {
            match effect {
                Effect::Entered(state) => {
                    inner.state_since_us = now_us();
                    self.note(EventKind::State { state });
                }
                Effect::Resumed(client) => {
                    let (user, peer) = who(inner, client);
                    self.connection(Connection::Resumed, &user, &peer, "");
                }
                Effect::TakenOver { by, .. } => {
                    let (user, peer) = who(inner, by);
                    self.connection(Connection::TakenOver, &user, &peer, "");
                }
                Effect::Transferred { from, to } => {
                    inner.accepted = None;
                    let reason = format!("from {from}");
                    self.connection(Connection::Transferred, &to, "", &reason);
                }
                Effect::Close(client, why) => {
                    if let Some(client) = inner.clients.get(&client.0) {
                        client.orders.send_replace(Order::End { reason: why.to_owned() });
                    }
                }
                Effect::End(ending) => {
                    let owner = inner.controller.owner().unwrap_or_default().to_owned();
                    self.connection(Connection::Terminated, &owner, "", ending.as_str());
                    for client in inner.clients.values() {
                        let reason = ending.as_str().to_owned();
                        client.orders.send_replace(Order::End { reason });
                    }
                    inner.ending = Some(ending);
                    self.herald.wake.notify_one();
                }
                // The server shows the notice, lets go of keys with the connection, and the kernel
                // keeps connections alive.
                Effect::ShowNotice(_)
                | Effect::Attach(_)
                | Effect::KeepAlive(_)
                | Effect::Refuse(..)
                | Effect::ReleaseInput => {}
            }
        }
    }

    fn tell(&self) {
        self.herald.events.publish(Topic::Connection, &self.view());
    }

    /// As the API shows it.
    pub fn view(&self) -> ConnectionView {
        let inner = self.lock();
        let client = |client: &Client| ClientView {
            user: client.user.clone(),
            peer: client.peer.to_string(),
            since: Rfc3339::from_us(client.since_us),
            observer: client.observer,
        };
        ConnectionView {
            id: self.id.to_string(),
            session_id: self.id.to_string(),
            desktop_id: self.desktop.to_string(),
            desktop_name: self.desktop_name.clone(),
            owner: inner.controller.owner().map(str::to_owned),
            state: inner.controller.state().as_str(),
            state_since: Rfc3339::from_us(inner.state_since_us),
            opened_at: Rfc3339::from_us(self.opened_us),
            ending: inner.ending.map(Ending::as_str),
            notice_accepted: inner.accepted.is_some(),
            clients: inner.clients.values().map(client).collect(),
            watchers: inner.watchers.keys().cloned().collect(),
            policy: PolicyBody::from(inner.force.effective()),
            policy_hash: inner.force.anchored().to_string(),
            granted: inner.force.granted().iter().map(|one| one.as_str()).collect(),
            approvals_waiting: inner
                .requests
                .iter()
                .filter(|request| request.state == Approval::Asked)
                .count(),
            keys: inner.keys,
            refused: inner.refused,
        }
    }
}
