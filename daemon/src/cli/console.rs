//! Asks the running daemon, on the socket in its data directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::http::local;

/// Longest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest an answer may take: ending a session waits for its disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The daemon of a data directory.
pub struct Console {
    socket: PathBuf,
}

impl Console {
    /// The one of this directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { socket: local::path(data_dir) }
    }

    /// Asks and reads JSON; `Null` where the answer is empty.
    ///
    /// # Errors
    /// When nobody answers, or with the words of the problem that was answered.
    pub fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let bytes = self.fetch(method, path, body)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("the daemon's answer is not JSON")
    }

    /// Asks and reads bytes.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn fetch(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let exchange = self.exchange(method, path, body);
            let answered = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
            answered.unwrap_or_else(|_| anyhow::bail!("the daemon did not answer in time"))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket).await.with_context(|| {
            format!(
                "no daemon answers on {}; is `lucid serve` running with this data directory, and \
                 are you its user or root?",
                self.socket.display()
            )
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, crate::config::host_name())
            .header(header::CONNECTION, "close");
        if !bytes.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(bytes)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let bytes = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        let bytes = bytes.to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
        let mut words = vec![text(&problem, "title"), text(&problem, "detail")];
        for error in problem["errors"].as_array().into_iter().flatten() {
            words.push(format!("{}: {}", text(error, "field"), text(error, "message")));
        }
        words.retain(|word| !word.is_empty() && word != "see `errors`");
        match words.is_empty() {
            true => anyhow::bail!("the daemon answered {status}"),
            false => anyhow::bail!("{}", words.join(": ")),
        }
    }
}

/// One part of a path, everything odd escaped.
pub fn part(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_stays_one() {
        assert_eq!(part("dsk-abc_1.2"), "dsk-abc_1.2");
        assert_eq!(part("../a b?c"), "..%2Fa%20b%3Fc");
    }

    #[test]
    fn nobody_there_is_said_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = Console::of(directory.path()).ask(Method::GET, "/device", None).unwrap_err();
        assert!(error.to_string().contains("lucid serve"), "{error}");
    }
}
