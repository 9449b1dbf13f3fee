//! Updates through the daemon, without a virtual machine: the real daemon, a real RAUC on a bus of
//! its own with files as slots, the real `lucid-bootctl` behind it, a fleet server over HTTP, and
//! restarts into the slot that the boot files name.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fleet;
mod machine;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;

use fleet::{DEVICE, Fleet, TOKEN};
use machine::Machine;
use serde_json::{Value, json};
use support::owner::Owner;
use support::{Answer, start};

const UPDATES: &str = "/system/updates";

fn upload(owner: &Owner, query: &str, bundle: &[u8]) -> Answer {
    let mut stream = owner.daemon.connect();
    let head = format!(
        "POST /api/v1/system/updates/bundle{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\n\r\n",
        owner.daemon.address,
        owner.token,
        bundle.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bundle).unwrap();
    Answer::read(&mut stream)
}

/// The session that records; a new device without cameras records its demo picture.
fn recording(owner: &Owner) -> String {
    let sessions = owner.wait("/sessions", |sessions| sessions["items"][0]["state"] == "recording");
    sessions["items"][0]["id"].as_str().unwrap().to_owned()
}

/// No session of a self-test is left, and nobody's recording was touched.
fn only(owner: &Owner, session: &str) {
    let sessions = owner.get("/sessions");
    let alive: Vec<_> = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["state"] != "deleted")
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(alive, [session], "{sessions}");
}

fn ended(updates: &Value, count: usize) -> bool {
    updates["history"].as_array().is_some_and(|history| history.len() == count)
}

#[test]
fn an_update_of_the_fleet_waits_for_the_recording_is_tried_and_told_whichever_way_it_ends() {
    let mut machine = Machine::new();
    let fleet = Fleet::start();
    fs::write(machine.path("token"), format!("{TOKEN}\n")).unwrap();
    let settings = format!(
        "server = {:?}\ndevice = {DEVICE:?}\ntoken_file = {:?}\n",
        fleet.url(),
        machine.path("token")
    );
    let owner = Owner::of(machine.daemon(tempfile::tempdir().unwrap(), "A", &settings, &[]));
    let session = recording(&owner);
    let idle = owner.wait(UPDATES, |now| now["slots"][0]["name"].is_string());
    assert_eq!((&idle["supported"], &idle["slot"]), (&json!(true), &json!("A")), "{idle}");

    // It is brought and checked while something is recorded, and then waits.
    let bundle = machine.bundle("new.raucb", "99.0.0");
    let sha256 = machine.sha256("new.raucb");
    fleet.offer("11", "99.0.0", bundle, sha256.clone());
    let check = || owner.call("POST", "/system/updates/check", None);
    assert_eq!(check().status, 202);
    let waits = owner.wait(UPDATES, |now| now["attempt"]["note"].is_string());
    assert_eq!(waits["state"], "waiting", "{waits}");
    assert_eq!(waits["attempt"]["note"], "until a recording is over", "{waits}");
    assert_eq!(waits["attempt"]["sha256"], json!(sha256), "{waits}");
    assert_eq!(check().status, 202);
    fleet.told("deploymentBase/11/feedback", |body| {
        body["status"]["details"][0].as_str().is_some_and(|words| words.contains("recording"))
    });
    fleet.told("configData", |body| body["data"]["compatible"] == "lucid-rpi5");
    assert!(!machine.path("power/reboot").exists());

    // The recording is over: it is installed, and the device restarts into its trial.
    let stopped = owner.call("POST", &format!("/sessions/{session}/stop"), None);
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    let asked = owner.wait(UPDATES, |now| now["state"] == "trial_boot");
    assert_eq!(asked["default_slot"], "A", "{asked}");
    assert!(machine.path("power/reboot").exists());
    let meant = fs::read(machine.path("content/root.img")).unwrap();
    assert!(fs::read(machine.path("root-b")).unwrap().starts_with(&meant));
    let (exit, _, data_dir) = owner.daemon.stop();
    assert_eq!((exit, machine.boot().as_str()), (0, "B"));

    // There it records, seals, anchors and reads back, is confirmed, and only then tells so.
    machine.start_rauc("B");
    let owner = Owner::again(machine.daemon(data_dir, "B", &settings, &[]));
    let confirmed = machine.confirm(&owner.daemon);
    assert!(confirmed.status.success(), "{confirmed:?}");
    let over =
        owner.wait(UPDATES, |now| ended(now, 1) && now["history"][0]["statement"] != json!(null));
    let first = &over["history"][0];
    assert_eq!((&first["outcome"], &first["version"]), (&json!("confirmed"), &json!("99.0.0")));
    assert_eq!((&over["attempt"], &over["default_slot"]), (&Value::Null, &json!("B")), "{over}");
    assert_eq!(fleet.end("11")["result"]["finished"], "success");
    only(&owner, &session);
    // The chain says when this bundle was installed here.
    let statement = first["statement"].as_str().unwrap();
    let stated = owner.get(&format!("/chain/transactions/{statement}"));
    assert_eq!(stated["kind"], "statement", "{stated}");

    // The next one goes back to slot A and lacks what encodes pictures.
    let bundle = machine.bundle("broken.raucb", "100.0.0");
    fleet.offer("12", "100.0.0", bundle, machine.sha256("broken.raucb"));
    assert_eq!(owner.call("POST", "/system/updates/check", None).status, 202);
    owner.wait(UPDATES, |now| now["state"] == "trial_boot");
    let (exit, _, data_dir) = owner.daemon.stop();
    assert_eq!((exit, machine.boot().as_str()), (0, "A"));
    let nowhere = machine.path("nowhere");
    let registry = machine.path("registry");
    let broken = [
        ("GST_PLUGIN_SYSTEM_PATH_1_0", nowhere.to_str().unwrap()),
        ("GST_PLUGIN_PATH_1_0", nowhere.to_str().unwrap()),
        ("GST_REGISTRY_1_0", registry.to_str().unwrap()),
    ];
    let owner = Owner::again(machine.daemon(data_dir, "A", &settings, &broken));
    let refused = machine.confirm(&owner.daemon);
    assert!(!refused.status.success(), "{refused:?}");
    let given_up = machine.bootctl(&["fall-back", "--reason", "the confirming unit failed"]);
    assert!(given_up.status.success(), "{given_up:?}");
    let data_dir = owner.daemon.kill();

    // The system before runs again, knows why, and says so to whoever asks.
    assert_eq!(machine.boot(), "B");
    let owner = Owner::again(machine.daemon(data_dir, "B", &settings, &[]));
    let over = owner.wait(UPDATES, |now| ended(now, 2));
    let reason = over["history"][0]["reason"].as_str().unwrap();
    assert_eq!(over["history"][0]["outcome"], "fell_back", "{over}");
    assert!(reason.starts_with("the self-test failed: "), "{reason}");
    assert_eq!((&over["attempt"], &over["default_slot"]), (&Value::Null, &json!("B")), "{over}");
    let told = fleet.end("12");
    assert_eq!(
        (&told["result"]["finished"], &told["details"][0]),
        (&json!("failure"), &json!(reason))
    );
}

#[test]
fn a_bundle_from_the_page_is_judged_and_can_be_called_off() {
    let machine = Machine::new();
    let owner = Owner::of(machine.daemon(tempfile::tempdir().unwrap(), "A", "", &[]));
    let session = recording(&owner);
    owner.wait(UPDATES, |now| now["slots"][0]["name"].is_string());
    owner.call("POST", "/system/updates/check", None).is_problem("updates-off");

    let answer = upload(&owner, "", &machine.bundle("new.raucb", "99.0.0"));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let waits = owner.wait(UPDATES, |now| now["attempt"]["note"].is_string());
    assert_eq!(
        (&waits["state"], &waits["attempt"]["version"]),
        (&json!("waiting"), &json!("99.0.0"))
    );
    upload(&owner, "", b"another").is_problem("update-under-way");
    let cancelled = owner.call("POST", "/system/updates/cancel", None);
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (202, &json!("idle")));
    assert!(!owner.daemon.data_dir.path().join("updates/bundle.raucb").exists());

    // An older one is refused unless whoever brings it says otherwise; nonsense is nobody's bundle.
    let older = machine.bundle("old.raucb", "0.0.1");
    assert_eq!(upload(&owner, "", &older).status, 202);
    let refused = owner.wait(UPDATES, |now| ended(now, 2));
    assert_eq!(refused["history"][0]["outcome"], "refused", "{refused}");
    assert!(refused["history"][0]["reason"].as_str().unwrap().contains("older"), "{refused}");
    assert_eq!(upload(&owner, "?allow_older=true", &older).status, 202);
    owner.wait(UPDATES, |now| now["state"] == "waiting");
    assert_eq!(owner.call("POST", "/system/updates/cancel", None).status, 202);
    assert_eq!(upload(&owner, "", b"no bundle at all").status, 202);
    let failed = owner.wait(UPDATES, |now| ended(now, 4));
    assert_eq!(failed["history"][0]["outcome"], "failed", "{failed}");
    upload(&owner, "", b"").is_problem("bad-request");
    upload(&owner, "?at_onec=true", b"x").is_problem("invalid-query");

    // "At once" waits for nothing: the recording is closed in order by the restart.
    let bundle = machine.bundle("now.raucb", "99.0.1");
    assert_eq!(upload(&owner, "?at_once=true", &bundle).status, 202);
    let asked = owner.wait(UPDATES, |now| now["state"] == "trial_boot");
    assert_eq!(asked["attempt"]["cancellable"], false, "{asked}");
    owner.call("POST", "/system/updates/cancel", None).is_problem("no-update");
    assert_eq!(owner.get(&format!("/sessions/{session}"))["state"], "recording");
    assert!(machine.path("power/reboot").exists());
}

#[test]
fn a_bundle_says_the_data_format_that_this_system_writes() {
    let file = |path: &str| {
        fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let format = lucid_store::DATA_VERSION;
    let manifest = file("image-build/rauc/manifest.raucm");
    assert!(manifest.contains(&format!("\ndata-format={format}\n")), "{manifest}");
    let recipe = file("yocto/meta-lucid/recipes-lucid/images/lucid-bundle.bb");
    let line = format!("RAUC_META_lucid[data-format] = \"{format}\"");
    assert!(recipe.contains(&line), "{recipe}");
}

#[test]
fn a_system_without_slots_says_that_it_is_updated_otherwise() {
    let owner = Owner::of(start(&[]));
    let updates = owner.wait(UPDATES, |now| now["problem"].is_string());
    assert_eq!((&updates["supported"], &updates["state"]), (&json!(false), &json!("idle")));
    assert!(updates["problem"].as_str().unwrap().contains("packages"), "{updates}");
    for path in ["check", "install"] {
        let body = Some(json!({}));
        let answer = owner.call("POST", &format!("/system/updates/{path}"), body);
        assert_eq!(answer.status, 409, "{}", answer.text());
        answer.is_problem("updates-off");
    }
    owner.call("POST", "/system/updates/cancel", None).is_problem("no-update");
    upload(&owner, "", b"x").is_problem("updates-off");
}
