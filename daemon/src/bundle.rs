//! Bundles as files: written whole or not at all, and read at any place.

use lucid_capture::archive::Archive;
use lucid_capture::export::{ExportError, ExportSpec, export};
use lucid_evidence::SessionId;
use lucid_evidence::bundle::ReadAt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file that can be read at any place.
pub struct BundleFile {
    file: File,
    size: u64,
}

impl BundleFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(BundleFile { file, size: meta.len() })
    }
}

impl ReadAt for BundleFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Why a bundle file was not written.
#[derive(Debug, thiserror::Error)]
pub enum BundleFileError {
    /// The file.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The export.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// Exports a session into `path`: into a temporary file beside it, synced and renamed, so that a
/// bundle under its name is always whole. `progress` is told bytes done and bytes in all. Returns
/// its length, bytes.
///
/// # Errors
/// When the session cannot be exported or the file not written; then nothing is left behind.
pub fn write_file(
    archive: &Archive,
    id: SessionId,
    spec: &ExportSpec,
    anchor: Option<Vec<u8>>,
    path: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<u64, BundleFileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = path.with_file_name(format!(".{name}.part"));
    let failed = |source| BundleFileError::File { path: path.into(), source };
    let result = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&temporary).map_err(failed)?);
        let length = export(archive, id, spec, anchor, &mut out, progress)?;
        out.flush().map_err(failed)?;
        out.get_ref().sync_all().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|d| d.sync_all()).map_err(failed)?;
        Ok(length)
    })();
    if result.is_err() {
        // Already reporting the first error; a leftover part file is hidden and harmless.
        let _ = fs::remove_file(&temporary);
    }
    result
}
