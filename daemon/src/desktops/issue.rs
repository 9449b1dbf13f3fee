//! Credentials: issued, listed, taken back, and handed over with their session.

use std::sync::Arc;

use lucid_evidence::SessionId;
use lucid_rdp::controller::Ending;
use lucid_rdp::credential::{Credential, Issue, SECRET_BYTES, Secret, Use};
use lucid_rdp::policy::Policy;
use zeroize::Zeroizing;

use super::view::CredentialView;
use super::{Desktop, DesktopId, Desktops, DesktopsError, fill, lock};
use crate::http::time::now_us;

/// A secret that was just made, to be shown once.
pub struct Issued {
    /// The credential.
    pub view: CredentialView,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

fn random_secret() -> Result<Zeroizing<[u8; SECRET_BYTES]>, DesktopsError> {
    let mut random = Zeroizing::new([0u8; SECRET_BYTES]);
    fill(&mut *random)?;
    Ok(random)
}

impl Desktops {
    /// Issues a credential for one session on a desktop. Blocks.
    ///
    /// # Errors
    /// When a field does not fit, or no more credentials can be kept.
    pub fn issue(
        &self,
        desktop: &Desktop,
        user: String,
        life_us: u64,
        policy: Option<Policy>,
        by: &str,
    ) -> Result<Issued, DesktopsError> {
        self.on()?;
        let (now, random) = (now_us(), random_secret()?);
        let mut tail = [0u8; 10];
        fill(&mut tail)?;
        let issue = Issue {
            session: SessionId::new(now / 1000, tail),
            user,
            desktop: desktop.id.to_string(),
            life_us,
            issued_by: by.to_owned(),
            policy: policy.unwrap_or_else(|| desktop.policy.clone()),
        };
        let (credential, secret) = Credential::issue(issue, &random, now)?;
        let mut register = lock(&self.register);
        let gone = register.add(credential.clone(), now)?;
        if let Err(error) = self.stored.put_credentials(&[&credential], &gone) {
            register.revoke(credential.session);
            return Err(error);
        }
        let view = CredentialView::new(&credential, now);
        Ok(Issued { view, secret: secret.reveal() })
    }

    /// The credentials of a desktop, newest first.
    pub fn credentials(&self, desktop: &DesktopId) -> Vec<CredentialView> {
        let (register, now) = (lock(&self.register), now_us());
        let mut all: Vec<&Credential> =
            register.iter().filter(|one| one.desktop == desktop.as_str()).collect();
        all.sort_by_key(|one| std::cmp::Reverse((one.issued_us, one.session)));
        all.into_iter().map(|one| CredentialView::new(one, now)).collect()
    }

    /// Takes a credential back; a session that runs with it is ended.
    ///
    /// # Errors
    /// When the desktop has no such credential, or from the index.
    pub async fn revoke(
        self: &Arc<Self>,
        desktop: &DesktopId,
        session: SessionId,
    ) -> Result<CredentialView, DesktopsError> {
        let (this, desktop) = (Arc::clone(self), desktop.clone());
        let credential = super::blocking(move || {
            let mut register = lock(&this.register);
            let there = register.get(session).is_some_and(|one| one.desktop == desktop.as_str());
            let revoked = if there { register.revoke(session) } else { None };
            let credential = revoked
                .ok_or_else(|| DesktopsError::NoSuch("credential", session.to_string()))?
                .clone();
            this.stored.put_credentials(&[&credential], &[])?;
            Ok(credential)
        })
        .await?;
        if self.session(session).is_some() {
            self.terminate(session).await?;
        }
        Ok(CredentialView::new(&credential, now_us()))
    }

    /// Takes back all that could still open a desktop. Blocks.
    pub(super) fn revoke_all(&self, desktop: &DesktopId) -> Result<(), DesktopsError> {
        let mut register = lock(&self.register);
        let alive: Vec<SessionId> = register
            .iter()
            .filter(|one| one.desktop == desktop.as_str())
            .filter(|one| matches!(one.used, Use::Unused | Use::Running))
            .map(|one| one.session)
            .collect();
        let revoked: Vec<Credential> =
            alive.into_iter().filter_map(|session| register.revoke(session).cloned()).collect();
        self.stored.put_credentials(&revoked.iter().collect::<Vec<_>>(), &[])
    }

    /// Gives a running session to another user, who gets a secret for it; the old one no longer
    /// opens it. Blocks.
    ///
    /// # Errors
    /// When the session does not run or the user's name does not fit.
    pub fn transfer(&self, id: SessionId, to: &str) -> Result<Issued, DesktopsError> {
        let unknown = || DesktopsError::NoSuch("connection", id.to_string());
        let session = self.session(id).ok_or_else(unknown)?;
        let random = random_secret()?;
        let (credential, secret) = {
            let mut register = lock(&self.register);
            let (credential, secret) = register.hand_over(id, to, &random)?.ok_or_else(unknown)?;
            let credential = credential.clone();
            self.stored.put_credentials(&[&credential], &[])?;
            (credential, secret)
        };
        session.transfer(to);
        if session.ending() == Some(Ending::Operator) {
            return Err(unknown());
        }
        Ok(Issued { view: CredentialView::new(&credential, now_us()), secret: secret.reveal() })
    }

    /// Lets somebody watch a running session with an RDP client, once. Blocks not.
    ///
    /// # Errors
    /// When the session does not run, or too many secrets for it wait to be used.
    pub fn invite_observer(
        &self,
        id: SessionId,
        user: &str,
        life_us: u64,
    ) -> Result<Zeroizing<String>, DesktopsError> {
        let session =
            self.session(id).ok_or_else(|| DesktopsError::NoSuch("connection", id.to_string()))?;
        let secret = Secret::from_random(&*random_secret()?);
        if !session.expect_observer(user, secret.hash(), now_us().saturating_add(life_us)) {
            let message = "too many observers of this session are expected already".to_owned();
            return Err(DesktopsError::Field { field: "user", message });
        }
        Ok(secret.reveal())
    }
}
