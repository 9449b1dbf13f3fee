//! The way to the payment process: its socket, and nothing of what is behind it.
//!
//! Payments that are off, and a payment process that does not answer, are states: they are shown,
//! and nothing else of the daemon depends on them.

use std::path::Path;
use std::time::Duration;

use lucid_pay_api::{Client, ClientError, Status, route};
use serde::Serialize;
use utoipa::ToSchema;

/// How long the state may take to be told. The page asks for it often.
const STATUS_WITHIN: Duration = Duration::from_secs(5);

/// The payment process, if there shall be one.
#[derive(Clone, Debug)]
pub struct Payments {
    client: Option<Client>,
}

/// Whether payments are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The configuration names no socket.
    Off,
    /// Nobody answers on the socket.
    Down,
    /// The payment process answers.
    Up,
}

/// The state of payments as the page shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PaymentsView {
    /// Whether payments are here.
    pub presence: Presence,
    /// What that means and what to do, in a sentence.
    pub detail: String,
    /// What the payment process says of itself; null unless it answers.
    pub status: Option<Status>,
}

impl Payments {
    /// The process behind `socket`; `None` is off.
    pub fn new(socket: Option<&Path>) -> Self {
        Self { client: socket.map(Client::new) }
    }

    /// The client; `None` if payments are off.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// How payments are, without ever failing.
    pub async fn view(&self) -> PaymentsView {
        let Some(client) = &self.client else {
            let detail = "payments are off; `payments.socket` turns them on".to_owned();
            return PaymentsView { presence: Presence::Off, detail, status: None };
        };
        match client.clone().within(STATUS_WITHIN).get::<Status>(route::STATUS).await {
            Ok(status) => {
                let detail = status.trouble.clone();
                let detail = detail.unwrap_or_else(|| "payments move".to_owned());
                PaymentsView { presence: Presence::Up, detail, status: Some(status) }
            }
            // Whatever it is, recordings go on: it is told and not raised.
            Err(error @ ClientError::Refused(_)) => {
                PaymentsView { presence: Presence::Up, detail: error.to_string(), status: None }
            }
            Err(error) => {
                PaymentsView { presence: Presence::Down, detail: error.to_string(), status: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn off_and_down_are_states_with_a_sentence() {
        let off = Payments::new(None).view().await;
        assert_eq!(off.presence, Presence::Off);
        assert!(off.detail.contains("payments.socket"), "{}", off.detail);
        let dir = tempfile::tempdir().unwrap();
        let down = Payments::new(Some(&dir.path().join("pay.sock"))).view().await;
        assert_eq!((down.presence, down.status.is_none()), (Presence::Down, true));
        assert!(down.detail.contains("pay.sock"), "{}", down.detail);
    }
}
