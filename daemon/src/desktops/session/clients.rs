//! Clients of a session: they come in, do something, and leave.

use std::net::SocketAddr;
use std::sync::Arc;

use lucid_rdp::controller::{ClientId, Effect, Ending, Input};
use lucid_rdp::event::{Connection, EventKind};
use lucid_rdp::policy::Denial;
use lucid_rdp::session::{Admission, Ended, Order, RunningDesktop};
use tokio::sync::watch;

use super::{Client, Session, Sink};
use crate::events::Topic;
use crate::http::time::now_us;

impl Session {
    /// Lets a client in whose credential was checked. `None` when the session is over or belongs
    /// to somebody else by now.
    pub fn enter(
        self: &Arc<Self>,
        client: ClientId,
        user: &str,
        peer: SocketAddr,
        desktop: RunningDesktop,
    ) -> Option<Admission> {
        let mut inner = self.lock();
        let first = inner.controller.owner().is_none();
        let orders = watch::Sender::new(Order::Run);
        let receiver = orders.subscribe();
        let there =
            Client { user: user.to_owned(), peer, since_us: now_us(), observer: false, orders };
        inner.clients.insert(client.0, there);
        if first {
            self.connection(Connection::Opened, user, &peer.to_string(), "");
        }
        let input = Input::SignedIn { client, user: user.to_owned() };
        let effects = inner.controller.step(input, self.elapsed_us());
        let refused = effects.iter().any(|one| matches!(one, Effect::Refuse(..)));
        self.apply(&mut inner, effects);
        if refused {
            inner.clients.remove(&client.0);
            return None;
        }
        // The same person need not be told twice within one session.
        let accepted = inner.accepted.as_deref() == Some(user);
        if accepted {
            let input = Input::NoticeAccepted(client);
            let effects = inner.controller.step(input, self.elapsed_us());
            self.apply(&mut inner, effects);
        }
        drop(inner);
        self.tell();
        Some(self.admission(client, user, desktop, receiver, accepted, false))
    }

    pub(super) fn admission(
        self: &Arc<Self>,
        client: ClientId,
        user: &str,
        desktop: RunningDesktop,
        orders: watch::Receiver<Order>,
        accepted: bool,
        observer: bool,
    ) -> Admission {
        Admission {
            session: self.id,
            client,
            user: user.to_owned(),
            recorded_by: self.recorded_by.clone(),
            desktop,
            policy: self.policy.subscribe(),
            accepted,
            observer,
            counters: Arc::clone(&self.counters),
            events: Arc::new(Sink { session: Arc::clone(self), client }),
            orders,
        }
    }

    /// A client's connection is over.
    pub fn left(&self, client: ClientId, ended: Ended) {
        let mut inner = self.lock();
        let Some(gone) = inner.clients.remove(&client.0) else { return };
        let (change, reason) = (
            if gone.observer { Connection::ObserverLeft } else { Connection::Closed },
            match ended {
                Ended::Declined => "the notice was not accepted",
                Ended::LoggedOff => "the client closed the connection",
                Ended::Lost => "the connection was lost",
                Ended::Ordered => "closed by the device",
                Ended::NoDesktop => "the desktop is gone",
            },
        );
        self.connection(change, &gone.user, &gone.peer.to_string(), reason);
        if !gone.observer {
            let input = match ended {
                Ended::Declined => Input::NoticeRefused(client),
                Ended::NoDesktop => Input::End(Ending::DesktopLost),
                Ended::LoggedOff | Ended::Lost | Ended::Ordered => Input::Closed(client),
            };
            let effects = inner.controller.step(input, self.elapsed_us());
            self.apply(&mut inner, effects);
        }
        drop(inner);
        self.tell();
    }

    pub(super) fn take(&self, client: ClientId, event: EventKind) {
        let mut inner = self.lock();
        let Some((user, observer)) =
            inner.clients.get(&client.0).map(|client| (client.user.clone(), client.observer))
        else {
            return;
        };
        let input = match &event {
            EventKind::NoticeAccepted { .. } => Some(Input::NoticeAccepted(client)),
            EventKind::Keys { .. } | EventKind::Pointer { .. } => Some(Input::Activity(client)),
            _ => None,
        };
        match &event {
            EventKind::Keys { count, .. } => inner.keys += count,
            EventKind::Refused { count, .. } => inner.refused += count,
            EventKind::NoticeAccepted { user, .. } if !observer => {
                inner.accepted = Some(user.clone());
            }
            _ => {}
        }
        let ask = match &event {
            EventKind::Refused { capability, denial: Denial::NotAllowed, .. } if !observer => {
                Some(*capability)
            }
            _ => None,
        };
        self.note(event);
        let before = inner.controller.state();
        if let Some(input) = input.filter(|_| !observer) {
            let effects = inner.controller.step(input, self.elapsed_us());
            self.apply(&mut inner, effects);
        }
        let asked = ask.and_then(|capability| self.ask(&mut inner, capability, &user));
        let changed = before != inner.controller.state() || ask.is_some();
        drop(inner);
        if let Some(asked) = asked {
            self.herald.events.publish(Topic::Approval, &asked);
        }
        if changed {
            self.tell();
        }
    }
}
