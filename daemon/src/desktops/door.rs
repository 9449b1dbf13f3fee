//! Who comes in: the gatekeeper that the RDP server asks.
//!
//! A client that is let in has a session whose recording runs and whose opening is on its way to
//! the chain. What goes wrong before that leaves the credential as it was; what goes wrong after
//! uses it up, since a session id is never used twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lucid_evidence::SessionId;
use lucid_rdp::controller::ClientId;
use lucid_rdp::credential::{Admission as Admitted, Credential, Secret, SignInError, split_login};
use lucid_rdp::session::{Admission, Attempt, Ended, Endpoint, Gatekeeper, Refused};

use super::session::Opening;
use super::{DesktopId, Desktops, DesktopsError, Session, blocking, lock};
use crate::events::Topic;
use crate::http::time::{Rfc3339, now_us};
use crate::recordings::DesktopJob;

/// What listeners are told of a sign-in that failed.
#[derive(serde::Serialize)]
struct SignInRefused {
    at: Rfc3339,
    peer: String,
    desktop_id: Option<String>,
    user: String,
    failures: u32,
    slowed_down: bool,
}

/// The door of all desktops.
pub struct Door(pub Arc<Desktops>);

/// Whom the register let in.
struct Known {
    desktop: DesktopId,
    credential: Credential,
    admitted: Admitted,
}

#[async_trait::async_trait]
impl Gatekeeper for Door {
    fn size(&self, endpoint: &Endpoint) -> Option<(u16, u16)> {
        let Endpoint::Desktop(id) = endpoint else { return None };
        let desktop = self.0.find(id).ok()?;
        let side = |pixels: u32| u16::try_from(pixels).ok();
        Some((side(desktop.definition.width)?, side(desktop.definition.height)?))
    }

    async fn admit(&self, attempt: Attempt) -> Result<Admission, Refused> {
        let hub = &self.0;
        let (peer, user) = (attempt.peer, attempt.user.clone());
        let client = ClientId(hub.clients.fetch_add(1, Ordering::Relaxed));
        // The RDP server has a thread of its own; what is waited for here belongs to the daemon's.
        let (task, runtime) = (Arc::clone(hub), hub.runtime());
        let admitted = runtime.spawn(async move { task.admit(attempt, client).await }).await;
        match admitted {
            Ok(Ok(admission)) => Ok(admission),
            Ok(Err(Turned::Refused(refused))) => Err(refused),
            Ok(Err(Turned::Failed(error))) => {
                tracing::error!(%peer, user, %error, "a desktop cannot be entered");
                Err(Refused::Refused)
            }
            Err(error) => {
                tracing::error!(%peer, %error, "a desktop cannot be entered");
                Err(Refused::Refused)
            }
        }
    }

    fn left(&self, session: SessionId, client: ClientId, ended: Ended) {
        if let Some(session) = self.0.session(session) {
            if ended == Ended::NoDesktop {
                session.end(self.0.how_it_ended(&session.desktop));
            }
            session.left(client, ended);
        }
    }
}

/// Why a client is not let in.
enum Turned {
    /// It may not.
    Refused(Refused),
    /// It may, but that failed.
    Failed(DesktopsError),
}

impl From<DesktopsError> for Turned {
    fn from(error: DesktopsError) -> Self {
        Self::Failed(error)
    }
}

impl Desktops {
    async fn admit(
        self: &Arc<Self>,
        attempt: Attempt,
        client: ClientId,
    ) -> Result<Admission, Turned> {
        let peer = attempt.peer;
        if self.known().closed {
            return Err(Turned::Refused(Refused::Refused));
        }
        let (desktop, user) = self.meant(&attempt);
        if let Some(admission) = self.observer(desktop.as_ref(), &user, &attempt, client) {
            return Ok(admission);
        }
        let gate = match &desktop {
            Some(desktop) => Some(self.entry(desktop, |entry| Arc::clone(&entry.gate))?),
            None => None,
        };
        let _alone = match &gate {
            Some(gate) => Some(gate.lock().await),
            None => None,
        };
        let known = self.sign_in(desktop, user, attempt).await?;
        let session = match known.admitted {
            Admitted::Resume => self.session(known.credential.session),
            Admitted::Open => Some(self.open_session(&known).await?),
        };
        let session = session.ok_or(Turned::Refused(Refused::Refused))?;
        let running = self.bring_up(&known.desktop).await?;
        let shown = running.desktop();
        let admission = session.enter(client, &known.credential.user, peer, shown);
        admission.ok_or(Turned::Refused(Refused::Refused))
    }

    /// The desktop and the user that a client names.
    fn meant(&self, attempt: &Attempt) -> (Option<DesktopId>, String) {
        let id_of = |name: &str| self.find(name).ok().map(|desktop| desktop.id);
        // Many clients send the name of their own computer as the domain: on a desktop's own port
        // that says nothing.
        if let Endpoint::Desktop(id) = &attempt.endpoint {
            return (DesktopId::parse(id), attempt.user.clone());
        }
        match (&attempt.desktop, split_login(&attempt.user)) {
            (Some(desktop), _) => (id_of(desktop), attempt.user.clone()),
            (None, Some((desktop, user))) => (id_of(desktop), user.to_owned()),
            (None, None) => (None, attempt.user.clone()),
        }
    }

    /// Looks at the credential, and stores what became of it before anything else happens.
    async fn sign_in(
        self: &Arc<Self>,
        desktop: Option<DesktopId>,
        user: String,
        attempt: Attempt,
    ) -> Result<Known, Turned> {
        let (this, peer) = (Arc::clone(self), attempt.peer);
        let (asked, name) = (desktop.clone(), user.clone());
        let looked = blocking(move || {
            let mut register = lock(&this.register);
            // No desktop has an id like this: where none is meant, nobody gets in.
            let id = asked.as_ref().map_or("-", DesktopId::as_str);
            let login = register.sign_in(Some(id), &name, &attempt.secret, peer.ip(), now_us());
            let signed_in = match login {
                Ok(signed_in) => signed_in,
                Err(refused) => return Ok(Err(refused)),
            };
            let credential = register.get(signed_in.session).cloned();
            let credential = credential.ok_or(DesktopsError::NotRunning)?;
            if signed_in.admission == Admitted::Open {
                this.stored.put_credentials(&[&credential], &[])?;
            }
            Ok(Ok((credential, signed_in.admission)))
        });
        match (looked.await?, desktop) {
            (Ok((credential, admitted)), Some(desktop)) => {
                Ok(Known { desktop, credential, admitted })
            }
            (Err(refused), desktop) => Err(self.refuse(&refused, peer, desktop, user)),
            (Ok(_), None) => Err(Turned::Refused(Refused::Refused)),
        }
    }

    fn refuse(
        &self,
        why: &SignInError,
        peer: SocketAddr,
        desktop: Option<DesktopId>,
        user: String,
    ) -> Turned {
        tracing::warn!(%peer, user, %why, "a desktop's sign-in is refused");
        let (failures, slowed_down) = match why {
            SignInError::Refused { failures, .. } => (*failures, false),
            SignInError::Wait { .. } => (0, true),
        };
        let counter = if slowed_down { &self.slowed } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        let desktop_id = desktop.map(|id| id.to_string());
        let (at, peer) = (Rfc3339::from_us(now_us()), peer.to_string());
        let told = SignInRefused { at, peer, desktop_id, user, failures, slowed_down };
        self.herald.events.publish(Topic::DesktopSignIn, &told);
        Turned::Refused(if slowed_down { Refused::SlowDown } else { Refused::Refused })
    }

    /// Starts the desktop and the recording of a session that was never used.
    async fn open_session(self: &Arc<Self>, known: &Known) -> Result<Arc<Session>, Turned> {
        let id = known.credential.session;
        let opened = self.open_recorded(known).await;
        let error = match opened {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let this = Arc::clone(self);
        let kept = blocking(move || {
            let mut register = lock(&this.register);
            // Once the recorder has seen the id it is used, whatever came of it.
            let credential = match this.recordings.has_session(id) {
                true => register.session_over(id),
                false => register.put_back(id),
            };
            match credential {
                Some(credential) => this.stored.put_credentials(&[credential], &[]),
                None => Ok(()),
            }
        });
        if let Err(error) = kept.await {
            tracing::error!(session = %id, %error, "a credential cannot be stored");
        }
        Err(error.into())
    }

    async fn open_recorded(self: &Arc<Self>, known: &Known) -> Result<Arc<Session>, DesktopsError> {
        let (credential, id) = (known.credential.clone(), known.desktop.clone());
        let (other, enabled, name, counters) = self.entry(&id, |entry| {
            let desktop = &entry.desktop;
            let name = desktop.definition.name.clone();
            (entry.session, desktop.enabled, name, Arc::clone(&entry.counters))
        })?;
        if let Some(other) = other {
            return Err(DesktopsError::InUse(other));
        }
        if !enabled {
            return Err(DesktopsError::Stopped);
        }
        let shown = self.bring_up(&id).await?.desktop();
        let this = Arc::clone(self);
        blocking(move || {
            let policy = credential.policy.clone();
            let anchored = policy.hash();
            let job = DesktopJob {
                session: credential.session,
                desktop_id: id.to_string(),
                desktop_name: name.clone(),
                user: credential.user.clone(),
                policy: anchored,
                shown,
            };
            let seen = job.shown.clone();
            let feed = this.recordings.start_desktop(job)?;
            let session = Session::open(Opening {
                id: credential.session,
                desktop: id.clone(),
                desktop_name: name,
                recorded_by: this.recorded_by.clone(),
                policy,
                anchored,
                timing: this.timing(),
                feed,
                counters,
                herald: Arc::clone(&this.herald),
            })
            .map_err(|void| DesktopsError::Failed(void.to_string()))?;
            session.watch_windows(&seen);
            let mut known = this.known();
            known.sessions.insert(session.id, Arc::clone(&session));
            if let Some(entry) = known.desktops.get_mut(&id) {
                entry.session = Some(session.id);
            }
            drop(known);
            this.tell(&id);
            Ok(session)
        })
        .await
    }

    fn observer(
        self: &Arc<Self>,
        desktop: Option<&DesktopId>,
        user: &str,
        attempt: &Attempt,
        client: ClientId,
    ) -> Option<Admission> {
        let secret = Secret::typed(&attempt.secret)?.hash();
        let (session, running) =
            self.entry(desktop?, |entry| (entry.session, entry.running.clone())).ok()?;
        let (session, shown) = (self.session(session?)?, running?.desktop());
        session.observe(client, user, &secret, attempt.peer, shown)
    }
}
