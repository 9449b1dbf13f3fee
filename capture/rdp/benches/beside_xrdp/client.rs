//! The worker's computer: an X server and xfreerdp in it, and what a person would see there.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use super::SIZE;

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the screen.
const LOOK: Duration = Duration::from_millis(2);

/// A process that ends with its owner.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Client {
    number: u16,
    screen: RustConnection,
    home: PathBuf,
    _server: Ended,
}

impl Client {
    pub fn new(dir: &Path) -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0"])
            .arg(format!("{}x{}x24", SIZE.0, SIZE.1))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let number: u16 = line.trim().parse().unwrap();
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).unwrap();
        let (stream, _) = DefaultStream::from_unix_stream(stream).unwrap();
        let screen =
            RustConnection::connect_to_stream_with_auth_info(stream, 0, vec![], vec![]).unwrap();
        Client { number, screen, home: dir.to_owned(), _server: Ended(server) }
    }

    pub fn connect(&self, port: u16, user: &str, password: &str) -> Ended {
        self.blacken();
        let child = Command::new("xfreerdp")
            .env("DISPLAY", format!(":{}", self.number))
            .env("HOME", &self.home)
            .args([format!("/v:127.0.0.1:{port}"), format!("/u:{user}"), format!("/p:{password}")])
            .arg(format!("/size:{}x{}", SIZE.0, SIZE.1))
            .args(["/cert:ignore", "/sec:tls", "/rfx", "/bpp:32", "-wallpaper", "-decorations"])
            .args(["/log-level:OFF", "/network:lan"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Ended(child)
    }

    /// From the client's TCP connection to a desktop that is seen whole. It goes through
    /// this process, which notes when it came.
    pub fn first_frame(&self, port: u16, user: &str, password: &str) -> Duration {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap().port();
        let relay = std::thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let began = Instant::now();
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far.try_clone().unwrap(), near.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
            began
        });
        let client = self.connect(at, user, password);
        self.until_red();
        let seen = Instant::now();
        let began = relay.join().unwrap();
        drop(client);
        // The server is done with it before the next comes.
        std::thread::sleep(Duration::from_millis(500));
        seen - began
    }

    /// Until every part of the screen shows the red desktop.
    pub fn until_red(&self) {
        let red =
            |pixels: &[u8]| pixels.chunks_exact(4).all(|p| p[2] > 200 && p[1] < 60 && p[0] < 60);
        let (right, bottom) = (SIZE.0 as i16 - 24, SIZE.1 as i16 - 24);
        let middle = (SIZE.0 as i16 / 2, SIZE.1 as i16 / 2);
        let corners = [(8, 8), (right, 8), (8, bottom), (right, bottom), middle];
        self.until("the desktop is red", || {
            corners.iter().all(|(x, y)| red(&self.pixels(*x, *y, 16, 16)))
        });
    }

    /// Until the desktop's picture moves.
    pub fn until_moving(&self) {
        let begun = self.look();
        self.until("something is seen", || self.look() != begun);
        std::thread::sleep(Duration::from_secs(2));
        let begun = self.look();
        self.until("it moves", || self.look() != begun);
    }

    /// Different pictures a second that a person could see.
    pub fn pictures_seen(&self, length: Duration) -> f64 {
        let began = Instant::now();
        let (mut last, mut seen) = (self.look(), 0u32);
        while began.elapsed() < length {
            std::thread::sleep(LOOK);
            let now = self.look();
            if now != last {
                seen += 1;
                last = now;
            }
        }
        f64::from(seen) / began.elapsed().as_secs_f64()
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
            std::thread::sleep(LOOK);
        }
    }

    /// A strip of the picture in which scenes move: 640 x 360 from the corner is the video.
    fn look(&self) -> Vec<u8> {
        self.pixels(0, 170, 640, 24)
    }

    fn pixels(&self, x: i16, y: i16, width: u16, height: u16) -> Vec<u8> {
        let root = self.screen.setup().roots[0].root;
        let format = ImageFormat::Z_PIXMAP;
        let image = self.screen.get_image(format, root, x, y, width, height, u32::MAX).unwrap();
        image.reply().unwrap().data
    }

    fn blacken(&self) {
        let root = self.screen.setup().roots[0].root;
        self.screen.clear_area(false, root, 0, 0, 0, 0).unwrap().check().unwrap();
    }
}
