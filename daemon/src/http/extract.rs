//! Extractors whose rejections are problem documents.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;

use super::problem::{Kind, Problem};

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct JsonBody<T>(pub T);

/// Query parameters.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Parameters of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match (&rejection, rejection.status()) {
            (_, StatusCode::PAYLOAD_TOO_LARGE) => Kind::BodyTooLarge,
            (JsonRejection::JsonDataError(_), _) => Kind::InvalidBody,
            (JsonRejection::JsonSyntaxError(_), _) => Kind::MalformedJson,
            (JsonRejection::MissingJsonContentType(_), _) => Kind::UnsupportedMediaType,
            _ => Kind::BadRequest,
        };
        let detail = match kind {
            Kind::UnsupportedMediaType => "send `Content-Type: application/json`".into(),
            // The parser's text names the place; it quotes field names and never whole values,
            // except for wrong types, where it quotes the value: a password of another type than
            // string must not come back, so what follows the place is all that is kept.
            Kind::InvalidBody | Kind::MalformedJson => without_values(&rejection.body_text()),
            _ => rejection.body_text(),
        };
        Self::new(kind, detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::InvalidQuery, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::new(Kind::NotFound, "the id in the path is not one")
    }
}

/// Takes quoted and bare values out of a JSON parser's message.
fn without_values(text: &str) -> String {
    match text.split_once("invalid type: ") {
        None => text.to_owned(),
        Some((before, after)) => {
            let expected = after.split_once(", expected ").map_or("", |(_, expected)| expected);
            format!("{before}wrong type, expected {expected}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_wrong_type_does_not_come_back() {
        let text = "password: invalid type: integer `1234567890`, expected a string at line 1";
        assert_eq!(without_values(text), "password: wrong type, expected a string at line 1");
        assert_eq!(without_values("missing field `code`"), "missing field `code`");
    }
}
