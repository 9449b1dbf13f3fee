//! The claim: how a device without an owner gets its first administrator, exactly once.
//!
//! At every start without an owner a new code is made, printed and kept as a hash. A marker file
//! beside the keys says that the device has an owner even when the index with the accounts is
//! lost; then nobody can claim it over the network until the owner resets the claim at the device
//! (`lucid reset-claim`, or the button held for ten seconds).

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::code::ClaimCode;
use super::records::{self, ClaimRecordState, UserRecord};
use super::{Auth, AuthError, Identity, Purpose, Role, Token, blocking};
use crate::keyfile;

/// The marker's name in the directory of keys.
pub const MARKER_FILE: &str = "claimed";

/// Whether the device has an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Nobody yet; a code is out.
    Open,
    /// Somebody.
    Claimed,
    /// The records cannot be trusted; nobody can claim it over the network.
    Closed(String),
}

impl Auth {
    /// Whether the device has an owner.
    pub fn claim_state(&self) -> ClaimState {
        match self.read_claim() {
            Ok((state, _)) => state,
            Err(error) => ClaimState::Closed(error.to_string()),
        }
    }

    /// Makes a new code if the device has no owner, and keeps its hash; older codes are void.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn renew_code(&self) -> Result<(ClaimState, Option<ClaimCode>), AuthError> {
        let _alone = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.claim_state();
        if state != ClaimState::Open {
            return Ok((state, None));
        }
        let code = ClaimCode::random()?;
        self.records.open_claim(code.hash().to_hex().to_string())?;
        Ok((state, Some(code)))
    }

    /// Takes the claim: makes the first administrator and signs them in.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`], [`AuthError::AlreadyClaimed`] and the rest; a wrong code changes
    /// nothing but the count of tries.
    pub async fn take_claim(
        self: &Arc<Self>,
        address: IpAddr,
        code: &str,
        username: &str,
        password: String,
    ) -> Result<(Token, Identity), AuthError> {
        self.attempt(Purpose::Claim, address, None)?;
        let code = ClaimCode::typed(code);
        self.check_code(code.as_ref())?;
        let username = records::canonical(username);
        records::check_username(&username)?;
        let password_hash = self.hasher.hash(password).await?;
        let auth = Arc::clone(self);
        blocking(move || {
            let _alone = auth.claim.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have been faster while the password was hashed.
            auth.check_code(code.as_ref())?;
            let now = crate::http::time::now_us();
            let user = UserRecord::new(&username, Role::Admin, password_hash, now);
            // The marker first: a crash in between leaves a device that nobody can claim over the
            // network, not one that two people can.
            keyfile::write(&auth.marker, b"v1\n")
                .map_err(|source| AuthError::Marker { path: auth.marker.clone(), source })?;
            auth.records.take_claim(&user)?;
            auth.records.append_audit(&username, "device.claim", &address.to_string())?;
            auth.succeeded(Purpose::Claim, address, None);
            auth.open_session(&username, Role::Admin)
        })
        .await
    }

    /// Forgets the owner: accounts and sessions are deleted, recordings stay. The next start, or
    /// [`Self::renew_code`], gives a new code.
    ///
    /// # Errors
    /// When the index or the marker cannot be written.
    pub fn release_claim(&self, actor: &str) -> Result<(), AuthError> {
        let _alone = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        self.records.append_audit(actor, "device.release", "claim")?;
        self.records.forget_owner()?;
        match std::fs::remove_file(&self.marker) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(AuthError::Marker { path: self.marker.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn check_code(&self, typed: Option<&ClaimCode>) -> Result<(), AuthError> {
        let (state, hash) = self.read_claim()?;
        match state {
            ClaimState::Claimed => return Err(AuthError::AlreadyClaimed),
            ClaimState::Closed(reason) => return Err(AuthError::ClaimClosed(reason)),
            ClaimState::Open => {}
        }
        // Comparing two `blake3::Hash` takes the same time wherever they differ.
        let right = hash.zip(typed).is_some_and(|(hash, typed)| hash == typed.hash());
        if right { Ok(()) } else { Err(AuthError::WrongCode) }
    }

    fn read_claim(&self) -> Result<(ClaimState, Option<blake3::Hash>), AuthError> {
        let closed = |reason: &str| Ok((ClaimState::Closed(reason.to_owned()), None));
        let marked = self
            .marker
            .try_exists()
            .map_err(|source| AuthError::Marker { path: self.marker.clone(), source })?;
        let any_user = self.records.any_user()?;
        match self.records.claim()?.map(|record| record.state) {
            Some(ClaimRecordState::Claimed { .. }) if any_user => Ok((ClaimState::Claimed, None)),
            Some(ClaimRecordState::Claimed { .. }) => closed("claimed, but the accounts are lost"),
            _ if marked => closed("claimed, but the record of the claim is lost"),
            _ if any_user => closed("there are accounts, but no record of the claim"),
            None => Ok((ClaimState::Open, None)),
            Some(ClaimRecordState::Open { code_hash }) => match blake3::Hash::from_hex(code_hash) {
                Ok(hash) => Ok((ClaimState::Open, Some(hash))),
                Err(_) => closed("the record of the claim is damaged"),
            },
        }
    }
}
