//! No command, log, error or file ever holds a key, recovery words, a passphrase or an API key.

use std::fs;
use std::path::Path;

use super::world::{Installation, Simulator, terminate};

const PASSPHRASE: &str = "a passphrase nobody may read";
const BACKUP: &str = "another passphrase, of the backup";
const API_KEY: &str = "5ecre7-ap1-key-0f-the-n0des";
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const KEY: &str = "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28";

fn everything(dir: &Path, except: &[&str], found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            everything(&path, except, found);
        } else if !except.contains(&name.as_str()) {
            // A socket has nothing to read.
            found.extend(fs::read(&path).ok().map(|bytes| (name, bytes)));
        }
    }
}

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret))
}

#[test]
fn no_secret_is_ever_said_or_left_behind() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, false);
    let passphrase = here.secret("passphrase", PASSPHRASE.as_bytes());
    let wrong = here.secret("wrong", b"this is not the passphrase");
    let backup = here.secret("backup-passphrase", BACKUP.as_bytes());
    let api_key = here.secret("api-key", API_KEY.as_bytes());
    let words = here.secret("words", WORDS.as_bytes());
    let key = here.secret("key", KEY.as_bytes());
    let cut = here.secret("cut-words", &WORDS.as_bytes()[..40]);
    let open = here.secret("open", PASSPHRASE.as_bytes());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&open, mode).unwrap();
    let out = here.dir.path().join("exported");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    here.option(&format!("--set=wallet.passphrase_file={}", text(&passphrase)));
    here.option(&format!("--set=node.api_key_file={}", text(&api_key)));

    // Every command that meets a secret, well and badly.
    let import = |from: &Path| {
        ["wallet", "import", "legal", "--words-file"]
            .map(String::from)
            .into_iter()
            .chain([text(from)])
            .collect::<Vec<_>>()
    };
    let mut codes = Vec::new();
    let mut run = |here: &mut Installation, arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        codes.push(here.run(&arguments).status.code());
    };
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    run(&mut here, &import(&words));
    run(&mut here, &strings(&["wallet", "import", "bare", "--key-file", &text(&key)]));
    run(&mut here, &import(&words));
    run(&mut here, &import(&cut));
    run(&mut here, &strings(&["wallet", "import", "x", "--key-file", &text(&words)]));
    run(&mut here, &strings(&["wallet", "list", "--passphrase-file", &text(&wrong)]));
    run(&mut here, &strings(&["wallet", "list", "--passphrase-file", &text(&open)]));
    run(&mut here, &strings(&["wallet", "list", "--json"]));
    run(&mut here, &strings(&["wallet", "rename", "legal", "main"]));
    run(&mut here, &strings(&["wallet", "export", "main", "--output", &text(&out)]));
    let sheet = text(&here.dir.path().join("sheet.html"));
    run(&mut here, &strings(&["wallet", "sheet", "main", "--output", &sheet]));
    let saved = text(&here.dir.path().join("saved"));
    let backup = text(&backup);
    run(
        &mut here,
        &strings(&["wallet", "backup", "--output", &saved, "--backup-passphrase-file", &backup]),
    );
    run(
        &mut here,
        &strings(&["wallet", "restore", &saved, "--backup-passphrase-file", &text(&wrong)]),
    );
    run(&mut here, &strings(&["wallet", "restore", &saved, "--backup-passphrase-file", &backup]));
    run(&mut here, &strings(&["wallet", "archive", "bare"]));
    run(&mut here, &strings(&["wallet", WORDS]));
    run(&mut here, &strings(&["config"]));
    let ok = Some(0);
    assert_eq!(
        codes,
        [
            ok,
            ok,
            Some(20),
            Some(65),
            Some(65),
            Some(77),
            Some(77),
            ok,
            ok,
            ok,
            ok,
            ok,
            Some(77),
            ok,
            ok,
            Some(64),
            ok,
        ]
    );
    assert_eq!(fs::read_to_string(&out).unwrap().trim(), WORDS);

    // The running process, its errors and its faults.
    let process = here.serve();
    here.wait_until_ready();
    simulator.give("TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH", 1_000_000, 0);
    here.run(&[
        "payout",
        "request",
        "--payee",
        "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH",
        "--amount",
        "5",
        "--reason",
        "r",
        "--key",
        "k",
    ]);
    here.run(&[
        "payout", "request", "--payee", WORDS, "--amount", KEY, "--reason", "r", "--key", "k",
    ]);
    here.run(&["payout", "list"]);
    here.run(&["payout", "statements", "--format", "html"]);
    here.run(&["stake", "freeze", "main", "1000"]);
    here.run(&["node", "status"]);
    here.run(&["doctor"]);
    // Its memory cannot be read by others of its user, nor dumped.
    assert!(process.id() > 0);
    let environment = fs::read(format!("/proc/{}/environ", process.id())).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{}/cmdline", process.id())).unwrap_or_default();
    assert_eq!(terminate(process), Some(0), "{}", here.log());

    // The files that were asked for hold secrets; nothing else does.
    let asked = [
        "passphrase",
        "backup-passphrase",
        "api-key",
        "words",
        "cut-words",
        "key",
        "open",
        "exported",
        "sheet.html",
    ];
    let mut found = Vec::new();
    everything(here.dir.path(), &asked, &mut found);
    assert!(found.iter().any(|(name, _)| name == "serve.log"));
    assert!(found.iter().any(|(name, _)| name == "journal"));
    assert!(found.iter().any(|(name, _)| name.ends_with(".wallet")));
    found.push(("environment".into(), environment));
    found.push(("arguments".into(), arguments));
    // What was typed as an argument by mistake is the person's own doing; parsers still must not
    // repeat it in full.
    found.push(("output".into(), here.said.clone()));
    let seed = lucid_pay::tron::mnemonic::seed(WORDS, "").unwrap();
    let derived = lucid_pay::tron::key::PrivateKey::derive(&seed[..], "m/44'/195'/0'/0/0").unwrap();
    let raw = derived.to_bytes();
    let hex = lucid_pay::tron::hex::encode(&raw[..]);
    let bare = lucid_pay::tron::hex::decode(KEY).unwrap();
    let secrets: [(&str, &[u8]); 9] = [
        ("passphrase", PASSPHRASE.as_bytes()),
        ("backup", BACKUP.as_bytes()),
        ("API key", API_KEY.as_bytes()),
        ("words", WORDS.as_bytes()),
        ("half of the words", &WORDS.as_bytes()[..40]),
        ("key", KEY.as_bytes()),
        ("key in bytes", &bare),
        ("derived key", hex.as_bytes()),
        ("derived bytes", &raw[..]),
    ];
    for (name, bytes) in &found {
        for (what, secret) in &secrets {
            assert!(!holds(bytes, secret), "{name} holds the {what}");
        }
    }
}
