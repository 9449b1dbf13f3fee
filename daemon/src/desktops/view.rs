//! Desktops, credentials, connections and approvals as the API shows them.

use lucid_rdp::credential::{Credential, Use};
use serde::Serialize;
use utoipa::ToSchema;

use super::policy::PolicyBody;
use super::stored::LimitsBody;
use crate::http::time::Rfc3339;

/// How long recordings are kept; null is no limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Kept {
    /// Oldest recording kept, seconds.
    pub max_age_s: Option<u64>,
    /// Bytes kept.
    pub max_bytes: Option<u64>,
}

/// A desktop and how it is doing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Desktop)]
pub struct DesktopView {
    /// Its name in paths.
    pub id: String,
    /// Its name for logins and people.
    pub name: String,
    /// The account that set it up.
    pub owner: String,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The session command; null is the device's default session.
    pub command: Option<String>,
    /// Whether a session command that ends is started again.
    pub restart: bool,
    /// Its own port.
    pub port: u16,
    /// Whether its port is open.
    pub enabled: bool,
    /// `stopped` (its port is closed), `ready` (it starts when somebody comes), `starting`,
    /// `running` or `failed`.
    pub state: &'static str,
    /// Why, where there is something to say.
    pub state_reason: Option<String>,
    /// Whether a picture of it can be had now.
    pub has_picture: bool,
    /// What it may take of the machine; null is the device's own setting.
    pub limits: LimitsBody,
    /// What a credential allows that names no policy.
    pub policy: PolicyBody,
    /// How long its recordings are kept.
    pub retention: Kept,
    /// When it was set up.
    pub created_at: Rfc3339,
    /// The session on it now.
    pub session_id: Option<String>,
}

/// A credential, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DesktopCredential)]
pub struct CredentialView {
    /// The session it opens, which also names it.
    pub session_id: String,
    /// Its desktop.
    pub desktop_id: String,
    /// Whose it is.
    pub user: String,
    /// `unused`, `expired`, `running`, `used` or `revoked`.
    pub state: &'static str,
    /// When it was issued.
    pub issued_at: Rfc3339,
    /// Until when it opens its session.
    pub expires_at: Rfc3339,
    /// The account that issued it.
    pub issued_by: String,
    /// What its session allows.
    pub policy: PolicyBody,
    /// Hash of that, as the chain and the manifest carry it.
    pub policy_hash: String,
}

impl CredentialView {
    /// As it is at a moment.
    pub fn new(credential: &Credential, now_us: u64) -> Self {
        let expired = credential.used == Use::Unused && now_us >= credential.expires_us;
        Self {
            session_id: credential.session.to_string(),
            desktop_id: credential.desktop.clone(),
            user: credential.user.clone(),
            state: if expired { "expired" } else { credential.used.as_str() },
            issued_at: Rfc3339::from_us(credential.issued_us),
            expires_at: Rfc3339::from_us(credential.expires_us),
            issued_by: credential.issued_by.clone(),
            policy: PolicyBody::from(&credential.policy),
            policy_hash: credential.policy.hash().to_string(),
        }
    }
}

/// One client of a session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DesktopClient)]
pub struct ClientView {
    /// Who.
    pub user: String,
    /// From where.
    pub peer: String,
    /// Since when.
    pub since: Rfc3339,
    /// Sees everything, touches nothing.
    pub observer: bool,
}

/// A session on a desktop, as long as it runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub struct ConnectionView {
    /// The session's id.
    pub id: String,
    /// The session, as `sessions` lists it.
    pub session_id: String,
    /// Its desktop.
    pub desktop_id: String,
    /// The desktop's name.
    pub desktop_name: String,
    /// Whose session it is.
    pub owner: Option<String>,
    /// `connecting`, `connected`, `active`, `idle`, `disconnected` or `terminated`.
    pub state: &'static str,
    /// Since when.
    pub state_since: Rfc3339,
    /// When the first client came.
    pub opened_at: Rfc3339,
    /// Why it is over, once it is.
    pub ending: Option<&'static str>,
    /// Whether the worker has accepted that it is recorded.
    pub notice_accepted: bool,
    /// Who is connected.
    pub clients: Vec<ClientView>,
    /// Accounts that watch the live picture on the page.
    pub watchers: Vec<String>,
    /// What is allowed now, grants included.
    pub policy: PolicyBody,
    /// Hash of the policy the session began with.
    pub policy_hash: String,
    /// What operators granted on top of it.
    pub granted: Vec<&'static str>,
    /// Requests that wait for an operator.
    pub approvals_waiting: usize,
    /// Keys that were pressed.
    pub keys: u64,
    /// Requests outside the policy, dropped.
    pub refused: u64,
}

/// A worker's request for something the policy does not allow.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DesktopApproval)]
pub struct ApprovalView {
    /// Its name in paths.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// Its desktop.
    pub desktop_id: String,
    /// The desktop's name.
    pub desktop_name: String,
    /// Who asks.
    pub user: String,
    /// `keyboard`, `mouse`, `clipboard_in`, `clipboard_out`, `files_in`, `files_out`, `audio`,
    /// `resize` or `observers`.
    pub capability: &'static str,
    /// `asked`, `granted`, `denied` or `expired`.
    pub state: &'static str,
    /// When it was asked for.
    pub asked_at: Rfc3339,
    /// Until when it can be answered.
    pub expires_at: Rfc3339,
    /// When it was answered.
    pub answered_at: Option<Rfc3339>,
    /// Who answered.
    pub answered_by: Option<String>,
}
