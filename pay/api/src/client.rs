//! The client: one connection per request on the payment process's socket.

use crate::{Problem, REQUEST_TIMEOUT};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Longest answer read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: the process is not installed, not started, or just restarting.
    #[error("the payment process does not answer on {path}")]
    Down {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The socket is there and this user may not open it.
    #[error("this user may not open {path}; add it to the socket's group")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No answer in time. Asking again with the same idempotency key is safe.
    #[error("the payment process took longer than {} s", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the connection to the payment process broke")]
    Broke(#[source] hyper::Error),
    /// The answer is longer than [`ANSWER_BYTES_MAX`].
    #[error("the answer of the payment process is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The answer is not what this version expects.
    #[error("the payment process answered {what} in a form this version does not know")]
    Unreadable {
        /// The route.
        what: String,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
    /// A path or header could not be built, which is a mistake in this program.
    #[error("the request could not be written")]
    Request(#[source] hyper::http::Error),
    /// The process answered with a problem.
    #[error(transparent)]
    Refused(#[from] Problem),
}

/// A client of the payment process. Cheap to clone; holds no connection.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
    limit: Duration,
}

impl Client {
    /// A client of the socket at `path`, with the limit [`REQUEST_TIMEOUT`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), limit: REQUEST_TIMEOUT }
    }

    /// The same with another limit, for those who cannot wait.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// GET of `route` read as `T`.
    pub async fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, ClientError> {
        read(route, &self.send(Method::GET, route, Bytes::new()).await?.1)
    }

    /// GET of `route` as it is, with its media type.
    pub async fn get_raw(&self, route: &str) -> Result<(String, Bytes), ClientError> {
        self.send(Method::GET, route, Bytes::new()).await
    }

    /// POST of `body` to `route`, the answer read as `T`.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.with_body(Method::POST, route, body).await
    }

    /// PATCH of `body` to `route`, the answer read as `T`.
    pub async fn patch<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        route: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.with_body(Method::PATCH, route, body).await
    }

    async fn with_body<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|source| ClientError::Unreadable { what: route.to_owned(), source })?;
        read(route, &self.send(method, route, body.into()).await?.1)
    }

    async fn send(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<(String, Bytes), ClientError> {
        let exchange = self.exchange(method, route, body);
        tokio::time::timeout(self.limit, exchange)
            .await
            .map_err(|_| ClientError::TimedOut { limit: self.limit })?
    }

    async fn exchange(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<(String, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| {
            let path = self.path.clone();
            match source.kind() {
                std::io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
                _ => ClientError::Down { path, source },
            }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Broke)?;
        let request = Request::builder()
            .method(method)
            .uri(route)
            .header(header::HOST, "lucid-pay")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(ClientError::Request)?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let answer = sender.send_request(request).await.map_err(ClientError::Broke)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
                match error.downcast::<hyper::Error>() {
                    Ok(error) => ClientError::Broke(*error),
                    Err(error) => {
                        debug_assert!(error.is::<LengthLimitError>());
                        ClientError::TooLong
                    }
                }
            })?;
            Ok::<_, ClientError>((head, body.to_bytes()))
        }
        .await;
        driver.abort();
        let (head, body) = answer?;
        if !head.status.is_success() {
            return Err(ClientError::Refused(problem(head.status, &body)));
        }
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok((kind.unwrap_or("application/octet-stream").to_owned(), body))
    }
}

fn read<T: DeserializeOwned>(route: &str, body: &[u8]) -> Result<T, ClientError> {
    let what = route.split('?').next().unwrap_or_default().to_owned();
    serde_json::from_slice(body).map_err(|source| ClientError::Unreadable { what, source })
}

/// The problem in an answer; one of our own if there is none.
fn problem(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let detail = format!("the payment process answered {status} without a reason");
        Problem::new(status.as_u16(), "unexplained", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    /// Answers one request with the given bytes and gives back what was asked.
    async fn once(listener: UnixListener, answer: String) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked.truncate(length);
        String::from_utf8(asked).unwrap()
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_answer_is_read_and_a_problem_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pay.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let peer = tokio::spawn(once(listener, http("200 OK", "[1,2]")));
        let client = Client::new(&path);
        assert_eq!(client.get::<Vec<u64>>("/v1/wallets").await.unwrap(), [1, 2]);
        assert!(peer.await.unwrap().starts_with("GET /v1/wallets HTTP/1.1\r\n"));

        std::fs::remove_file(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let body = serde_json::to_string(&Problem::new(409, "key-reused", "other amount")).unwrap();
        let peer = tokio::spawn(once(listener, http("409 Conflict", &body)));
        let error = client.post::<_, u64>("/v1/payouts", &1).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(Problem { status: 409, .. })), "{error:?}");
        assert!(peer.await.unwrap().ends_with("\r\n\r\n1"));
    }

    #[tokio::test]
    async fn nobody_and_silence_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pay.sock");
        let client = Client::new(&path).within(Duration::from_millis(50));
        let error = client.get::<u64>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::Down { .. }), "{error:?}");
        let _silent = UnixListener::bind(&path).unwrap();
        let error = client.get::<u64>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    }
}
