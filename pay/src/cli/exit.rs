//! The exit codes of every `lucid-pay` command: a contract with scripts and units, listed in
//! `docs/payments.md`. Codes from 64 up follow `sysexits.h`.

use std::process::ExitCode;

use lucid_pay::client::{BuildError, EndpointError};
use lucid_pay::config::SettingsError;
use lucid_pay::journal::{JournalError, OpenFileError};
use lucid_pay::process::data_dir::DataDirError;
use lucid_pay::process::secret::SecretError;
use lucid_pay::wallet::{WalletError, seal::SealError};
use lucid_pay_api::ClientError;

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Success = 0,
    /// It failed for a reason none of the other codes names.
    Failure = 1,
    /// What was asked is refused by a rule or a state: nothing was done.
    Refused = 20,
    /// Wrong use: unknown command or option, missing argument.
    Usage = 64,
    /// An address, amount, name, word or file is not what it should be.
    Data = 65,
    /// There is no such wallet, payout or batch.
    Missing = 66,
    /// The payment process or every node does not answer.
    Unavailable = 69,
    /// The data directory cannot be made, read or written.
    DataDir = 73,
    /// The journal is damaged, incomplete or cannot be written. Nothing is paid.
    Journal = 74,
    /// Another process holds the wallets or the journal.
    Locked = 75,
    /// Wrong passphrase or key, or a user who may not.
    NotAllowed = 77,
    /// The configuration is not valid.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn of_wallet(error: &WalletError) -> Exit {
    match error {
        WalletError::Busy(_) => Exit::Locked,
        WalletError::Missing(_) | WalletError::Unknown(_) => Exit::Missing,
        WalletError::Record(_) => Exit::Data,
        WalletError::File(_) | WalletError::Directory { .. } => Exit::DataDir,
        WalletError::Sealed { source, .. } | WalletError::Seal(source) => of_seal(source),
        WalletError::Backup(lucid_pay::wallet::backup::BackupError::Seal(source)) => {
            of_seal(source)
        }
        WalletError::Backup(_) | WalletError::Contents { .. } => Exit::Data,
        _ => Exit::Refused,
    }
}

fn of_seal(error: &SealError) -> Exit {
    match error {
        SealError::WrongPassphrase
        | SealError::WrongKey
        | SealError::WantsKey
        | SealError::WantsPassphrase => Exit::NotAllowed,
        _ => Exit::Data,
    }
}

fn of_client(error: &ClientError) -> Exit {
    match error {
        ClientError::NotAllowed { .. } => Exit::NotAllowed,
        ClientError::Refused(problem) => match problem.status {
            403 => Exit::NotAllowed,
            404 => Exit::Missing,
            409 => Exit::Refused,
            400 | 413 | 422 => match problem.code.as_str() {
                "invalid-address" | "invalid-amount" | "invalid-body" | "invalid-text"
                | "invalid-proposal" | "invalid-signature" => Exit::Data,
                _ => Exit::Refused,
            },
            503 if problem.code == "journal" => Exit::Journal,
            429 | 503 | 504 => Exit::Unavailable,
            _ => Exit::Failure,
        },
        ClientError::Request(_) | ClientError::Unreadable { .. } => Exit::Failure,
        _ => Exit::Unavailable,
    }
}

/// The code that names the first known cause.
pub fn code(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(exit) = cause.downcast_ref::<Coded>() {
            return exit.0;
        } else if cause.is::<SettingsError>() || cause.is::<EndpointError>() {
            return Exit::Config;
        } else if let Some(error) = cause.downcast_ref::<WalletError>() {
            return of_wallet(error);
        } else if let Some(error) = cause.downcast_ref::<ClientError>() {
            return of_client(error);
        } else if cause.is::<DataDirError>() {
            return Exit::DataDir;
        } else if let Some(error) = cause.downcast_ref::<OpenFileError>() {
            return match error {
                OpenFileError::InUse(_) => Exit::Locked,
                OpenFileError::Io { .. } => Exit::DataDir,
            };
        } else if cause.is::<JournalError>() {
            return Exit::Journal;
        } else if cause.is::<SecretError>() {
            return Exit::NotAllowed;
        } else if cause.is::<BuildError>() {
            return Exit::Config;
        }
    }
    Exit::Failure
}

/// A message with its code, where no type says it.
#[derive(Debug)]
pub struct Coded(pub Exit, pub String);

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Coded {}

/// An error with a code of its own.
pub fn coded(exit: Exit, text: impl Into<String>) -> anyhow::Error {
    Coded(exit, text.into()).into()
}
