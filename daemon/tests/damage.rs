//! Damage is put aside, and the device says which recording and which time it touches.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::owner::Owner;
use support::{start, start_in};

#[test]
fn a_volume_put_aside_is_named_with_its_recording_and_time_in_every_later_life() {
    let options = &["--set", "record.demo=false", "--log-level", "warn"];
    let owner = Owner::of(start(options));
    let new = json!({"name": "Test", "uri": "test://?width=160&height=120&fps=10"});
    let source = owner.call("POST", "/sources", Some(new)).json();
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let source = owner.wait(&path, |source| source["state"] == "recording");
    let session = format!("/sessions/{}", source["current_session_id"].as_str().unwrap());
    owner.wait(&session, |session| session["duration_s"].as_f64().unwrap() > 1.0);
    assert_eq!(owner.call("POST", &format!("{session}/stop"), None).status, 200);
    let done = owner.wait(&session, |session| session["state"] == "completed");
    let data = owner.daemon.kill();

    // Nothing of the volume reads any more.
    let volumes = data.path().join("volumes");
    let volume = std::fs::read_dir(&volumes).unwrap().map(|entry| entry.unwrap().path()).max();
    for entry in std::fs::read_dir(volume.unwrap()).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            let length = std::fs::metadata(&file).unwrap().len();
            std::fs::write(&file, vec![0xa5; length as usize]).unwrap();
        }
    }
    let mut data = data;
    for _ in 0..2 {
        let owner = Owner::again(start_in(data, options));
        let health = owner.get("/evidence-health");
        assert_eq!(health["safe"], false, "{health}");
        let [aside] = &health["quarantined"].as_array().unwrap()[..] else { panic!("{health}") };
        assert_eq!(aside["session_id"], done["id"], "{aside}");
        let time = |value: &Value| value.as_str().unwrap().to_owned();
        assert!(time(&aside["from"]) >= time(&done["started_at"]), "{aside}");
        assert!(time(&aside["from"]) < time(&aside["to"]), "{aside}");
        // The last picture may last beyond the moment at which the recording was ended.
        assert!(time(&aside["from"]) < time(&done["ended_at"]), "{aside}");
        assert!(time(&aside["what"]).contains("now quarantine/volume-"), "{aside}");
        data = owner.daemon.kill();
    }
}
