//! Opens the data directory and turns its refusals into exit codes and words for the operator.

use std::path::Path;

use lucid_store::{DataDir, OpenReport, Options, StoreError};

use crate::exit::{Exit, Failure};

/// Opens the directory; what had to be put aside is logged.
///
/// # Errors
/// With the exit code that names the cause.
pub fn open(path: &Path) -> Result<DataDir, Failure> {
    open_with_report(path).map(|(data_dir, _)| data_dir)
}

/// As [`open`], with what had to be put aside.
///
/// # Errors
/// With the exit code that names the cause.
pub fn open_with_report(path: &Path) -> Result<(DataDir, OpenReport), Failure> {
    let options = Options { chain_check: Some(lucid_chain_node::holds_mark), ..Options::default() };
    let (data_dir, report) = DataDir::open(path, options).map_err(refusal)?;
    if report.created {
        tracing::info!(path = %path.display(), "made a new data directory");
    }
    for damaged in &report.quarantined {
        tracing::error!(
            name = damaged.name,
            aside = %damaged.path.display(),
            reason = damaged.reason,
            "a database is damaged; its bytes are put aside"
        );
    }
    Ok((data_dir, report))
}

/// Opens a directory that is one already: a mistyped path must not become a new one.
///
/// # Errors
/// As [`open`], and when there is no data directory.
pub fn open_existing(path: &Path) -> Result<DataDir, Failure> {
    open_existing_with_report(path).map(|(data_dir, _)| data_dir)
}

/// As [`open_existing`], with what had to be put aside.
///
/// # Errors
/// As [`open_existing`].
pub fn open_existing_with_report(path: &Path) -> Result<(DataDir, OpenReport), Failure> {
    match DataDir::is_at(path) {
        Ok(true) => open_with_report(path),
        Ok(false) => {
            let error = anyhow::anyhow!(
                "{} is no data directory: it has no file `version`; is the path right?",
                path.display()
            );
            Err(Failure::new(Exit::DataDirUnusable, error))
        }
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: StoreError) -> Failure {
    let exit = match &error {
        StoreError::InUse { .. } => Exit::DataDirLocked,
        StoreError::VersionNewer { .. } => Exit::DataDirNewer,
        _ => Exit::DataDirUnusable,
    };
    Failure::new(exit, error)
}
