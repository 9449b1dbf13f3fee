//! The endpoints of the claim and of sign-in, and how a request is recognised.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Action, AuthError, ClaimState, Identity, Role, Token};
use crate::first_start::first_source;
use crate::http::extract::JsonBody;
use crate::http::problem::{Kind, Problem, ProblemDocument};
use crate::http::time::{Rfc3339, now_us};
use crate::http::{App, Peer};

/// The cookie that carries a session's token.
pub const COOKIE: &str = "lucid_session";

/// A request of somebody signed in; others are answered with `sign-in-needed`.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Identity);

impl SignedIn {
    /// Checks a right.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn may(&self, action: Action) -> Result<(), Problem> {
        if self.0.role.may(action) {
            return Ok(());
        }
        Err(Problem::new(Kind::NotAllowed, "this needs another role"))
    }
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>().cloned();
        identity.map(Self).ok_or_else(|| {
            Problem::new(Kind::SignInNeeded, "send the session cookie or `Authorization: Bearer`")
        })
    }
}

/// Finds out who sends a request; with the answer comes whether it was the cookie that said so.
pub fn identify(app: &App, headers: &HeaderMap) -> Option<Identity> {
    let token = bearer(headers).or_else(|| {
        let jar = CookieJar::from_headers(headers);
        jar.get(COOKIE).and_then(|cookie| Token::parse(cookie.value()))
    })?;
    app.auth.identify(&token, now_us())
}

fn bearer(headers: &HeaderMap) -> Option<Token> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token::parse(token.trim()))?
}

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_claim, take_claim)).routes(routes!(
        read_session,
        sign_in,
        sign_out
    ))
}

#[derive(Serialize, ToSchema)]
struct ClaimInfo {
    /// Whether somebody owns the device. Also true while the claim is closed.
    claimed: bool,
    /// Hash of the device's public key, to compare with the console.
    device_fingerprint: String,
    /// Hash of the chain's first block, to compare with the console; null before there is one.
    chain_genesis: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClaimRequest {
    /// As printed on the console; case, dashes and spaces do not matter.
    code: String,
    username: String,
    /// 10 to 1024 bytes.
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    username: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
struct User {
    username: String,
    role: Role,
}

#[derive(Serialize, ToSchema)]
struct SessionOpened {
    /// For `Authorization: Bearer`; the same stands in the cookie.
    token: String,
    expires_at: Rfc3339,
    user: User,
}

#[derive(Serialize, ToSchema)]
struct SessionInfo {
    user: User,
    expires_at: Rfc3339,
}

/// Whether the device is claimed, and what to compare before claiming it.
#[utoipa::path(get, path = "/claim", tag = "sign-in", security(()),
    responses((status = 200, body = ClaimInfo)))]
async fn read_claim(State(app): State<App>) -> Json<ClaimInfo> {
    Json(ClaimInfo {
        claimed: app.auth.claim_state() != ClaimState::Open,
        device_fingerprint: app.device.fingerprint(),
        chain_genesis: app.device.chain_genesis(),
    })
}

/// Claim the device with the code on its console and make the first administrator.
#[utoipa::path(post, path = "/claim", tag = "sign-in", security(()), request_body = ClaimRequest,
    responses((status = 201, body = SessionOpened),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, body = ProblemDocument, content_type = "application/problem+json")))]
async fn take_claim(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    JsonBody(request): JsonBody<ClaimRequest>,
) -> Result<impl IntoResponse, Problem> {
    let ClaimRequest { code, username, password } = request;
    let (token, identity) =
        app.auth.take_claim(peer.address.ip(), &code, &username, password).await?;
    tracing::info!(username = identity.username, "the device has been claimed");
    tokio::spawn(first_source(Arc::clone(&app)));
    Ok(opened(token, identity, peer))
}

/// Who is signed in.
#[utoipa::path(get, path = "/session-token", tag = "sign-in",
    responses((status = 200, body = SessionInfo),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read_session(SignedIn(identity): SignedIn) -> Json<SessionInfo> {
    Json(SessionInfo {
        expires_at: Rfc3339::from_us(identity.expires_us),
        user: User { username: identity.username, role: identity.role },
    })
}

/// Sign in.
#[utoipa::path(post, path = "/session-token", tag = "sign-in", security(()),
    request_body = SignInRequest,
    responses((status = 201, body = SessionOpened),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, body = ProblemDocument, content_type = "application/problem+json")))]
async fn sign_in(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    JsonBody(request): JsonBody<SignInRequest>,
) -> Result<impl IntoResponse, Problem> {
    let SignInRequest { username, password } = request;
    let signed_in = app.auth.sign_in(peer.address.ip(), &username, password).await;
    if let Err(AuthError::WrongCredentials) = signed_in {
        tracing::warn!(address = %peer.address.ip(), "sign-in refused");
    }
    let (token, identity) = signed_in?;
    Ok(opened(token, identity, peer))
}

/// Sign out: the session ends for the cookie and the bearer token alike.
#[utoipa::path(delete, path = "/session-token", tag = "sign-in",
    responses((status = 204),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn sign_out(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    SignedIn(identity): SignedIn,
) -> Result<impl IntoResponse, Problem> {
    app.auth.sign_out(identity.session).await?;
    let mut gone = cookie(String::new(), peer);
    gone.make_removal();
    Ok((StatusCode::NO_CONTENT, CookieJar::new().add(gone)))
}

fn opened(token: Token, identity: Identity, peer: Peer) -> impl IntoResponse {
    let expires_at = Rfc3339::from_us(identity.expires_us);
    let lasts_s = identity.expires_us.saturating_sub(now_us()) / 1_000_000;
    let mut cookie = cookie(token.reveal(), peer);
    cookie.set_max_age(Duration::seconds(i64::try_from(lasts_s).unwrap_or(i64::MAX)));
    let user = User { username: identity.username, role: identity.role };
    let body = SessionOpened { token: token.reveal(), expires_at, user };
    (StatusCode::CREATED, CookieJar::new().add(cookie), Json(body))
}

fn cookie(value: String, peer: Peer) -> Cookie<'static> {
    Cookie::build((COOKIE, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(peer.tls)
        .build()
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::WrongCode => Self::new(
                Kind::WrongClaimCode,
                "compare it with the one on the device's console; a restart prints a new one",
            ),
            AuthError::AlreadyClaimed => {
                Self::new(Kind::AlreadyClaimed, "sign in with the account made at the claim")
            }
            AuthError::ClaimClosed(reason) => Self::new(
                Kind::ClaimClosed,
                format!("{reason}; the owner can reset the claim at the device"),
            ),
            AuthError::WrongCredentials => {
                Self::new(Kind::WrongCredentials, "which of the two is wrong is not said")
            }
            AuthError::TooManyTries(wait) => {
                Self::new(Kind::TooManyRequests, "too many tries with wrong words")
                    .retry_after(wait.as_secs() + 1)
            }
            AuthError::Busy => Self::new(Kind::Busy, "too many sign-ins at once").retry_after(2),
            AuthError::Field { field, message } => Self::field(field, message),
            AuthError::Damaged { .. } => {
                tracing::error!(%error, "a record of accounts is damaged");
                Self::new(Kind::ClaimClosed, "the device's records of accounts are damaged")
            }
            AuthError::Store(_)
            | AuthError::Marker { .. }
            | AuthError::Hashing(_)
            | AuthError::Random(_) => {
                use std::error::Error;
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                Self::internal("signing in", format!("{error}: {cause}"))
            }
        }
    }
}
