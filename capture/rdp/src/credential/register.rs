//! All credentials of a device and the one door they open.

use super::{
    Admission, Credential, CredentialError, Refusal, SECRET_BYTES, Secret, Throttle, Use,
    check_user, split_login,
};
use lucid_evidence::SessionId;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most credentials kept. At the limit those that are over make room, oldest first; if all are
/// alive no more are issued.
pub const CREDENTIALS_MAX: usize = 4096;

/// Why a sign-in failed. A client is told no more than that it failed; the log gets this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Too many failures from its address: nothing was looked at.
    #[error("too many failures from this address, nothing is tried for another {wait_us} us")]
    Wait {
        /// How long, microseconds.
        wait_us: u64,
    },
    /// Not let in.
    #[error("{refusal} (failure number {failures} from this address)")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Failures from that address so far.
        failures: u32,
    },
}

/// Why a credential is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Its session id is known already.
    #[error("session {0} already has a credential; a session id is used once")]
    Known(SessionId),
    /// No room.
    #[error("{CREDENTIALS_MAX} credentials are alive; revoke some")]
    Full,
}

/// Who was let in, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    /// The session.
    pub session: SessionId,
    /// Whether it is opened or goes on.
    pub admission: Admission,
}

/// The credentials by session, and failures by address.
#[derive(Debug, Default)]
pub struct Register {
    credentials: BTreeMap<SessionId, Credential>,
    throttle: Throttle,
}

impl Register {
    /// Takes up what was stored. Sessions that ran when the process ended are over: they are closed
    /// with a gap and never continued, so their credentials are used up. Returns those that changed
    /// and must be stored again.
    pub fn take_up(stored: impl IntoIterator<Item = Credential>) -> (Self, Vec<Credential>) {
        let (mut register, mut changed) = (Register::default(), Vec::new());
        for mut credential in stored {
            if credential.used == Use::Running {
                credential.used = Use::Used;
                changed.push(credential.clone());
            }
            register.credentials.insert(credential.session, credential);
        }
        (register, changed)
    }

    /// Adds one that was just issued. Returns those that were let go for it.
    ///
    /// # Errors
    /// When its session is known or all places are taken by credentials that are alive.
    pub fn add(
        &mut self,
        credential: Credential,
        now_us: u64,
    ) -> Result<Vec<SessionId>, RegisterError> {
        let session = credential.session;
        if self.credentials.contains_key(&session) {
            return Err(RegisterError::Known(session));
        }
        let mut gone = Vec::new();
        while self.credentials.len() >= CREDENTIALS_MAX {
            let over = |c: &&Credential| match c.used {
                Use::Used | Use::Revoked => true,
                Use::Unused => now_us >= c.expires_us,
                Use::Running => false,
            };
            let oldest = self.credentials.values().filter(over).min_by_key(|c| c.issued_us);
            let oldest = oldest.map(|c| c.session).ok_or(RegisterError::Full)?;
            self.credentials.remove(&oldest);
            gone.push(oldest);
        }
        self.credentials.insert(session, credential);
        Ok(gone)
    }

    /// All of them, in the order of their sessions.
    pub fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.values()
    }

    /// The one of a session.
    pub fn get(&self, session: SessionId) -> Option<&Credential> {
        self.credentials.get(&session)
    }

    /// Looks at what a client shows. `desktop` is the desktop of its port, none on the shared
    /// endpoint, where the login names it. A credential that opens its session is running from here
    /// on, so that it opens it once; the caller stores it before anything else happens.
    ///
    /// # Errors
    /// Why the client is not let in.
    pub fn sign_in(
        &mut self,
        desktop: Option<&str>,
        login: &str,
        secret: &str,
        address: IpAddr,
        now_us: u64,
    ) -> Result<SignedIn, SignInError> {
        self.throttle.check(address, now_us).map_err(|wait_us| SignInError::Wait { wait_us })?;
        match self.look(desktop, login, secret, now_us) {
            Ok(signed_in) => {
                self.throttle.succeeded(address);
                Ok(signed_in)
            }
            Err(refusal) => {
                let failures = self.throttle.failed(address, now_us);
                Err(SignInError::Refused { refusal, failures })
            }
        }
    }

    fn look(
        &mut self,
        desktop: Option<&str>,
        login: &str,
        secret: &str,
        now_us: u64,
    ) -> Result<SignedIn, Refusal> {
        let (desktop, user) = match (split_login(login), desktop) {
            // On its own port a login may name the desktop, but no other.
            (Some((named, user)), Some(desktop)) if named == desktop => (desktop, user),
            (_, Some(desktop)) => (desktop, login),
            (Some((named, user)), None) => (named, user),
            (None, None) => return Err(Refusal::Wrong),
        };
        let secret = Secret::typed(secret).ok_or(Refusal::Wrong)?;
        let mut refusal = Refusal::Wrong;
        for credential in self.credentials.values_mut() {
            match credential.admit(user, &secret, desktop, now_us) {
                Ok(admission) => {
                    credential.used = Use::Running;
                    return Ok(SignedIn { session: credential.session, admission });
                }
                Err(Refusal::Wrong) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// The session of a credential is over. Returns the credential, to be stored.
    pub fn session_over(&mut self, session: SessionId) -> Option<&Credential> {
        self.become_used(session, Use::Used)
    }

    /// Takes a credential back. Returns it, to be stored; a session that runs with it must be ended
    /// by the caller.
    pub fn revoke(&mut self, session: SessionId) -> Option<&Credential> {
        self.become_used(session, Use::Revoked)
    }

    /// Nothing came of the session that was to be opened: the credential is as it was before.
    /// Returns it, to be stored.
    pub fn put_back(&mut self, session: SessionId) -> Option<&Credential> {
        let credential = self.credentials.get_mut(&session)?;
        if credential.used == Use::Running {
            credential.used = Use::Unused;
        }
        Some(credential)
    }

    /// Gives a session that runs to another user: the secret is another, the old one opens nothing
    /// any more. Returns the credential, to be stored, with its new secret; none when the session
    /// does not run.
    ///
    /// # Errors
    /// When the user's name is not usable.
    pub fn hand_over(
        &mut self,
        session: SessionId,
        to: &str,
        random: &[u8; SECRET_BYTES],
    ) -> Result<Option<(&Credential, Secret)>, CredentialError> {
        check_user(to)?;
        let running = self.credentials.get_mut(&session).filter(|one| one.used == Use::Running);
        Ok(running.map(|credential| {
            let secret = Secret::from_random(random);
            credential.user = to.to_owned();
            credential.secret_hash = secret.hash();
            (&*credential, secret)
        }))
    }

    /// What is over stays as it was.
    fn become_used(&mut self, session: SessionId, used: Use) -> Option<&Credential> {
        let credential = self.credentials.get_mut(&session)?;
        if matches!(credential.used, Use::Unused | Use::Running) {
            credential.used = used;
        }
        Some(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FAILURES_FREE, Issue, LIFE_MAX_US};
    use super::*;
    use crate::policy::Policy;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn issued(number: u64, user: &str) -> (Credential, String) {
        let mut random = [0; SECRET_BYTES];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let issue = Issue {
            session: SessionId::new(number, [1; 10]),
            user: user.into(),
            desktop: "accounts".into(),
            life_us: LIFE_MAX_US,
            issued_by: "operator".into(),
            policy: Policy::default(),
        };
        let (credential, secret) = Credential::issue(issue, &random, number).unwrap();
        (credential, secret.reveal().to_string())
    }

    #[test]
    fn a_credential_opens_one_session_once_on_either_endpoint() {
        for (desktop, login) in [
            (Some("accounts"), "ada"),
            (Some("accounts"), "accounts\\ada"),
            (None, "accounts\\ada"),
            (None, "ada@accounts"),
        ] {
            let mut register = Register::default();
            let (credential, secret) = issued(1, "ada");
            let session = credential.session;
            register.add(credential.clone(), 1).unwrap();
            assert_eq!(register.add(credential, 1), Err(RegisterError::Known(session)));
            let enter =
                |register: &mut Register| register.sign_in(desktop, login, &secret, HOME, 2);
            let opened = SignedIn { session, admission: Admission::Open };
            assert_eq!(enter(&mut register), Ok(opened), "{login}");
            let resumed = SignedIn { session, admission: Admission::Resume };
            assert_eq!(enter(&mut register), Ok(resumed));
            assert_eq!(register.session_over(session).unwrap().used, Use::Used);
            let refused = SignInError::Refused { refusal: Refusal::Used, failures: 1 };
            assert_eq!(enter(&mut register), Err(refused));
            assert_eq!(register.revoke(session).unwrap().used, Use::Used);
        }
    }

    #[test]
    fn another_desktop_is_not_entered_and_guessing_is_slowed_down() {
        let mut register = Register::default();
        let (credential, secret) = issued(1, "ada");
        register.add(credential, 1).unwrap();
        let tries = [(Some("vault"), "ada"), (Some("vault"), "accounts\\ada"), (None, "ada")];
        for (failures, (desktop, login)) in (1..).zip(tries) {
            let refused = SignInError::Refused { refusal: Refusal::Wrong, failures };
            assert_eq!(register.sign_in(desktop, login, &secret, HOME, 2), Err(refused));
        }
        for _ in 3..FAILURES_FREE {
            register.sign_in(None, "accounts\\ada", "wrong", HOME, 2).unwrap_err();
        }
        let right = register.sign_in(None, "accounts\\ada", &secret, HOME, 2);
        assert!(matches!(right, Err(SignInError::Wait { .. })), "{right:?}");
        let elsewhere = IpAddr::from([192, 0, 2, 2]);
        assert!(register.sign_in(None, "accounts\\ada", &secret, elsewhere, 2).is_ok());
    }

    #[test]
    fn a_session_that_never_began_leaves_its_credential_and_one_that_runs_changes_hands() {
        let mut register = Register::default();
        let (credential, secret) = issued(1, "ada");
        let session = credential.session;
        register.add(credential, 1).unwrap();
        let enter = |register: &mut Register, user: &str, secret: &str| {
            register.sign_in(Some("accounts"), user, secret, HOME, 2).map(|one| one.admission)
        };
        assert!(register.hand_over(session, "bob", &[7; SECRET_BYTES]).unwrap().is_none());
        assert_eq!(enter(&mut register, "ada", &secret), Ok(Admission::Open));
        assert_eq!(register.put_back(session).unwrap().used, Use::Unused);
        assert_eq!(enter(&mut register, "ada", &secret), Ok(Admission::Open));
        assert!(register.hand_over(session, "a\\b", &[7; SECRET_BYTES]).is_err());
        let (changed, other) =
            register.hand_over(session, "bob", &[7; SECRET_BYTES]).unwrap().unwrap();
        assert_eq!((changed.user.as_str(), changed.used), ("bob", Use::Running));
        assert!(enter(&mut register, "ada", &secret).is_err());
        assert_eq!(enter(&mut register, "bob", &other.reveal()), Ok(Admission::Resume));
        register.session_over(session).unwrap();
        assert_eq!(register.put_back(session).unwrap().used, Use::Used);
    }

    #[test]
    fn after_a_restart_nothing_that_ran_is_continued() {
        let (mut ran, secret) = issued(1, "ada");
        let (waits, other) = issued(2, "bob");
        ran.used = Use::Running;
        let (mut register, changed) = Register::take_up([ran.clone(), waits]);
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].session, changed[0].used), (ran.session, Use::Used));
        assert!(register.sign_in(None, "accounts\\ada", &secret, HOME, 3).is_err());
        assert!(register.sign_in(None, "accounts\\bob", &other, HOME, 3).is_ok());
    }

    #[test]
    fn what_is_over_makes_room_and_what_lives_does_not() {
        let mut register = Register::default();
        for number in 1..=CREDENTIALS_MAX as u64 {
            register.add(issued(number, "ada").0, 1).unwrap();
        }
        let (one_more, _) = issued(CREDENTIALS_MAX as u64 + 1, "ada");
        assert_eq!(register.add(one_more.clone(), 1), Err(RegisterError::Full));
        let over = SessionId::new(7, [1; 10]);
        register.revoke(over).unwrap();
        assert_eq!(register.add(one_more, 1), Ok(vec![over]));
        assert_eq!(register.iter().count(), CREDENTIALS_MAX);
    }
}
