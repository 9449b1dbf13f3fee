//! A failure as the socket and the daemon answer it.

use serde::{Deserialize, Serialize};

/// [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details. `code` is stable and made
/// for programs; `detail` is a sentence for people and names what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{detail}")]
pub struct Problem {
    /// URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its title, the same for all problems of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable word for the kind, such as `payout-limit`.
    pub code: String,
    /// What was wrong here and what would be right.
    pub detail: String,
}

impl Problem {
    /// Media type of the answer.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of the given stable code; the title is made from the code.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let mut title = code.replace('-', " ");
        if let Some(first) = title.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        Self {
            kind: format!("urn:lucid:payments:{code}"),
            title,
            status,
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}
