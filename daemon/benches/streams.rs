//! What does the whole daemon cost that records 16 cameras: processor time beside
//! `gst-launch-1.0` receiving and writing one of them, memory, and gaps?
//!
//! The cameras are one RTSP server with a 1080p30 film of 4 Mbit/s, received 16 times over TCP and
//! kept as it comes: sealed, hashed, made durable, anchored. `LUCID_BENCH_SECONDS` sets how long.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use lucid_tests::camera::{Camera, CameraOptions, Picture, clip};
use serde_json::json;
use std::process::{Child, Command};
use std::time::Duration;
use support::Daemon;

const STREAMS: usize = 16;
/// Connecting and the first keyframes, before measuring.
const WARM_UP: Duration = Duration::from_secs(8);

fn main() {
    let seconds = std::env::var("LUCID_BENCH_SECONDS").map_or(30, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let film = dir.path().join("film.mp4");
    clip(&film, (1920, 1080), 30, 4000, (4 * (seconds + 30) / 10) as u32).unwrap();
    let camera = Camera::start(CameraOptions::new(Picture::Clip(film))).unwrap();
    println!("1920x1080, 30 pictures/s, about 4000 kbit/s by RTSP over TCP, {seconds} s each");

    let out = dir.path().join("gst.mp4");
    let location = format!("location={}", camera.uri());
    let sink = format!("location={}", out.display());
    let mut gst = Command::new("gst-launch-1.0")
        .args(["-q", "rtspsrc", &location, "protocols=tcp", "latency=100", "!"])
        .args(["rtph264depay", "!", "h264parse", "!", "mp4mux", "!", "filesink", &sink])
        .spawn()
        .unwrap();
    std::thread::sleep(WARM_UP);
    let peer = cpu_over(gst.id(), seconds);
    end(&mut gst);
    println!("gst-launch-1.0, 1 stream: {peer:.2} s of processor time");

    for streams in [1, STREAMS] {
        let daemon = support::start(&["--set", "record.demo=false"]);
        let token = daemon.claim();
        let authorization = format!("Bearer {token}");
        for number in 0..streams {
            let body = json!({ "name": format!("Camera {number}"), "uri": camera.uri() });
            let headers = [("Authorization", authorization.as_str())];
            let answer = daemon.send("POST", "/api/v1/sources", &headers, Some(&body));
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        std::thread::sleep(WARM_UP);
        let cpu = cpu_over(daemon.pid(), seconds);
        let resident = daemon.resident_bytes() / (1 << 20);
        let (gaps, recording) = gaps(&daemon, &token);
        println!(
            "lucid, {streams} streams: {cpu:.2} s of processor time, {:.2} times gst-launch-1.0 a \
             stream; {resident} MiB resident; {recording} recording, {gaps} gaps",
            cpu / streams as f64 / peer
        );
        daemon.stop();
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Processor time that a process and its threads use in so many seconds, in seconds.
fn cpu_over(pid: u32, seconds: u64) -> f64 {
    let before = cpu(pid);
    std::thread::sleep(Duration::from_secs(seconds));
    cpu(pid) - before
}

fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn gaps(daemon: &Daemon, token: &str) -> (usize, usize) {
    let sessions = daemon.get("/api/v1/sessions", token).json();
    let items = sessions["items"].as_array().unwrap();
    let gaps = items.iter().map(|item| item["gaps"].as_array().unwrap().len()).sum();
    (gaps, items.iter().filter(|item| item["state"] == "recording").count())
}
