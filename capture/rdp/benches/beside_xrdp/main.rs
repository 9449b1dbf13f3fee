//! What a recorded desktop's wire costs beside Debian's xrdp with xorgxrdp: the same FreeRDP
//! client, the same programs on the desktop, the same counting of processor time and memory. Lucid
//! records meanwhile, up to what would be sealed and stored; xrdp records nothing.
//!
//! Run as root on a machine with both: `cargo bench -p lucid-rdp --bench beside_xrdp`. For xrdp it
//! makes the user [`xrdp::USER`] and deletes it at the end. Without root or without xrdp only Lucid
//! is measured. `LUCID_BENCH_SECONDS` is the length of each measurement, 15 without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod client;
mod lucid;
mod processes;
mod xrdp;

use std::path::Path;
use std::time::{Duration, Instant};

use client::Client;
use processes::Tree;

/// Width and height of every desktop, pixels.
pub const SIZE: (u16, u16) = (1024, 640);
/// Connections of which the median is told.
const CONNECTS: usize = 7;
/// Desktops of the measurement of memory.
const MANY: usize = 8;

/// What runs on the desktop; the same for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// A red screen and nothing that moves.
    Still,
    /// A terminal that fills the screen, 25 lines a second.
    Scroll,
    /// 640 x 360 pixels, 25 a second, of ever new content.
    Video,
}

impl Scene {
    /// The session's script.
    pub fn script(self, video: &Path) -> String {
        // No window manager runs, so windows say their size themselves: characters of 6 x 13
        // pixels, more of them than the screen has, or just as many.
        let red = "xterm -fn 6x13 -geometry 200x60+0+0 -bg '#ff0000' -fg '#ff0000' \
                   -cr '#ff0000' -b 0 +sb -e sleep 9999";
        let lines = "i=0; while :; do i=$((i+1)); echo $i of the lines that scroll by, \
                     $((i*7919%104729)) and $((i*31%997)) and $((i*i%10007)); sleep 0.04; done";
        match self {
            Scene::Still => format!("exec {red}"),
            Scene::Scroll => {
                format!("exec xterm -fn 6x13 -geometry 170x49+0+0 -b 0 +sb -e sh -c '{lines}'")
            }
            Scene::Video => {
                let video = video.display();
                let play = "videoconvert ! ximagesink";
                let decode = "qtdemux ! avdec_h264";
                format!(
                    "while :; do gst-launch-1.0 -q filesrc location={video} ! {decode} ! {play}
done"
                )
            }
        }
    }
}

/// A server with a desktop, reached at a port.
pub trait Contender {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Starts a desktop with a scene and says how a client gets in: port, user, password.
    fn stage(&mut self, scene: Scene, video: &Path) -> (u16, String, String);
    /// The processes that serve it, X server included, programs on the desktop not.
    fn processes(&self) -> Tree;
    /// Ends desktop and server.
    fn clear(&mut self);
}

#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    first_frame_ms: f64,
    idle_percent: f64,
    scroll_percent: f64,
    scroll_seen: f64,
    video_percent: f64,
    video_seen: f64,
}

fn main() {
    if let Some(scene) = std::env::args().skip_while(|arg| arg != "--serve").nth(1) {
        return lucid::serve(&scene);
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    lucid::open_to_all(dir.path());
    let seconds = std::env::var("LUCID_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(15));
    let video = dir.path().join("video.mp4");
    make_video(&video);
    let client = Client::new(dir.path());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.split(' ').next().unwrap_or("?"));

    let mut all: Vec<(&str, Figures)> = Vec::new();
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(lucid::Lucid::new(dir.path()))];
    match xrdp::Xrdp::new(dir.path()) {
        Ok(xrdp) => contenders.push(Box::new(xrdp)),
        Err(why) => println!("xrdp is not measured: {why}"),
    }
    for contender in &mut contenders {
        let figures = measure(contender.as_mut(), &client, &video, length);
        all.push((contender.name(), figures));
    }
    drop(contenders);
    tell(&all);
    let (each, server) = lucid::memory(dir.path(), &client, MANY);
    println!(
        "{MANY} connected, idle desktops: {:.1} MiB resident each in the server's process, \
         {:.1} MiB with its X server (wanted: at most 60 MB beyond X server and programs)",
        each / f64::from(1 << 20),
        server / f64::from(1 << 20)
    );
}

fn measure(
    contender: &mut dyn Contender,
    client: &Client,
    video: &Path,
    length: Duration,
) -> Figures {
    let mut figures = Figures::default();
    let name = contender.name();
    for scene in [Scene::Still, Scene::Scroll, Scene::Video] {
        let (port, user, password) = contender.stage(scene, video);
        // The session is there before anything is measured: xrdp makes it at the first login.
        let first = client.connect(port, &user, &password);
        match scene {
            Scene::Still => client.until_red(),
            _ => client.until_moving(),
        }
        if scene == Scene::Still {
            drop(first);
            let mut times: Vec<f64> = (0..CONNECTS)
                .map(|_| client.first_frame(port, &user, &password).as_secs_f64() * 1e3)
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{name}: first frames after {times:.0?} ms");
            figures.first_frame_ms = times[CONNECTS / 2];
            let connected = client.connect(port, &user, &password);
            client.until_red();
            settle();
            figures.idle_percent = share(contender, length);
            drop(connected);
        } else {
            settle();
            let before = Instant::now();
            let cpu = contender.processes().cpu();
            let seen = client.pictures_seen(length);
            let percent =
                100.0 * (contender.processes().cpu() - cpu) / before.elapsed().as_secs_f64();
            println!("{name}: {scene:?}: {}", contender.processes().describe());
            match scene {
                Scene::Scroll => (figures.scroll_percent, figures.scroll_seen) = (percent, seen),
                _ => (figures.video_percent, figures.video_seen) = (percent, seen),
            }
            drop(first);
        }
        contender.clear();
    }
    figures
}

/// What starting costs is not part of what is measured.
fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

/// Processor time over a length, percent of one core.
fn share(contender: &dyn Contender, length: Duration) -> f64 {
    let (began, before) = (Instant::now(), contender.processes().cpu());
    std::thread::sleep(length);
    100.0 * (contender.processes().cpu() - before) / began.elapsed().as_secs_f64()
}

fn make_video(path: &Path) {
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "mandelbrot=s=640x360:r=25", "-t", "60"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}

fn tell(all: &[(&str, Figures)]) {
    println!("| | {} |", all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(all.len()));
    let row = |what: &str, get: &dyn Fn(&Figures) -> f64, unit: &str| {
        let cells: Vec<String> =
            all.iter().map(|(_, figures)| format!("{:.1} {unit}", get(figures))).collect();
        println!("| {what} | {} |", cells.join(" | "));
    };
    row("connect to first complete frame", &|f| f.first_frame_ms, "ms");
    row("idle, connected", &|f| f.idle_percent, "% of a core");
    row("a terminal scrolls", &|f| f.scroll_percent, "% of a core");
    row("pictures seen of it", &|f| f.scroll_seen, "/s");
    row("a 640x360 video plays", &|f| f.video_percent, "% of a core");
    row("pictures seen of it", &|f| f.video_seen, "/s");
}
