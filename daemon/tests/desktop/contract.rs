//! The interface as scripts see it: what it answers, and what it takes from nobody.

use serde_json::{Value, json};

use crate::office::Office;

/// As many desktops as a device can have.
const DESKTOPS_MAX: usize = 1000;

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_interface_answers_as_written_down_and_takes_nothing_absurd() {
    let office = Office::open(&[]);
    let bench = format!("/desktops/{}", office.desktop);
    let shown = office.get(&bench);
    assert_eq!(
        (&shown["name"], &shown["width"], &shown["height"]),
        (&json!("bench"), &json!(1024), &json!(640))
    );
    assert_eq!((&shown["owner"], shown["port"].as_u64()), (&json!("admin"), Some(office.port)));
    assert!((13389..=14389).contains(&office.port));
    assert_eq!(office.get("/desktops/bench")["id"], shown["id"], "by its name as well");
    office.call("POST", "/desktops", Some(json!({"name": "bench"}))).is_problem("name-taken");

    let long = "a".repeat(49);
    for name in ["", "a\\b", "../bench", "a/b", "A", "1st", "a b", "naïve", "a\n", "-", &long] {
        let answer = office.call("POST", "/desktops", Some(json!({"name": name})));
        answer.is_problem("invalid-body");
        assert_eq!(answer.json()["errors"][0]["field"], "name", "{}", answer.text());
    }
    for wrong in [
        json!({}),
        json!({"name": 7}),
        json!({"name": "odd", "width": 1281}),
        json!({"name": "none", "width": 0, "height": 0}),
        json!({"name": "less", "width": -2}),
        json!({"name": "part", "width": 640.5}),
        json!({"name": "flat", "width": 8192, "height": 198}),
        json!({"name": "huge", "width": 8192, "height": 8192}),
        json!({"name": "vast", "width": 4_294_967_296_u64}),
        json!({"name": "none", "command": ""}),
        json!({"name": "long", "command": "x".repeat(100_000)}),
        json!({"name": "cut", "command": "a\u{0}b"}),
        json!({"name": "mice", "policy": {"mice": true}}),
        json!({"name": "fast", "policy": {"mouse": 100_000}}),
        json!({"name": "many", "policy": {"observers": 9}}),
        json!({"name": "path", "policy": {"files_in": {"extensions": ["../x"]}}}),
        json!({"name": "fat", "limits": {"memory_bytes": 1}}),
        json!({"name": "old", "retention": {"max_age_s": 1}}),
        json!({"name": "more", "colour": "red"}),
    ] {
        let answer = office.call("POST", "/desktops", Some(wrong.clone()));
        assert!((400..500).contains(&answer.status), "{wrong}: {}", answer.text());
        answer.is_problem("invalid-body");
    }
    assert_eq!(office.get("/desktops")["items"].as_array().unwrap().len(), 1);
    for path in ["dsk-aaaaaaaa", "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "dsk-%00aaaaaaa", &long] {
        for rest in ["", "/credentials", "/usage", "/connect", "/rdp-file", "/thumbnail"] {
            let answer = office.call("GET", &format!("/desktops/{path}{rest}"), None);
            assert_eq!(answer.status, 404, "{path}{rest}: {}", answer.text());
        }
    }

    // Credentials.
    let credentials = format!("{bench}/credentials");
    let long = "u".repeat(65);
    for user in ["", "a\\b", "a/b", "a@b", "a\u{7}", &long] {
        let body = json!({"user": user});
        office.call("POST", &credentials, Some(body)).is_problem("invalid-body");
    }
    for life in [json!(0), json!(-1), json!("1h"), json!(30 * 86_400 + 1), json!(u64::MAX)] {
        let body = json!({"user": "anna", "expires_in_s": life});
        office.call("POST", &credentials, Some(body)).is_problem("invalid-body");
    }
    assert_eq!(office.get(&credentials)["items"], json!([]));
    let body = json!({"user": "anna", "expires_in_s": 60, "policy": {"keyboard": true}});
    let issued = office.call("POST", &credentials, Some(body));
    assert_eq!((issued.status, issued.header("cache-control")), (201, Some("no-store")));
    let issued = issued.json();
    for name in ["user", "secret", "session_id", "expires_at", "policy_hash", "connect"] {
        assert!(names(&issued).contains(&name), "{name}: {issued}");
    }
    let connect = &issued["connect"];
    let line = connect["xfreerdp"].as_str().unwrap();
    let address = format!("127.0.0.1:{}", office.port);
    assert!(line.contains(&format!("/v:{address}")) && line.contains("/u:anna"), "{line}");
    assert!(connect["mstsc"].as_str().unwrap().starts_with("mstsc "), "{connect}");
    assert!(!connect.to_string().contains(issued["secret"].as_str().unwrap()));
    let file = office.call("GET", &format!("{bench}/rdp-file?user=anna"), None).text();
    for line in
        [&format!("full address:s:{address}"), "username:s:anna", "enablecredsspsupport:i:0"]
    {
        assert!(file.lines().any(|one| one == line), "{line}: {file}");
    }
    assert_eq!(office.told(&["rdp-file", "bench", "--user", "anna"]).0, Some(0));

    // Nothing of a session that does not run, and of requests nobody made.
    let session = issued["session_id"].as_str().unwrap();
    let connection = format!("/connections/{session}");
    let to = || Some(json!({"user": "bob"}));
    office.call("GET", &connection, None).is_problem("not-found");
    office.call("DELETE", &connection, None).is_problem("not-found");
    office.call("POST", &format!("{connection}/transfer"), to()).is_problem("not-found");
    office.call("POST", &format!("{connection}/observers"), to()).is_problem("not-found");
    let grant = || Some(json!({"decision": "grant"}));
    for request in ["1", "x.1", &format!("{session}.1"), &format!("{session}.-1")] {
        office.call("POST", &format!("/approvals/{request}"), grant()).is_problem("not-found");
    }
    assert_eq!(office.get("/approvals")["items"], json!([]));

    // The command line reaches the daemon without a sign-in, and says the same.
    let (exit, listed) = office.told(&["show", "bench"]);
    assert_eq!((exit, &listed["id"]), (Some(0), &json!(office.desktop)));
    let (exit, issued) =
        office.told(&["credential", "bench", "--user", "bob", "--allow", "keyboard"]);
    assert_eq!((exit, &issued["user"]), (Some(0), &json!("bob")));
    let session = issued["session_id"].as_str().unwrap();
    assert_eq!(office.told(&["revoke", "bench", session]).1["state"], "revoked");
    office.is_refused(&issued);
    assert_eq!(office.told(&["create", "Not A Name"]).0, Some(1));
    assert_eq!(office.told(&["delete", "bench"]).0, Some(0));
    assert_eq!(office.get("/desktops")["items"], json!([]));
    assert_eq!(office.daemon().send("GET", "/api/v1/desktops", &[], None).status, 401);
}

#[test]
fn a_thousand_desktops_are_defined_on_ports_of_their_own_and_no_more() {
    // What the daemon logs here would fill the pipe that nobody reads before the end.
    let quiet = ["desktops.ports=20000-21500", "http.signed_in_per_minute=0", "log.level=error"];
    let mut office = Office::empty(&quiet);
    for number in 0..DESKTOPS_MAX {
        let new = json!({"name": format!("bench-{number}")});
        let made = office.call("POST", "/desktops", Some(new));
        assert_eq!(made.status, 201, "{number}: {}", made.text());
    }
    let one_more = || office.call("POST", "/desktops", Some(json!({"name": "one-more"})));
    one_more().is_problem("too-many-desktops");
    let list = office.get("/desktops?limit=1000");
    let mut ports: Vec<u64> =
        list["items"].as_array().unwrap().iter().map(|one| one["port"].as_u64().unwrap()).collect();
    assert!(list["items"].as_array().unwrap().iter().all(|one| one["state"] == "ready"));
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), DESKTOPS_MAX);
    assert_eq!(office.call("DELETE", "/desktops/bench-7", None).status, 204);
    assert_eq!(one_more().status, 201);
    // All of them are there after a crash, each where it was.
    office.again();
    let again = office.wait("/desktops?limit=1000", |list| {
        list["items"].as_array().unwrap().iter().all(|one| one["state"] == "ready")
    });
    let of = |list: &Value, name: &str| {
        let items = list["items"].as_array().unwrap();
        items.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(of(&again, "bench-999")["port"], of(&list, "bench-999")["port"]);
    assert_eq!(of(&again, "bench-7"), Value::Null);
}
