//! Problem documents (RFC 9457): the one form of every error the API gives.
//!
//! The `type` is `urn:lucid:problem:<slug>`. Slugs are a contract: they never change their meaning
//! and each stands in `docs/api.md`, which a test holds to this table.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        /// Every kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All kinds.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable last part of the type.
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The HTTP status it comes with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same short text for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// No such path or object.
    NotFound = "not-found", NOT_FOUND, "There is no such thing here";
    /// The path exists, this method does not.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method does not fit here";
    /// A sign-in is needed.
    SignInNeeded = "sign-in-needed", UNAUTHORIZED, "Sign in first";
    /// Unknown user or wrong password; which of the two is not said.
    WrongCredentials = "wrong-credentials", UNAUTHORIZED, "The user name or the password is wrong";
    /// Plain HTTP from elsewhere, without HTTPS to go to, or a right the role has not.
    NotAllowed = "not-allowed", FORBIDDEN, "That is not allowed here";
    /// A write from another site with this site's cookie.
    CrossSite = "cross-site", FORBIDDEN, "The request comes from another site";
    /// The claim code does not match.
    WrongClaimCode = "wrong-claim-code", FORBIDDEN, "The claim code is wrong";
    /// Somebody has claimed the device.
    AlreadyClaimed = "already-claimed", CONFLICT, "The device has been claimed";
    /// The claim record cannot be trusted; nobody can claim the device over the network.
    ClaimClosed = "claim-closed", SERVICE_UNAVAILABLE, "The device cannot be claimed now";
    /// The body is not JSON.
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not valid JSON";
    /// The request could not be read to its end.
    BadRequest = "bad-request", BAD_REQUEST, "The request cannot be read";
    /// The body is JSON of another shape, or a field has an unfit value.
    InvalidBody = "invalid-body", UNPROCESSABLE_ENTITY, "A field of the body does not fit";
    /// A query parameter does not fit.
    InvalidQuery = "invalid-query", UNPROCESSABLE_ENTITY, "A query parameter does not fit";
    /// The source records already.
    AlreadyRecording = "already-recording", CONFLICT, "The source is recording already";
    /// The session does not record.
    NotRecording = "not-recording", CONFLICT, "The session is not recording";
    /// It records still, or is not finished yet.
    StillRecording = "still-recording", CONFLICT, "The session is still recording";
    /// A legal hold keeps it.
    OnHold = "on-hold", CONFLICT, "The session is on legal hold";
    /// Its keys are destroyed.
    SessionDeleted = "session-deleted", GONE, "The session was deleted";
    /// What is stored is not what was stored.
    Damaged = "damaged", INTERNAL_SERVER_ERROR, "What is stored is damaged";
    /// The disk has no room that may be used.
    NoRoom = "no-room", INSUFFICIENT_STORAGE, "There is no room on the disk";
    /// As many exports as are kept.
    TooManyExports = "too-many-exports", CONFLICT, "Too many exports are kept";
    /// No byte that was asked for is in the file.
    RangeOutside = "range-not-satisfiable", RANGE_NOT_SATISFIABLE, "The range is outside the file";
    /// The export is not done.
    ExportNotDone = "export-not-done", CONFLICT, "The export cannot be downloaded yet";
    /// As many sources as a device can have.
    TooManySources = "too-many-sources", CONFLICT, "The device has all the sources it can have";
    /// The body is larger than this path takes.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not of the media type this path takes.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE,
        "The media type is not taken here";
    /// Requests came faster than allowed.
    TooManyRequests = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests";
    /// All places for event listeners are taken.
    TooManyListeners = "too-many-listeners", SERVICE_UNAVAILABLE, "Too many event listeners";
    /// The part that would do this is fully used.
    Busy = "busy", SERVICE_UNAVAILABLE, "Too much to do at once";
    /// The answer took longer than a request may.
    Timeout = "timeout", SERVICE_UNAVAILABLE, "The answer took too long";
    /// The configuration names no payment process.
    PaymentsOff = "payments-off", SERVICE_UNAVAILABLE, "Payments are off";
    /// The payment process does not answer.
    PaymentsDown = "payments-down", SERVICE_UNAVAILABLE, "The payment process does not answer";
    /// The payment process says no.
    PaymentRefused = "payment-refused", CONFLICT, "The payment process refuses that";
    /// Desktops are off, or the machine has not what they need.
    DesktopsOff = "desktops-off", SERVICE_UNAVAILABLE, "Desktops are off";
    /// As many desktops as a device can have, or no port for another.
    TooManyDesktops = "too-many-desktops", CONFLICT, "The device has all the desktops it can have";
    /// Another desktop has this name.
    NameTaken = "name-taken", CONFLICT, "The name is taken";
    /// The desktop does not run.
    DesktopNotRunning = "desktop-not-running", CONFLICT, "The desktop does not run";
    /// The desktop could not be started.
    DesktopFailed = "desktop-failed", SERVICE_UNAVAILABLE, "The desktop cannot be started";
    /// As many credentials as are kept.
    TooManyCredentials = "too-many-credentials", CONFLICT, "Too many credentials are alive";
    /// The request was answered, or is too old.
    AlreadyAnswered = "already-answered", CONFLICT, "The request was answered already";
    /// The machine has not what this needs.
    NotPossibleHere = "not-possible-here", CONFLICT, "That is not possible on this machine";
    /// This system is not updated this way, or updates do not run.
    UpdatesOff = "updates-off", CONFLICT, "This device is not updated here";
    /// One at a time.
    UpdateUnderWay = "update-under-way", CONFLICT, "Another update is under way";
    /// There is none, or it cannot be called off any more.
    NoUpdate = "no-update", CONFLICT, "There is no update to do this with";
    /// A fault of the device, written to its log.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The device failed to answer";
}

/// One field that does not fit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name, dotted when nested.
    pub field: String,
    /// What would be right.
    pub message: String,
}

/// The document as sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `urn:lucid:problem:<slug>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same short text for every occurrence.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Fields that do not fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// A problem about to be sent.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
    close: bool,
}

impl Problem {
    /// A problem with what happened this time: lower-case words for a person, no secrets.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after_s: None, close: false }
    }

    /// A field of the body that does not fit.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidBody, "see `errors`").with_field(field, message)
    }

    /// Names a further field.
    pub fn with_field(mut self, field: &str, message: impl Into<String>) -> Self {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    /// Says after how many seconds to try again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Closes the connection after the answer.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// A fault of ours: the cause goes to the log, not to the caller.
    pub fn internal(doing: &str, cause: impl std::fmt::Display) -> Self {
        tracing::error!(doing, %cause, "request failed");
        Self::new(Kind::Internal, format!("{doing} failed; the device's log says why"))
    }

    /// Nothing of this kind has this id.
    pub fn no_such(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} `{id}`"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let document = ProblemDocument {
            kind: format!("urn:lucid:problem:{}", self.kind.slug()),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slug_is_its_own_and_stands_in_the_documentation() {
        let documentation = include_str!("../../../docs/api.md");
        let mut seen = std::collections::HashSet::new();
        for kind in Kind::ALL {
            assert!(seen.insert(kind.slug()), "{} twice", kind.slug());
            let row = format!("| `{}` | {} |", kind.slug(), kind.status().as_u16());
            assert!(documentation.contains(&row), "docs/api.md has no row {row}");
        }
    }
}
