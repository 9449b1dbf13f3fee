//! Wallets at rest: keys that sign, addresses that are only watched, and the way back when the
//! machine is lost.
//!
//! Pure parts take bytes, time and randomness: [`seal`] is the encrypted envelope, [`record`] what
//! stands in it, [`backup`] all wallets in one envelope, [`sheet`] the page to print. The disk is
//! met in [`mod@file`] and [`directory`] only.
//!
//! A directory has one `keyring`, which holds a random key sealed under a passphrase or a key from
//! a systemd credential, and one file per wallet, sealed under that random key. A new passphrase so
//! rewrites one small file, and names and addresses are as authenticated as the secrets.
//!
//! Whoever can write the directory can put an older file back or take one away: contents are
//! protected, history is not.

pub mod backup;
pub mod directory;
pub mod file;
pub mod random;
pub mod record;
pub mod seal;
pub mod sheet;

#[cfg(test)]
mod tests;

pub use directory::{Keyring, Listing, WalletError, Wallets};
pub use random::{OsRandom, Random};
pub use record::{Kind, Name, Secret, Wallet, WalletId, WordCount};
pub use seal::{Cost, Unlock};
