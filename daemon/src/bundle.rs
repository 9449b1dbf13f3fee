//! Bundles as files: written whole or not at all, and read at any place.

use lucid_capture::archive::Archive;
use lucid_capture::export::{ExportError, ExportSpec, Exported, export};
use lucid_evidence::SessionId;
use lucid_evidence::bundle::ReadAt;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Permissions of a bundle before the umask, as of any new file.
const MODE: u32 = 0o666;

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
    /// Something else is there.
    #[error("{} is there and no regular file; name one that may be replaced", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// The export.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// Exports a session into `path`: into a temporary file beside it, synced and renamed, so that a
/// bundle under its name is always whole. `progress` is told bytes done and bytes in all. Returns
/// what was exported.
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
) -> Result<Exported, BundleFileError> {
    check_place(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let failed = |source| BundleFileError::File { path: path.into(), source };
    // Made anew under a name of its own, so that nothing that is there is written to; removed when
    // this ends early.
    let part = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".part")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(parent)
        .map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, part.as_file());
    let exported = export(archive, id, spec, anchor, &mut out, progress)?;
    out.flush().map_err(failed)?;
    drop(out);
    part.as_file().sync_all().map_err(failed)?;
    check_place(path)?;
    part.persist(path).map_err(|error| failed(error.error))?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(exported)
}

/// Checks that a bundle may stand at `path`: nothing is there, or a file that it replaces. A
/// device, a pipe or a link is not replaced.
///
/// # Errors
/// Says what is there.
pub fn check_place(path: &Path) -> Result<(), BundleFileError> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => Err(BundleFileError::Taken { path: path.into() }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BundleFileError::File { path: path.into(), source })
        }
        _ => Ok(()),
    }
}
