//! Brings a bundle here, and goes on where the last try broke off.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use sha2::{Digest, Sha256};

use crate::http::reason;

/// Largest bundle taken, bytes.
pub const BUNDLE_BYTES_MAX: u64 = 4 << 30;
/// What stays free beside a bundle, bytes: recording goes on while it comes in.
const KEEP_FREE_BYTES: u64 = 256 << 20;
/// Read at a time when what is here is hashed, bytes.
const READ_BYTES: usize = 256 * 1024;

/// Why a download broke off.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The network; worth another try.
    #[error("{0}")]
    Network(&'static str),
    /// An answer that is no bundle.
    #[error("the server answers {0} for the bundle")]
    Status(StatusCode),
    /// The server begins elsewhere than it was asked to.
    #[error("the server does not go on where the download broke off")]
    Range,
    /// More than was said.
    #[error("the bundle is longer than {0} bytes")]
    TooLong(u64),
    /// The disk has no room.
    #[error(
        "the bundle needs {needed} bytes of the disk, {free} are free beside what is kept free"
    )]
    Full {
        /// What is missing yet.
        needed: u64,
        /// What may be used.
        free: u64,
    },
    /// The file.
    #[error("cannot write the bundle to {}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl DownloadError {
    /// Whether another try makes sense without anybody doing something.
    pub fn again(&self) -> bool {
        match self {
            Self::Network(_) | Self::Range | Self::Full { .. } => true,
            Self::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::TooLong(_) | Self::File { .. } => false,
        }
    }
}

/// What is to be brought.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// From where.
    pub url: &'a str,
    /// What the server wants to see, where it is the one that may.
    pub authorization: Option<&'a HeaderValue>,
    /// Its length; 0 is unknown.
    pub bytes: u64,
}

/// Bytes of a bundle that are here already.
pub fn present(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Downloads into `path`, behind what is there already. `progress` hears how many bytes are here.
/// Gives the SHA-256 of the whole in hexadecimal.
///
/// # Errors
/// [`DownloadError`]; what came stays for the next try.
pub async fn download(
    client: &reqwest::Client,
    wanted: &Wanted<'_>,
    path: &Path,
    progress: impl Fn(u64),
) -> Result<String, DownloadError> {
    let failed = |source| DownloadError::File { path: path.into(), source };
    let most = if wanted.bytes == 0 { BUNDLE_BYTES_MAX } else { wanted.bytes };
    if most > BUNDLE_BYTES_MAX {
        return Err(DownloadError::TooLong(BUNDLE_BYTES_MAX));
    }
    if present(path) > most {
        std::fs::remove_file(path).map_err(failed)?;
    }
    // Hashing what is here, and syncing it, take seconds: beside the threads that answer people.
    let known = path.to_path_buf();
    let (mut hash, mut here) = aside(move || hash_present(&known)).await.map_err(failed)?;
    progress(here);
    if wanted.bytes == 0 || here < wanted.bytes {
        room(path, most.saturating_sub(here).min(wanted.bytes), failed)?;
        let mut headers = HeaderMap::new();
        if let Some(authorization) = wanted.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if here > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={here}-"))
        {
            headers.insert(RANGE, range);
        }
        let asked = client.get(wanted.url).headers(headers).send().await;
        let mut answer = asked.map_err(|error| DownloadError::Network(reason(&error)))?;
        let mut file = match answer.status() {
            StatusCode::PARTIAL_CONTENT if here > 0 => {
                let range =
                    answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if !range.is_some_and(|range| range.starts_with(&format!("bytes {here}-"))) {
                    return Err(DownloadError::Range);
                }
                OpenOptions::new().append(true).open(path).map_err(failed)?
            }
            // All of it, from the beginning.
            StatusCode::OK => {
                (hash, here) = (Sha256::new(), 0);
                File::create(path).map_err(failed)?
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                std::fs::remove_file(path).map_err(failed)?;
                return Err(DownloadError::Range);
            }
            status => return Err(DownloadError::Status(status)),
        };
        loop {
            let part = answer.chunk().await;
            let Some(part) = part.map_err(|error| DownloadError::Network(reason(&error)))? else {
                break;
            };
            here += part.len() as u64;
            if here > most {
                drop(file);
                std::fs::remove_file(path).map_err(failed)?;
                return Err(DownloadError::TooLong(most));
            }
            file.write_all(&part).map_err(failed)?;
            hash.update(&part);
            progress(here);
        }
        aside(move || file.sync_all()).await.map_err(failed)?;
        if here < wanted.bytes {
            return Err(DownloadError::Network("the connection broke off"));
        }
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    File::open(path)?;
    Ok(hex(&hash_present(path)?.0.finalize()))
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn hash_present(path: &Path) -> io::Result<(Sha256, u64)> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((hash, 0)),
        Err(error) => return Err(error),
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hash, bytes));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn room(
    path: &Path,
    needed: u64,
    failed: impl Fn(io::Error) -> DownloadError,
) -> Result<(), DownloadError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(directory).map_err(|error| failed(error.into()))?;
    let free = (disk.f_bavail * disk.f_frsize).saturating_sub(KEEP_FREE_BYTES);
    if needed > free { Err(DownloadError::Full { needed, free }) } else { Ok(()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
