//! Who watches a session: RDP clients with a secret of their own, and accounts on the page.

use std::net::SocketAddr;
use std::sync::Arc;

use lucid_evidence::Hash;
use lucid_rdp::controller::ClientId;
use lucid_rdp::event::{Connection, EventKind};
use lucid_rdp::policy::{Capability, Denial};
use lucid_rdp::session::{Admission, Order, RunningDesktop};
use tokio::sync::watch;

use super::{Client, Session};
use crate::http::time::now_us;

/// Browsers that are counted as watching one session; more watch without being named.
const WATCHERS_MAX: usize = 64;
/// Observers' secrets of one session that wait to be used.
const OBSERVER_KEYS_MAX: usize = 32;

/// A secret that waits to be used.
pub(super) struct ObserverKey {
    secret: Hash,
    user: String,
    expires_us: u64,
}

impl Session {
    /// Lets an observer in who shows one of the session's observer secrets; a secret opens once.
    pub fn observe(
        self: &Arc<Self>,
        client: ClientId,
        user: &str,
        secret: &Hash,
        peer: SocketAddr,
        desktop: RunningDesktop,
    ) -> Option<Admission> {
        let mut inner = self.lock();
        let now = now_us();
        let known = blake3::Hash::from(secret.0);
        let found = inner.observer_keys.iter().position(|key| {
            known == blake3::Hash::from(key.secret.0) && key.user == user && now < key.expires_us
        })?;
        let there = inner.clients.values().filter(|client| client.observer).count();
        if there >= inner.force.effective().observers as usize {
            let (capability, denial) = (Capability::Observe, Denial::OverLimit);
            self.note(EventKind::Refused { capability, denial, count: 1 });
            return None;
        }
        inner.observer_keys.remove(found);
        let orders = watch::Sender::new(Order::Run);
        let receiver = orders.subscribe();
        let user = user.to_owned();
        let there = Client { user: user.clone(), peer, since_us: now, observer: true, orders };
        inner.clients.insert(client.0, there);
        self.connection(Connection::ObserverJoined, &user, &peer.to_string(), "");
        drop(inner);
        self.tell();
        Some(self.admission(client, &user, desktop, receiver, false, true))
    }

    /// Lets an observer come with this secret until `expires_us`.
    pub fn expect_observer(&self, user: &str, secret: Hash, expires_us: u64) -> bool {
        let mut inner = self.lock();
        let now = now_us();
        inner.observer_keys.retain(|key| now < key.expires_us);
        let room = inner.observer_keys.len() < OBSERVER_KEYS_MAX;
        if room {
            inner.observer_keys.push(ObserverKey { secret, user: user.to_owned(), expires_us });
        }
        room
    }

    /// A browser of this account asks for the live picture.
    pub fn watched(&self, account: &str) {
        let mut inner = self.lock();
        let now = now_us();
        if let Some(last) = inner.watchers.get_mut(account) {
            *last = now;
            return;
        }
        if inner.watchers.len() < WATCHERS_MAX {
            inner.watchers.insert(account.to_owned(), now);
            self.connection(Connection::ObserverJoined, account, "the device's page", "");
            drop(inner);
            self.tell();
        }
    }
}
