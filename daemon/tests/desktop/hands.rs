//! A session changes hands: it is watched, taken over, given away, and ended.

use serde_json::{Value, json};

use crate::office::{Office, Screen, until};

#[test]
fn a_session_is_watched_taken_over_given_away_and_ended() {
    let office = Office::open(&[]);
    let policy = json!({"keyboard": true, "mouse": true, "observers": 1});
    let credential = office.credential(Some(policy));
    let id = credential["session_id"].as_str().unwrap();
    let connection = format!("/connections/{id}");
    let mut first = office.enter(&credential);
    office.make("by-anna");

    // On the page, named.
    let live = format!("/sessions/{id}/live");
    until("the live picture is there", || office.call("GET", &live, None).status == 200);
    office.wait(&connection, |one| one["watchers"] == json!(["admin"]));

    // With a second client that sees everything and touches nothing.
    let invite = |user: &str| {
        let path = format!("{connection}/observers");
        let answer = office.call("POST", &path, Some(json!({"user": user})));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    };
    let (second, invited) = (Screen::new(), invite("olga"));
    let watching = office.connect_on(&second, &invited);
    let observers = |one: &Value| {
        let clients = one["clients"].as_array().unwrap();
        clients.iter().filter(|client| client["observer"] == true).count()
    };
    office.wait(&connection, |one| observers(one) == 1);
    until("the observer has accepted", || {
        second.press(&["key", "Return"]);
        office.events(id, "notice_accepted").len() == 2
    });
    second.type_line("touch by-olga");
    office.make("by-anna-again");
    assert!(!office.file("by-olga").exists());
    let came_and_went = || office.events(id, "connection");
    assert_eq!(observers(&office.get(&connection)), 1, "{:?}", came_and_went());
    // One more than the policy allows, and the secret of one who is in.
    office.is_refused(&invite("otto"));
    office.is_refused(&invited);
    assert_eq!(observers(&office.get(&connection)), 1, "{:?}", came_and_went());
    drop(watching);
    office.wait(&connection, |one| observers(one) == 0);

    // The same person from another computer takes it over, and is not asked again.
    let mut other = office.connect(&credential);
    let _told = first.0.wait().unwrap();
    office.wait(&connection, |one| one["clients"].as_array().unwrap().len() == 1);
    office.make("from-another-computer");

    // Another person gets it with a new secret; the old one opens nothing.
    let transfer = format!("{connection}/transfer");
    for wrong in [json!({"user": ""}), json!({"user": "a\\b"}), json!({})] {
        office.call("POST", &transfer, Some(wrong)).is_problem("invalid-body");
    }
    let given = office.call("POST", &transfer, Some(json!({"user": "bob"})));
    assert_eq!(given.status, 200, "{}", given.text());
    let given = given.json();
    assert_eq!((&given["session_id"], &given["user"]), (&json!(id), &json!("bob")));
    let _told = other.0.wait().unwrap();
    assert_eq!(office.get(&connection)["owner"], "bob");
    office.is_refused(&credential);
    let mut bob = office.connect(&given);
    office.wait(&connection, |one| one["state"] == "connected");
    office.accept();
    office.make("by-bob");

    // The end, from the command line.
    assert_eq!(office.told(&["terminate", id]).0, Some(0));
    let _told = bob.0.wait().unwrap();
    office.is_refused(&given);
    let session = format!("/sessions/{id}");
    let over = office.wait(&session, |session| session["anchored"] != Value::Null);
    assert_eq!(over["state"], "terminated", "{over}");
    let changes: Vec<(String, String)> = office
        .events(id, "connection")
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            (text("change"), text("user"))
        })
        .collect();
    let expected = [
        ("opened", "anna"),
        ("observer joined", "admin"),
        ("observer joined", "olga"),
        ("observer left", "olga"),
        ("taken over", "anna"),
        ("transferred", "bob"),
        ("resumed", "bob"),
        ("terminated", "bob"),
    ];
    let mut at = 0;
    for (change, user) in &changes {
        at += usize::from(expected.get(at) == Some(&(change.as_str(), user.as_str())));
    }
    assert_eq!(at, expected.len(), "{changes:?}");
}
