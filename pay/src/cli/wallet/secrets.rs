//! What takes secrets out of the directory or brings them in: words, sheets, backups.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use lucid_pay::process::secret::{self, line_of};
use lucid_pay::tron::hex;
use lucid_pay::wallet::{Cost, OsRandom, Secret, Unlock, WalletError, file, sheet as paper};
use serde_json::json;
use zeroize::Zeroizing;

use super::{find, open};
use crate::cli::exit::{Exit, coded};
use crate::cli::{Context, output};

/// Recovery words or key.
pub(super) fn export(context: &Context, wallet: &str, path: Option<&Path>) -> anyhow::Result<Exit> {
    let (wallets, unlock) = open(context, false)?;
    let id = find(&wallets, wallet)?.id;
    let secret = wallets.export(id, &again(context, unlock)?)?;
    let text = match &secret {
        Secret::Words { phrase, .. } => Zeroizing::new(format!("{}\n", **phrase)),
        Secret::Key(key) => Zeroizing::new(format!("{}\n", hex::encode(&key.to_bytes()[..]))),
        _ => return Err(coded(Exit::Refused, "there is nothing to export")),
    };
    match path {
        Some(path) => {
            write(path, text.as_bytes())?;
            output::line(format!("written to {}", path.display()))?;
        }
        None => output::print(&text)?,
    }
    Ok(Exit::Success)
}

/// The page to print.
pub(super) fn sheet(context: &Context, wallet: &str, path: &Path) -> anyhow::Result<Exit> {
    let (wallets, unlock) = open(context, false)?;
    let wallet = find(&wallets, wallet)?;
    let secret = wallets.export(wallet.id, &again(context, unlock)?)?;
    let page = paper::recovery_sheet(&wallet, &secret)?;
    write(path, page.as_bytes())?;
    output::line(format!(
        "written to {}; print it, lock the paper away, and delete the file",
        path.display()
    ))?;
    Ok(Exit::Success)
}

/// All wallets in one encrypted file.
pub(super) fn backup(
    context: &Context,
    path: &Path,
    passphrase_file: Option<&Path>,
) -> anyhow::Result<Exit> {
    let (wallets, unlock) = open(context, false)?;
    let again = again(context, unlock)?;
    let passphrase = backup_passphrase(passphrase_file, true)?;
    let sealed = wallets.backup(&again, &passphrase, Cost::STANDARD, &mut OsRandom)?;
    write(path, &sealed)?;
    let count = wallets.list()?.wallets.len();
    output::show(context.json, &json!({"wallets": count, "file": path}), || {
        format!("{count} wallets in {}", path.display())
    })?;
    Ok(Exit::Success)
}

/// Takes in the wallets of a backup.
pub(super) fn restore(
    context: &Context,
    backup: &Path,
    passphrase_file: Option<&Path>,
) -> anyhow::Result<Exit> {
    let sealed = fs::read(backup)
        .with_context(|| format!("cannot read {}", backup.display()))
        .map_err(|error| coded(Exit::Missing, format!("{error:#}")))?;
    let passphrase = backup_passphrase(passphrase_file, false)?;
    let (wallets, _) = open(context, true)?;
    let done = wallets.restore(&sealed, &passphrase, &mut OsRandom)?;
    let shown = json!({"added": done.added, "present": done.present});
    output::show(context.json, &shown, || {
        format!("{} wallets added, {} were here already", done.added, done.present)
    })?;
    Ok(Exit::Success)
}

/// The passphrase of a backup, which is not the wallets'.
fn backup_passphrase(file: Option<&Path>, new: bool) -> anyhow::Result<Zeroizing<String>> {
    Ok(match file {
        Some(path) => line_of(path)?,
        None => secret::prompt("passphrase of the backup", new)?,
    })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if path.exists() {
        let text = format!("{} is there already; name another file", path.display());
        return Err(coded(Exit::Refused, text));
    }
    file::write(path, bytes).map_err(WalletError::from)?;
    Ok(())
}

/// The secret once more, from the person if a person gave it: what was unlocked a moment ago may
/// not be theirs to take out.
fn again(context: &Context, unlock: Unlock) -> anyhow::Result<Unlock> {
    let by_hand = context.source.file.is_none()
        && context.source.credentials.is_none()
        && context.source.generated.is_none();
    if !by_hand {
        return Ok(unlock);
    }
    Ok(context.source.unlock("the passphrase again, to take secrets out", false)?)
}
