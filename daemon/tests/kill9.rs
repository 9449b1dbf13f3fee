//! `kill -9` of the daemon while three sources record: nothing acknowledged is lost, and every cut
//! recording says that it was cut.
//!
//! A round starts the daemon over the same directory, checks everything the rounds before left,
//! waits until all sources record again, fetches each fragment as soon as the API shows it (which
//! it does once the fragment is durable), and kills. Some rounds kill during start-up, some during
//! an orderly stop. `LUCID_KILL_ROUNDS` says how many rounds, `LUCID_KILL_SEED` repeats a run's
//! choices.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lucid_tests::camera::{Camera, CameraOptions, Picture};
use serde_json::{Value, json};
use support::{Answer, Daemon, PATIENCE, begin_in, lucid};

/// Rounds in the ordinary suite.
const ROUNDS: u64 = 3;
/// Rounds from one check of the whole directory to the next.
const FSCK_EVERY: u64 = 10;
/// The kill comes at most this long after every source has something acknowledged.
const RECORD_MOST_MS: u64 = 3_000;
/// A kill during start-up comes within this of the start.
const START_MOST_MS: u64 = 1_500;
/// A kill during an orderly stop comes within this of the signal.
const STOP_MOST_MS: u64 = 400;
/// Most media that a crash may cost, and therefore most that a recording may declare missing at
/// its end, seconds.
const LOSS_MOST_S: f64 = 1.0;
/// A fragment is about 0.8 s: it may wait for a keyframe and ends with a whole picture, here of
/// 100 ms, or of more where a busy machine skipped some. Beyond this the cutting is broken,
/// seconds.
const FRAGMENT_MOST_S: f64 = 1.5;
/// What a session cut by a crash says.
const CUT: &str = "recorder stopped without warning";
const OPTIONS: &[&str] = &[
    "--set",
    "record.demo=false",
    "--set",
    "http.signed_in_per_minute=0",
    "--set",
    "http.media_per_minute=0",
    // What is only informative would fill the pipe that nobody reads while it runs.
    "--log-level",
    "warn",
];

/// SplitMix64: every choice of a run follows from its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below_ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.next() % most)
    }
}

/// When the daemon is killed.
#[derive(Debug)]
enum Moment {
    /// This long after all sources have something acknowledged.
    Recording(Duration),
    /// This long after the start, whatever it is at.
    Starting(Duration),
    /// This long after it was asked to stop, while all sources recorded.
    Stopping(Duration),
}

impl Moment {
    fn draw(dice: &mut Dice, round: u64) -> Self {
        // The first round claims the device and sets up the sources.
        match dice.next() % 10 {
            0 | 1 if round > 0 => Moment::Starting(dice.below_ms(START_MOST_MS)),
            2 if round > 0 => Moment::Stopping(dice.below_ms(STOP_MOST_MS)),
            _ => Moment::Recording(dice.below_ms(RECORD_MOST_MS)),
        }
    }
}

/// What was acknowledged of a session before its daemon was killed.
#[derive(Default)]
struct Acknowledged {
    length_s: f64,
    /// Fragments by name, as they were served.
    fragments: BTreeMap<String, Vec<u8>>,
    killed_us: Option<u64>,
}

/// What a run found.
#[derive(Default)]
struct Figures {
    cut: usize,
    empty: usize,
    in_order: usize,
    fragments: usize,
    longest_fragment_s: f64,
    /// From the end of what is there to the kill, seconds: the fragment being gathered, and what is
    /// on its way to the disk.
    until_kill_s: Vec<f64>,
}

struct Run {
    token: String,
    sources: Vec<String>,
    known: BTreeMap<String, Acknowledged>,
    checked: BTreeSet<String>,
    figures: Figures,
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

fn call(daemon: &Daemon, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    let path = format!("/api/v1{path}");
    daemon.send(method, &path, &[("Authorization", &bearer)], body.as_ref())
}

fn get(daemon: &Daemon, token: &str, path: &str) -> Answer {
    let answer = call(daemon, token, "GET", path, None);
    assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
    answer
}

/// The segments a playlist names, with the length of a fragment in each, seconds: a segment goes
/// from one picture that stands alone to the next, over as many fragments as that takes.
fn fragments(playlist: &str) -> Vec<(String, f64)> {
    let mut lines = playlist.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(length) = line.strip_prefix("#EXTINF:") {
            let length: f64 = length.trim_end_matches(',').parse().unwrap();
            let name = lines.next().unwrap().to_owned();
            let fragments: u32 = name.trim_end_matches(".m4s").split('_').map(run_length).sum();
            found.push((name, length / f64::from(fragments)));
        }
    }
    found
}

/// How many fragments `{chunk}-{first}` or `{chunk}-{first}-{last}` means.
fn run_length(run: &str) -> u32 {
    let numbers: Vec<u32> = run.split('-').map(|number| number.parse().unwrap()).collect();
    match numbers[..] {
        [_, _] => 1,
        [_, first, last] => last - first + 1,
        _ => panic!("{run} is no part of a segment's name"),
    }
}

impl Run {
    /// Claims the device and sets up the three sources.
    fn begin(daemon: &Daemon, camera: &Camera) -> Self {
        let token = daemon.claim();
        let clip = lucid_tests::fixture("street-640x272-10s.mp4");
        let mut sources = Vec::new();
        for (name, uri) in [
            ("drawn", "test://?width=320&height=240&fps=10".to_owned()),
            ("street", format!("file://{}?loop=1", clip.display())),
            ("camera", camera.uri()),
        ] {
            let made =
                call(daemon, &token, "POST", "/sources", Some(json!({"name": name, "uri": uri})));
            assert_eq!(made.status, 201, "{}", made.text());
            sources.push(made.json()["id"].as_str().unwrap().to_owned());
        }
        let (known, checked, figures) = Default::default();
        Self { token, sources, known, checked, figures }
    }

    /// Every session of the device, newest first.
    fn sessions(&self, daemon: &Daemon) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/sessions?limit=1000".to_owned();
        loop {
            let mut page = get(daemon, &self.token, &path).json();
            all.append(page["items"].as_array_mut().unwrap());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/sessions?limit=1000&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// The sessions that record now, by source; waits until every source has a new one.
    fn recording_again(&self, daemon: &Daemon) -> Vec<String> {
        let began = Instant::now();
        loop {
            let list = get(daemon, &self.token, "/sources").json();
            let mut found = Vec::new();
            for source in &self.sources {
                let view =
                    list["items"].as_array().unwrap().iter().find(|view| view["id"] == **source);
                let view = view.unwrap_or_else(|| panic!("source {source} is gone: {list}"));
                if let Some(session) = view["current_session_id"].as_str()
                    && !self.known.contains_key(session)
                {
                    found.push(session.to_owned());
                }
            }
            if found.len() == self.sources.len() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "sources do not record again: {list}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fetches what a session acknowledged since the last look.
    fn look(&mut self, daemon: &Daemon, session: &str) {
        let view = get(daemon, &self.token, &format!("/sessions/{session}")).json();
        let list =
            get(daemon, &self.token, &format!("/sessions/{session}/media/playlist.m3u8")).text();
        let known = self.known.entry(session.to_owned()).or_default();
        known.length_s = known.length_s.max(view["duration_s"].as_f64().unwrap());
        for (name, length_s) in fragments(&list) {
            let longest = &mut self.figures.longest_fragment_s;
            *longest = longest.max(length_s);
            assert!(
                length_s <= FRAGMENT_MOST_S,
                "{session}: {name} is {length_s} s, a crash would cost that"
            );
            if let Entry::Vacant(new) = known.fragments.entry(name) {
                let path = format!("/sessions/{session}/media/{}", new.key());
                new.insert(get(daemon, &self.token, &path).body);
            }
        }
    }

    /// Waits until every source records and has something acknowledged; returns their sessions.
    fn acknowledged(&mut self, daemon: &Daemon) -> Vec<String> {
        let sessions = self.recording_again(daemon);
        let began = Instant::now();
        loop {
            sessions.iter().for_each(|session| self.look(daemon, session));
            if sessions.iter().all(|session| !self.known[session].fragments.is_empty()) {
                return sessions;
            }
            assert!(began.elapsed() < PATIENCE, "{}", get(daemon, &self.token, "/sources").text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Keeps looking for a while, so that the last acknowledgement is as young as can be.
    fn watch(&mut self, daemon: &Daemon, sessions: &[String], how_long: Duration) {
        let began = Instant::now();
        while began.elapsed() < how_long {
            sessions.iter().for_each(|session| self.look(daemon, session));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn killed(&mut self, sessions: &[String], at_us: u64) {
        for session in sessions {
            self.known.entry(session.clone()).or_default().killed_us = Some(at_us);
        }
    }

    /// Checks every session that an earlier daemon left, each once.
    fn check_left(&mut self, daemon: &Daemon, current: &[String]) {
        let all = self.sessions(daemon);
        let ids: BTreeSet<&str> =
            all.iter().map(|session| session["id"].as_str().unwrap()).collect();
        for id in self.known.keys() {
            assert!(ids.contains(id.as_str()), "session {id} is gone");
        }
        for id in ids {
            let is_current = current.iter().any(|session| session == id);
            if !is_current && self.checked.insert(id.to_owned()) {
                let session = get(daemon, &self.token, &format!("/sessions/{id}")).json();
                self.check_session(daemon, &session);
            }
        }
    }

    fn check_session(&mut self, daemon: &Daemon, session: &Value) {
        let id = session["id"].as_str().unwrap();
        let none = Acknowledged::default();
        let known = self.known.get(id).unwrap_or(&none);
        let state = session["state"].as_str().unwrap();
        let closed = match session["chunks"].as_u64() {
            // Killed before its first picture.
            Some(0) => state == "failed",
            _ => ["stored", "anchored", "completed"].contains(&state),
        };
        assert!(closed, "left open: {session}");
        let length_s = session["duration_s"].as_f64().unwrap();
        assert!(length_s >= known.length_s, "{} s were acknowledged: {session}", known.length_s);
        // Byte for byte what was served before.
        let list = get(daemon, &self.token, &format!("/sessions/{id}/media/playlist.m3u8")).text();
        let there = fragments(&list);
        for (name, bytes) in &known.fragments {
            assert!(there.iter().any(|(n, _)| n == name), "{id}: {name} is gone from {list}");
            let now = get(daemon, &self.token, &format!("/sessions/{id}/media/{name}"));
            assert!(now.body == *bytes, "{id}: {name} has changed");
        }
        self.figures.fragments += known.fragments.len();
        let has_media = session["chunks"].as_u64().unwrap() > 0;
        assert_eq!(has_media, !there.is_empty(), "{session}");
        let reason = session["end_reason"].as_str().unwrap();
        if reason == "shutdown" {
            self.figures.in_order += 1;
            return;
        }
        assert_eq!(reason, CUT, "{session}");
        let gaps = session["gaps"].as_array().unwrap();
        if !has_media {
            assert_eq!(gaps.len(), 0, "{session}");
            self.figures.empty += 1;
            return;
        }
        let last = gaps.last().unwrap_or_else(|| panic!("says nothing of its end: {session}"));
        assert_eq!(last["reason"], CUT, "{session}");
        let missing_s = last["length_s"].as_f64().unwrap();
        assert!(missing_s > 0.0 && missing_s <= LOSS_MOST_S, "{session}");
        assert_eq!(last["stream_time_s"].as_f64(), Some(length_s), "not at its end: {session}");
        self.figures.cut += 1;
        if let Some(killed_us) = known.killed_us {
            let end: jiff::Timestamp = last["at"].as_str().unwrap().parse().unwrap();
            let until = killed_us as f64 / 1e6 - end.as_microsecond() as f64 / 1e6;
            self.figures.until_kill_s.push(until);
        }
    }

    fn print(&self, rounds: u64) {
        let figures = &self.figures;
        let mut until = figures.until_kill_s.clone();
        until.sort_by(f64::total_cmp);
        let at =
            |part: f64| until.get((part * (until.len() as f64 - 1.0)) as usize).unwrap_or(&0.0);
        println!(
            "kill9: {rounds} rounds, {} sessions: {} cut with media, {} cut before any, \
             {} ended in order; \
             {} acknowledged fragments all there, none longer than {:.3} s",
            self.checked.len(),
            figures.cut,
            figures.empty,
            figures.in_order,
            figures.fragments,
            figures.longest_fragment_s
        );
        println!(
            "kill9: from the end of what is there to the kill: median {:.3} s, 95 % {:.3} s, \
             most {:.3} s, over a second in {} of {} cuts",
            at(0.5),
            at(0.95),
            at(1.0),
            until.iter().filter(|s| **s > LOSS_MOST_S).count(),
            until.len()
        );
    }
}

/// Runs a command over the directory; it must succeed.
fn succeed(options: &[&str], data_dir: Option<&Path>) -> Value {
    let mut command = lucid();
    command.args(options);
    if let Some(data_dir) = data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    let output = command.output().unwrap();
    let (said, erred) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "lucid {}: {}\n{said}\n{erred}",
        options.join(" "),
        output.status
    );
    serde_json::from_str(&said).unwrap()
}

fn fsck(data_dir: &Path) {
    let report = succeed(&["fsck", "--json"], Some(data_dir));
    assert_eq!((&report["clean"], &report["damage"]), (&json!(true), &json!([])), "{report}");
}

/// Stops recording and waits until everything is on the chain, so that it can be exported and
/// judged.
fn settle(run: &mut Run, daemon: &Daemon) {
    for source in &run.sources {
        let path = format!("/sources/{source}");
        let quiet = call(daemon, &run.token, "PATCH", &path, Some(json!({"enabled": false})));
        assert_eq!(quiet.status, 200, "{}", quiet.text());
    }
    let began = Instant::now();
    loop {
        let all = run.sessions(daemon);
        let is_complete = |session: &Value| {
            session["state"] == "completed"
                || (session["state"] == "failed" && session["anchored"] != Value::Null)
        };
        let open: Vec<&Value> = all.iter().filter(|session| !is_complete(session)).collect();
        if open.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < 2 * PATIENCE,
            "{} of {} not complete: {:?}",
            open.len(),
            all.len(),
            open.first()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn number(name: &str, else_: u64) -> u64 {
    std::env::var(name)
        .map_or(else_, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

#[test]
fn killed_at_any_moment_it_loses_nothing_acknowledged_and_says_what_is_missing() {
    let rounds = number("LUCID_KILL_ROUNDS", ROUNDS).max(1);
    let seed = number("LUCID_KILL_SEED", now_us());
    println!("kill9: {rounds} rounds, LUCID_KILL_SEED={seed}");
    let mut dice = Dice(seed);
    let camera = Camera::start(CameraOptions::new(Picture::small())).unwrap();
    let mut data_dir = tempfile::tempdir().unwrap();
    let mut run: Option<Run> = None;
    for round in 0..rounds {
        let moment = Moment::draw(&mut dice, round);
        let began = Instant::now();
        let starting = begin_in(data_dir, OPTIONS);
        if let Moment::Starting(after) = moment {
            std::thread::sleep(after);
            data_dir = starting.kill();
            println!("kill9: round {round}: {moment:?}");
            continue;
        }
        let daemon = starting.ready();
        let up = began.elapsed();
        let run = run.get_or_insert_with(|| Run::begin(&daemon, &camera));
        let current = run.acknowledged(&daemon);
        run.check_left(&daemon, &current);
        match moment {
            Moment::Recording(after) => run.watch(&daemon, &current, after),
            Moment::Stopping(after) => {
                daemon.signal("TERM");
                std::thread::sleep(after);
            }
            Moment::Starting(_) => {}
        }
        let is_stopping = matches!(moment, Moment::Stopping(_));
        // Before the signal: a busy machine takes its time to end a process.
        let at_us = now_us();
        data_dir = daemon.kill();
        if !is_stopping {
            run.killed(&current, at_us);
        }
        if round % FSCK_EVERY == FSCK_EVERY / 2 {
            // Before anything is repaired.
            fsck(data_dir.path());
            run.print(round + 1);
        }
        let (up, all) = (up.as_secs_f64(), began.elapsed().as_secs_f64());
        println!("kill9: round {round}: {moment:?}, up in {up:.1} s, killed after {all:.1} s");
    }
    let mut run = run.unwrap();
    let daemon = begin_in(data_dir, OPTIONS).ready();
    let current = run.acknowledged(&daemon);
    run.check_left(&daemon, &current);
    settle(&mut run, &daemon);
    let ids: Vec<String> = run
        .sessions(&daemon)
        .iter()
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect();
    let (exit, log, data_dir) = daemon.stop();
    assert_eq!(exit, 0, "{log}");
    run.print(rounds);
    fsck(data_dir.path());
    let out = tempfile::tempdir().unwrap();
    let bundle = out.path().join("one.lucid");
    let bundle = bundle.to_str().unwrap();
    for id in &ids {
        succeed(&["export", id, "--out", bundle, "--json"], Some(data_dir.path()));
        succeed(&["verify", bundle, "--json"], None);
        std::fs::remove_file(bundle).unwrap();
    }
    println!("kill9: fsck finds nothing; {} exports are valid", ids.len());
}
