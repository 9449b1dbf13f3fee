//! The administrator of a daemon under test.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Daemon, PASSWORD, PATIENCE};

/// A daemon and the token of its administrator.
pub struct Owner {
    pub daemon: Daemon,
    pub token: String,
}

impl Owner {
    /// Claims a new device.
    pub fn of(daemon: Daemon) -> Self {
        let token = daemon.claim();
        Self { daemon, token }
    }

    /// Signs in at a claimed device.
    pub fn again(daemon: Daemon) -> Self {
        let body = json!({"username": "admin", "password": PASSWORD});
        let answer = daemon.send("POST", "/api/v1/session-token", &[], Some(&body));
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        Self { daemon, token }
    }

    /// A request to the API.
    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let path = format!("/api/v1{path}");
        self.daemon.send(method, &path, &[("Authorization", &bearer)], body.as_ref())
    }

    /// What a path shows.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Asks again until it fits; what was there last is shown when patience ends.
    pub fn wait(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let value = self.get(path);
            if fits(&value) {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "GET {path} never fitted: {value}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
