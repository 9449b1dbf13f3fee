//! Wallets against what happens to files: wrong passphrases, cuts, flipped bytes, swaps, crashes.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::file::{self, FileError};
use super::random::RandomError;
use super::record::{Record, RecordError};
use super::seal::{self, HEADER_BYTES, Purpose, SealError};
use super::sheet::{SheetError, recovery_sheet};
use super::*;
use crate::tron::key::PrivateKey;
use crate::tron::{Address, hex, sha256};

const PASSPHRASE: &str = "correct horse battery";
const PAPER: &str = "another long phrase";
const PHRASE: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                      abandon abandon about";

/// Reproducible randomness: SHA-256 of a counter.
struct Counter(u64);

impl Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&sha256(&self.0.to_be_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

struct Dry;

impl Random for Dry {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

fn unlock() -> Unlock {
    Unlock::passphrase(PASSPHRASE)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn new(path: &Path) -> (Wallets, Counter) {
    let mut random = Counter(0);
    (Wallets::create(path, &unlock(), Cost::TEST, &mut random).unwrap(), random)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A directory with one wallet of each kind: made, imported words, imported key, watched.
fn filled(path: &Path) -> (Wallets, Counter, Vec<Wallet>) {
    let (wallets, mut random) = new(path);
    let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
    let other = Address::from_evm([9; 20]);
    let words = Secret::words(PHRASE, "", 0, 0).unwrap();
    let all = vec![
        wallets.create_wallet(name("Payouts"), WordCount::TwentyFour, 1, &mut random).unwrap(),
        wallets.import(name("Old"), words, 2, &mut random).unwrap(),
        wallets.import(name("Key"), Secret::Key(key), 3, &mut random).unwrap(),
        wallets.watch(name("Cold"), other, 4, &mut random).unwrap(),
    ];
    (wallets, random, all)
}

#[test]
fn an_envelope_opens_with_its_own_secret_only() {
    let mut random = Counter(0);
    for (right, wrong) in [
        (unlock(), Unlock::passphrase("correct horse batterz")),
        (Unlock::key([1; 32]), Unlock::key([2; 32])),
    ] {
        let sealed =
            seal::seal(Purpose::Wallet, &right, Cost::TEST, b"secret", &mut random).unwrap();
        assert_eq!(&**seal::open(Purpose::Wallet, &right, &sealed).unwrap(), b"secret");
        let error = seal::open(Purpose::Wallet, &wrong, &sealed).unwrap_err();
        assert!(matches!(error, SealError::WrongPassphrase | SealError::WrongKey));
        let error = seal::open(Purpose::Backup, &right, &sealed).unwrap_err();
        assert_eq!(error, SealError::Purpose { found: Purpose::Wallet, wanted: Purpose::Backup });
        let again =
            seal::seal(Purpose::Wallet, &right, Cost::TEST, b"secret", &mut random).unwrap();
        assert_ne!(sealed[20..48], again[20..48], "salt and nonce are new each time");
    }
    let by_key = Unlock::key([1; 32]);
    let sealed = seal::seal(Purpose::Wallet, &by_key, Cost::TEST, b"", &mut random).unwrap();
    let error = seal::open(Purpose::Wallet, &unlock(), &sealed).unwrap_err();
    assert_eq!(error, SealError::WantsKey);
    let sealed = seal::seal(Purpose::Wallet, &unlock(), Cost::TEST, b"", &mut random).unwrap();
    let error = seal::open(Purpose::Wallet, &by_key, &sealed).unwrap_err();
    assert_eq!(error, SealError::WantsPassphrase);
}

#[test]
fn every_cut_and_every_flipped_byte_is_refused() {
    let mut random = Counter(0);
    let sealed =
        seal::seal(Purpose::Backup, &unlock(), Cost::TEST, &[5; 100], &mut random).unwrap();
    for cut in 0..sealed.len() {
        let error = seal::open(Purpose::Backup, &unlock(), &sealed[..cut]).unwrap_err();
        match cut {
            0..88 => assert_eq!(error, SealError::Truncated(cut)),
            _ => assert_eq!(error, SealError::Damaged),
        }
    }
    for at in 0..sealed.len() {
        for bit in [1, 0x80] {
            let mut bytes = sealed.clone();
            bytes[at] ^= bit;
            let error = seal::open(Purpose::Backup, &unlock(), &bytes).unwrap_err();
            let wanted = if at < 8 { SealError::Foreign } else { SealError::Damaged };
            assert_eq!(error, wanted, "byte {at}");
            if at >= HEADER_BYTES {
                continue;
            }
            // Whoever changes the header on purpose repairs its digest too.
            let digest = sha256(&bytes[..64]);
            bytes[64..HEADER_BYTES].copy_from_slice(&digest[..8]);
            if bytes != sealed {
                seal::open(Purpose::Backup, &unlock(), &bytes).unwrap_err();
            }
        }
    }
    let mut longer = sealed.clone();
    longer.push(0);
    let error = seal::open(Purpose::Backup, &unlock(), &longer).unwrap_err();
    assert_eq!(error, SealError::Damaged);
}

#[test]
fn passphrases_and_costs_keep_to_their_limits() {
    let mut random = Counter(0);
    let mut with = |text: &str| {
        let unlock = Unlock::passphrase(text);
        seal::seal(Purpose::Wallet, &unlock, Cost::TEST, b"", &mut random).map(drop)
    };
    assert_eq!(with("eleven char"), Err(SealError::Short(11)));
    assert_eq!(with("twelve chars"), Ok(()));
    assert_eq!(with(&"x".repeat(1025)), Err(SealError::Long(1025)));
    assert_eq!(Cost::new(64 * 1024, 3, 1), Ok(Cost::STANDARD));
    for (memory_kib, passes, lanes) in [
        (1024, 3, 1),
        (u32::MAX, 3, 1),
        (65536, 1, 1),
        (65536, 17, 1),
        (65536, 3, 0),
        (65536, 3, 5),
    ] {
        let refused = Err(SealError::Cost { memory_kib, passes, lanes });
        assert_eq!(Cost::new(memory_kib, passes, lanes), refused);
    }
    let error = seal::seal(Purpose::Wallet, &unlock(), Cost::TEST, b"", &mut Dry).unwrap_err();
    assert_eq!(error, SealError::Random(RandomError));
}

#[test]
fn the_standard_cost_opens_too() {
    let sealed =
        seal::seal(Purpose::Keyring, &unlock(), Cost::STANDARD, b"k", &mut Counter(0)).unwrap();
    assert_eq!(&**seal::open(Purpose::Keyring, &unlock(), &sealed).unwrap(), b"k");
}

#[test]
fn names_are_what_people_can_tell_apart() {
    for text in ["Payouts", "x", "Zürich 2", "<b>", &"ä".repeat(64)] {
        assert_eq!(name(text).as_str(), text);
    }
    let long = "x".repeat(65);
    for text in ["", " x", "x ", "a\nb", "a\tb", "a\u{202e}b", "a\u{200b}b", "a\u{a0}b", &long] {
        assert_eq!(text.parse::<Name>().unwrap_err(), RecordError::Name, "{text:?}");
    }
}

#[test]
fn records_return_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (_, _, all) = filled(&directory.path().join("w"));
    let secrets = [
        Secret::words(PHRASE, "extra", 3, 4).unwrap(),
        Secret::Key(PrivateKey::from_bytes(&[7; 32]).unwrap()),
        Secret::None,
        Secret::ledger("m/44'/195'/0'/0/7").unwrap(),
    ];
    for secret in secrets {
        let (kind, path) = (secret.kind(), secret.path());
        let wallet = Wallet { kind, path, ..all[0].clone() };
        let bytes = Record { wallet: wallet.clone(), secret }.encode().unwrap();
        let back = Record::decode(&bytes).unwrap();
        assert_eq!(back.wallet, wallet);
        assert_eq!(back.encode().unwrap(), bytes);
        for cut in 0..bytes.len() {
            assert!(Record::decode(&bytes[..cut]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Record::decode(&longer).unwrap_err(), RecordError::Malformed);
        if wallet.kind.signs() {
            assert_eq!(back.private_key().unwrap_err(), RecordError::Mismatch(wallet.address));
        }
    }
}

#[test]
fn a_directory_keeps_wallets_between_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wallets");
    assert!(matches!(Wallets::open(&path, &unlock()), Err(WalletError::Missing(_))));
    let (wallets, mut random, all) = filled(&path);
    // The address every wallet program gives for these words.
    assert_eq!(all[1].address.to_string(), "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH");
    assert!(matches!(Wallets::open(&path, &unlock()), Err(WalletError::Busy(_))));
    let renamed = wallets.rename(all[0].id, name("payouts"), &mut random).unwrap();
    let taken = wallets.rename(all[1].id, name("PAYOUTS"), &mut random).unwrap_err();
    assert!(matches!(taken, WalletError::NameTaken(text) if text == "payouts"));
    assert!(wallets.set_archived(all[1].id, true, &mut random).unwrap().archived);
    drop(wallets);

    let again = Wallets::create(&path, &unlock(), Cost::TEST, &mut random).unwrap_err();
    assert!(matches!(again, WalletError::Exists(_)));
    let wrong = Wallets::open(&path, &Unlock::passphrase("not this one at all")).unwrap_err();
    assert!(matches!(wrong, WalletError::Sealed { source: SealError::WrongPassphrase, .. }));
    let wallets = Wallets::open(&path, &unlock()).unwrap();
    let listing = wallets.list().unwrap();
    let names: Vec<_> = listing.wallets.iter().map(|wallet| wallet.name.as_str()).collect();
    assert_eq!(names, ["Cold", "Key", "Old", "payouts"]);
    assert!(listing.damaged.is_empty());
    assert_eq!(wallets.signer(all[0].id).unwrap().address(), renamed.address);
    assert!(matches!(wallets.signer(all[1].id), Err(WalletError::Archived(_))));
    assert!(matches!(wallets.signer(all[3].id), Err(WalletError::WatchOnly(_))));
    assert!(matches!(wallets.signer(WalletId([0; 16])), Err(WalletError::Unknown(_))));

    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn nothing_is_here_twice_but_a_key_may_join_its_watched_address() {
    let directory = tempfile::tempdir().unwrap();
    let (wallets, mut random) = new(&directory.path().join("w"));
    let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
    let mut watch = |text| wallets.watch(name(text), key.address(), 0, &mut random);
    watch("a").unwrap();
    assert!(matches!(watch("b"), Err(WalletError::AddressTaken { .. })));
    wallets.import(name("c"), Secret::Key(key.clone()), 0, &mut Counter(900)).unwrap();
    let twice = wallets.import(name("d"), Secret::Key(key), 0, &mut Counter(901));
    assert!(matches!(twice, Err(WalletError::AddressTaken { name, .. }) if name == "c"));
    let none = wallets.import(name("e"), Secret::None, 0, &mut Counter(902));
    assert!(matches!(none, Err(WalletError::Record(_))));
    let dry = wallets.create_wallet(name("f"), WordCount::Twelve, 0, &mut Dry);
    assert!(matches!(dry, Err(WalletError::Random(_))));
    assert_eq!(wallets.list().unwrap().wallets.len(), 2);
}

#[test]
fn a_secret_leaves_only_for_the_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let (wallets, mut random, all) = filled(&directory.path().join("w"));
    let wrong = Unlock::passphrase("not this one at all");
    let refused =
        |error| matches!(error, WalletError::Sealed { source: SealError::WrongPassphrase, .. });
    assert!(refused(wallets.export(all[1].id, &wrong).unwrap_err()));
    assert!(refused(wallets.backup(&wrong, PAPER, Cost::TEST, &mut random).unwrap_err()));
    let Secret::Words { phrase, .. } = wallets.export(all[1].id, &unlock()).unwrap() else {
        panic!("words were imported");
    };
    assert_eq!(*phrase, PHRASE);
    let Secret::Words { phrase, .. } = wallets.export(all[0].id, &unlock()).unwrap() else {
        panic!("words were made");
    };
    assert_eq!(phrase.split(' ').count(), 24);
    assert!(matches!(wallets.export(all[3].id, &unlock()), Err(WalletError::WatchOnly(_))));

    let new = Unlock::key([3; 32]);
    assert!(wallets.change_unlock(&wrong, &new, Cost::TEST, &mut random).is_err());
    wallets.change_unlock(&unlock(), &new, Cost::TEST, &mut random).unwrap();
    assert!(wallets.export(all[1].id, &unlock()).is_err());
    wallets.export(all[1].id, &new).unwrap();
}

#[test]
fn a_backup_restores_everything_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (wallets, mut random, all) = filled(&directory.path().join("w"));
    wallets.set_archived(all[2].id, true, &mut random).unwrap();
    let sealed = wallets.backup(&unlock(), PAPER, Cost::TEST, &mut random).unwrap();

    let (other, _) = new(&directory.path().join("elsewhere"));
    let wrong = other.restore(&sealed, PASSPHRASE, &mut random).unwrap_err();
    let wrong_passphrase = backup::BackupError::Seal(SealError::WrongPassphrase);
    assert!(matches!(wrong, WalletError::Backup(error) if error == wrong_passphrase));
    for cut in (0..sealed.len()).step_by(7) {
        other.restore(&sealed[..cut], PAPER, &mut random).unwrap_err();
    }
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone();
        bytes[at] ^= 0x10;
        other.restore(&bytes, PAPER, &mut random).unwrap_err();
    }
    assert!(other.list().unwrap().wallets.is_empty(), "nothing of a refused backup is written");

    let restored = other.restore(&sealed, PAPER, &mut random).unwrap();
    assert_eq!(restored, directory::Restored { added: 4, present: 0 });
    let restored = other.restore(&sealed, PAPER, &mut random).unwrap();
    assert_eq!(restored, directory::Restored { added: 0, present: 4 });
    assert_eq!(other.list().unwrap().wallets, wallets.list().unwrap().wallets);
    let digest = [8; 32];
    let signed = |wallets: &Wallets| wallets.signer(all[0].id).unwrap().sign(&digest);
    assert_eq!(signed(&other), signed(&wallets));

    let (third, _) = new(&directory.path().join("third"));
    third.watch(name("COLD"), Address::from_evm([1; 20]), 0, &mut Counter(5000)).unwrap();
    let clash = third.restore(&sealed, PAPER, &mut random).unwrap_err();
    assert!(matches!(clash, WalletError::NameTaken(_)));
    assert_eq!(third.list().unwrap().wallets.len(), 1, "all are checked before one is written");
}

#[test]
fn damaged_and_swapped_files_are_named_and_hide_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w");
    let (wallets, mut random, all) = filled(&path);
    let file = |at: usize| path.join(format!("{}.wallet", all[at].id));
    fs::copy(file(2), file(1)).unwrap();
    let mut bytes = fs::read(file(0)).unwrap();
    bytes[80] ^= 1;
    fs::write(file(0), bytes).unwrap();
    let listing = wallets.list().unwrap();
    assert_eq!(listing.wallets.len(), 2);
    assert_eq!(listing.damaged.len(), 2);
    let swapped = wallets.signer(all[1].id).unwrap_err();
    assert!(matches!(swapped, WalletError::Contents { source: RecordError::Id, .. }));
    let damaged = wallets.signer(all[0].id).unwrap_err();
    assert!(matches!(damaged, WalletError::Sealed { source: SealError::Damaged, .. }));
    assert!(wallets.backup(&unlock(), PAPER, Cost::TEST, &mut random).is_err());
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w");
    let (wallets, mut random, all) = filled(&path);
    let temporary = path.join(format!("{}.new", all[0].id));
    // What a crash left is replaced; what cannot be replaced stops the write.
    fs::write(&temporary, b"half").unwrap();
    wallets.rename(all[0].id, name("one"), &mut random).unwrap();
    assert!(!temporary.exists());
    fs::create_dir(&temporary).unwrap();
    let error = wallets.rename(all[0].id, name("two"), &mut random).unwrap_err();
    assert!(matches!(error, WalletError::File(FileError::Io { .. })));
    assert!(wallets.list().unwrap().wallets.iter().any(|wallet| wallet.name == name("one")));
}

#[test]
fn a_credential_is_32_private_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wallet-key");
    let put = |bytes: &[u8], mode| {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        file::credential(&path)
    };
    let key = put(&[6; 32], 0o440).unwrap();
    let wallets = directory.path().join("w");
    drop(Wallets::create(&wallets, &key, Cost::TEST, &mut Counter(0)).unwrap());
    Wallets::open(&wallets, &Unlock::key([6; 32])).unwrap();
    let wrong = Wallets::open(&wallets, &Unlock::key([5; 32])).unwrap_err();
    assert!(matches!(wrong, WalletError::Sealed { source: SealError::WrongKey, .. }));
    assert!(matches!(put(&[6; 32], 0o444), Err(FileError::Open { mode: 0o444, .. })));
    for length in [0, 31, 33] {
        let refused = put(&vec![6; length], 0o400).unwrap_err();
        assert!(matches!(refused, FileError::KeyLength { bytes, .. } if bytes == length));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(file::credential(&path), Err(FileError::Io { .. })));
}

#[test]
fn the_sheet_numbers_every_word_and_escapes_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let (_, _, all) = filled(&directory.path().join("w"));
    let wallet = Wallet { name: name("<script>'&\""), ..all[1].clone() };
    let sheet = recovery_sheet(&wallet, &Secret::words(PHRASE, "", 0, 0).unwrap()).unwrap();
    assert!(sheet.contains("&lt;script&gt;&#39;&amp;&quot;") && !sheet.contains("<script>"));
    assert!(sheet.contains(&wallet.address.to_string()));
    let words: Vec<_> = sheet.split("<li>").skip(1).map(|w| w.split('<').next().unwrap()).collect();
    assert_eq!(words.join(" "), PHRASE);
    assert!(sheet.contains("m/44&#39;/195&#39;/0&#39;/0/0") && sheet.contains("<svg"));
    assert!(!sheet.contains("src=") && !sheet.contains("href"));
    let with = recovery_sheet(&wallet, &Secret::words(PHRASE, "extra", 0, 0).unwrap()).unwrap();
    assert!(with.contains("need a BIP-39 passphrase") && !with.contains("extra"));
    let key = PrivateKey::from_bytes(&[0xab; 32]).unwrap();
    let sheet = recovery_sheet(&wallet, &Secret::Key(key)).unwrap();
    assert_eq!(sheet.matches("<li>abababab</li>").count(), 8);
    assert_eq!(recovery_sheet(&all[3], &Secret::None).unwrap_err(), SheetError::WatchOnly);
}

#[test]
fn no_secret_is_in_debug_output_errors_or_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w");
    let (wallets, mut random, all) = filled(&path);
    let mut said = format!("{wallets:?} {all:?} {:?} {:?}", unlock(), Unlock::key([7; 32]));
    let mut say = |error: &dyn std::error::Error| {
        let mut next = Some(error);
        while let Some(error) = next {
            let _ = write!(said, "\n{error} {error:?}");
            next = error.source();
        }
    };
    for text in [PHRASE.replace("about", "abound"), PHRASE.replace("about", "sesame"), "x".into()] {
        say(&Secret::words(&text, "", 0, 0).unwrap_err());
    }
    say(&PrivateKey::from_hex(&"07".repeat(31)).unwrap_err());
    say(&wallets.export(all[0].id, &Unlock::passphrase("sesame open please")).unwrap_err());
    let sealed = wallets.backup(&unlock(), PAPER, Cost::TEST, &mut random).unwrap();
    say(&wallets.restore(&sealed, "sesame open please", &mut random).unwrap_err());
    let mut secrets: Vec<String> =
        [PASSPHRASE, PAPER, "abandon", "abound", "sesame", "horse"].map(str::to_owned).into();
    let mut raw = vec![];
    for wallet in &all[..3] {
        let secret = wallets.export(wallet.id, &unlock()).unwrap();
        let key = secret.private_key().unwrap().unwrap().to_bytes();
        raw.push(key.to_vec());
        secrets.push(hex::encode(&key[..]));
        secrets.push(format!("{:?}", &key[..8]).trim_matches(['[', ']']).to_owned());
        if let Secret::Words { phrase, .. } = &secret {
            raw.push(phrase.split(' ').next().unwrap().as_bytes().to_vec());
            secrets.push(phrase.to_string());
        }
        let _ = write!(said, "{secret:?}");
        let record = Record { wallet: wallet.clone(), secret };
        let _ = write!(said, "{record:?}");
    }
    for secret in &secrets {
        assert!(!said.contains(secret.as_str()), "a secret was said");
    }
    let mut files: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    files.push(sealed);
    assert_eq!(files.len(), 4 + 2 + 1);
    for bytes in &files {
        for secret in raw.iter().filter(|secret| secret.len() > 4) {
            let found = bytes.windows(secret.len()).any(|window| window == &secret[..]);
            assert!(!found, "a secret is in a file");
        }
    }
}
