//! A disk that is full, and a journal that is not what was written.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};

use super::world::{Installation, Simulator, terminate, wait_for};

const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

/// A disk of 1 MiB, in a mount namespace that ends with this.
struct SmallDisk {
    holder: Child,
    /// The same place as seen from outside.
    seen: PathBuf,
}

impl SmallDisk {
    /// Mounted where an installation keeps its data, whose commands then run inside.
    fn under(here: &mut Installation) -> Self {
        let data = here.dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let mount = "mount -t tmpfs -o size=1m,mode=0700 lucid-pay-test \"$0\" && \
                     echo mounted && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .arg(&data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = holder.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).unwrap();
        assert_eq!(said.trim(), "mounted", "this machine gives no small disk to try");
        let id = holder.id().to_string();
        here.within(&["nsenter", "--preserve-credentials", "-U", "-m", "-t", &id, "--"]);
        let seen = PathBuf::from(format!("/proc/{id}/root{}", data.display()));
        Self { holder, seen }
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = File::create(self.seen.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.seen.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_takes_and_signs_nothing_and_loses_nothing() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    let disk = SmallDisk::under(&mut here);
    here.funded(&simulator, 5_000_000_000, 500);
    let process = here.serve();
    here.wait_until_ready();

    // One is under way when the room ends.
    simulator.control("chain", &json!({"hold": true}));
    let first = here.ask(PAYEE, "2", "under way");
    here.until(&first, "the first broadcast", |payout| payout["state"] == json!("broadcast"));
    disk.fill();
    // The rest of the last page is room too, for some.
    let mut taken = vec![first];
    let refused = wait_for("the end of the room", || {
        // Far below the gateway's limit of requests.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let key = format!("key {}", taken.len());
        let request = ["--json", "payout", "request", "--payee", PAYEE, "--amount", "2"];
        let asked = here.run(&[&request[..], &["--reason", &key, "--key", &key]].concat());
        if !asked.status.success() {
            return Some(asked);
        }
        let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
        taken.push(asked["id"].as_str().unwrap().to_owned());
        None
    });
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(74), "{said}");
    assert!(said.to_lowercase().contains("no space"), "{said}");
    simulator.control("chain", &json!({"hold": false}));
    let payee: Address = PAYEE.parse().unwrap();
    wait_for("the first payment", || (simulator.usdt(payee) >= Usdt::whole(2)).then_some(()));
    // What is on the chain cannot be noted, so it says what keeps it, and signs nothing more.
    let told = wait_for("the trouble to be told", || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        let output = here.run(&["--json", "doctor"]);
        let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
        said.contains("no space").then_some(said)
    });
    assert!(told.contains("payment process"), "{told}");

    // With room again it goes on by itself, and every one that was taken is paid once.
    disk.empty();
    taken.push(here.ask(PAYEE, "2", "with room"));
    for id in &taken {
        here.until(id, "the payment", |payout| payout["state"] == json!("confirmed"));
    }
    assert_eq!(simulator.usdt(payee), Usdt::whole(2 * u32::try_from(taken.len()).unwrap()));
    assert_eq!(terminate(process), Some(0), "{}", here.log());
}

#[test]
fn a_torn_journal_goes_on_and_a_cut_one_pays_nothing() {
    let simulator = Simulator::start(100);
    let mut here = Installation::new(&simulator, true);
    here.funded(&simulator, 1_000_000_000, 50);
    let process = here.serve();
    here.wait_until_ready();
    let id = here.ask(PAYEE, "3", "k");
    here.until(&id, "the payment", |payout| payout["state"] == json!("confirmed"));
    assert_eq!(terminate(process), Some(0), "{}", here.log());
    let path = here.dir.path().join("data/sandbox/journal");
    let whole = fs::read(&path).unwrap();

    // A frame that was being written when the power went: never acknowledged, cut, and told.
    fs::write(&path, [&whole[..], &whole[..40]].concat()).unwrap();
    let process = here.serve();
    here.wait_until_ready();
    assert!(here.log().contains("torn_bytes=40"), "{}", here.log());
    assert_eq!(here.ok(&["payout", "show", &id])["state"], json!("confirmed"));
    assert_eq!(terminate(process), Some(0), "{}", here.log());
    assert_eq!(fs::read(&path).unwrap(), whole);

    // Cut within a record that was acknowledged, and with one bit turned: neither is paid from.
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 4;
    for (bytes, word) in [(&whole[..whole.len() - 20], "incomplete"), (&turned, "damaged")] {
        fs::write(&path, bytes).unwrap();
        let refused = here.run(&["serve"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(74), "{word}: {said}");
    }
    assert_eq!(fs::read(&path).unwrap(), turned, "what is damaged is left for a person");
    fs::write(&path, &whole).unwrap();

    // The wrong key opens nothing.
    here.secret("lucid-pay.key", &[0xa5; 32]);
    assert_eq!(here.run(&["serve"]).status.code(), Some(77));
    here.secret("lucid-pay.key", &[0x5a; 32]);
    let process = here.serve();
    here.wait_until_ready();
    assert_eq!(terminate(process), Some(0), "{}", here.log());
    assert_eq!(simulator.usdt(PAYEE.parse().unwrap()), Usdt::whole(3));
}
