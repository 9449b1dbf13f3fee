//! The grabber against a real X server: what is drawn, resized, refused and lost.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lucid_capture::screen::{Access, Damage, Grabber, Rect, ScreenAddress, ScreenError};
use x11rb::connection::Connection;
use x11rb::protocol::randr::{ConnectionExt as _, Rotation};
use x11rb::protocol::xproto::{ConnectionExt as _, CreateGCAux, Gcontext, Rectangle, Window};
use x11rb::rust_connection::RustConnection;

/// Longer than anything here takes; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An X server that ends with the test.
struct Xvfb {
    child: Child,
    display: u16,
}

impl Xvfb {
    /// `None` when it is not installed.
    fn start(options: &[&str]) -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp", "-noreset"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .inspect_err(|e| println!("skipped: no Xvfb: {e}"))
            .ok()?;
        // It writes its number when it is ready.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, display: line.trim().parse().unwrap() })
    }

    fn address(&self) -> ScreenAddress {
        ScreenAddress { display: self.display, access: Access::Open }
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another program on the same display.
struct Painter {
    server: RustConnection,
    root: Window,
    gc: Gcontext,
}

impl Painter {
    fn new(screen: &Xvfb) -> Self {
        let (server, _) = RustConnection::connect(Some(&format!(":{}", screen.display))).unwrap();
        let root = server.setup().roots[0].root;
        let gc = server.generate_id().unwrap();
        let colour = CreateGCAux::new().foreground(0x0012_3456);
        server.create_gc(gc, root, &colour).unwrap().check().unwrap();
        Self { server, root, gc }
    }

    fn fill(&self, x: i16, y: i16, width: u16, height: u16) {
        let rect = Rectangle { x, y, width, height };
        self.server.poly_fill_rectangle(self.root, self.gc, &[rect]).unwrap().check().unwrap();
    }
}

fn pixel(grabber: &Grabber, x: usize, y: usize) -> [u8; 3] {
    let frame = grabber.frame();
    let at = y * frame.stride + x * 4;
    frame.pixels[at..at + 3].try_into().unwrap()
}

/// Everything that changes until `enough`.
fn changes(grabber: &mut Grabber, enough: impl Fn(&Grabber, &Damage) -> bool) -> Damage {
    loop {
        let damage = grabber.wait(PATIENCE).unwrap();
        assert!(!damage.is_empty(), "nothing changed");
        if enough(grabber, &damage) {
            return damage;
        }
    }
}

const PAINT: [u8; 3] = [0x56, 0x34, 0x12];

fn paint_and_look(options: &[&str], told: bool, shared: bool) {
    let Some(screen) = Xvfb::start(options) else { return };
    let mut grabber = Grabber::connect(&screen.address()).unwrap();
    assert_eq!((grabber.is_told(), grabber.is_shared()), (told, shared));
    assert_eq!(grabber.size(), (320, 240));
    assert_eq!(grabber.frame().pixels.len(), 320 * 240 * 4);
    assert_eq!(pixel(&grabber, 100, 50), [0, 0, 0]);
    let painter = Painter::new(&screen);
    painter.fill(100, 50, 30, 20);
    let damage = changes(&mut grabber, |g, _| pixel(g, 100, 50) == PAINT);
    if told {
        assert!(
            damage.rects.contains(&Rect { x: 100, y: 50, width: 30, height: 20 }),
            "{damage:?}"
        );
    }
    assert!(!damage.resized);
    assert_eq!(pixel(&grabber, 129, 69), PAINT);
    assert_eq!(pixel(&grabber, 130, 69), [0, 0, 0]);
    assert_eq!(pixel(&grabber, 99, 50), [0, 0, 0]);
    // Rows as wide as the display take the short way; parts outside do not count.
    painter.fill(-5, 200, 400, 100);
    changes(&mut grabber, |g, _| pixel(g, 0, 200) == PAINT && pixel(g, 319, 239) == PAINT);
    assert_eq!(pixel(&grabber, 319, 199), [0, 0, 0]);
    assert_eq!(grabber.wait(Duration::ZERO).unwrap().rects, []);
}

#[test]
fn what_is_drawn_is_reported_and_read_through_shared_memory() {
    paint_and_look(&[], true, true);
}

#[test]
fn without_shared_memory_the_socket_carries_it() {
    paint_and_look(&["-extension", "MIT-SHM"], true, false);
}

#[test]
fn without_damage_reports_pictures_are_compared() {
    paint_and_look(&["-extension", "DAMAGE"], false, true);
}

#[test]
fn sixteen_bits_become_thirty_two() {
    let Some(screen) = Xvfb::start(&["-screen", "0", "64x48x16"]) else { return };
    let mut grabber = Grabber::connect(&screen.address()).unwrap();
    let painter = Painter::new(&screen);
    painter.fill(0, 0, 64, 48);
    // 0x3456: red 6 of 31, green 34 of 63, blue 22 of 31.
    changes(&mut grabber, |g, _| pixel(g, 63, 47) == [181, 138, 49]);
}

#[test]
fn another_size_is_followed() {
    let Some(screen) = Xvfb::start(&[]) else { return };
    let mut grabber = Grabber::connect(&screen.address()).unwrap();
    let painter = Painter::new(&screen);
    let (server, root) = (&painter.server, painter.root);
    // No part of the display may still be shown outside its new size.
    let shown = server.randr_get_screen_resources_current(root).unwrap().reply().unwrap();
    for crtc in shown.crtcs {
        server
            .randr_set_crtc_config(crtc, 0, 0, 0, 0, x11rb::NONE, Rotation::ROTATE0, &[])
            .unwrap()
            .reply()
            .unwrap();
    }
    server.randr_set_screen_size(root, 200, 100, 50, 25).unwrap().check().unwrap();
    let damage = changes(&mut grabber, |_, damage| damage.resized);
    assert_eq!(damage.rects, [Rect { x: 0, y: 0, width: 200, height: 100 }]);
    assert_eq!((grabber.size(), grabber.frame().pixels.len()), ((200, 100), 200 * 100 * 4));
    painter.fill(190, 90, 10, 10);
    changes(&mut grabber, |g, _| pixel(g, 199, 99) == PAINT);
}

#[test]
fn the_pointer_is_where_it_was_put() {
    let Some(screen) = Xvfb::start(&[]) else { return };
    let mut grabber = Grabber::connect(&screen.address()).unwrap();
    let painter = Painter::new(&screen);
    painter
        .server
        .warp_pointer(x11rb::NONE, painter.root, 0, 0, 0, 0, 17, 23)
        .unwrap()
        .check()
        .unwrap();
    let cursor = grabber.cursor().unwrap().unwrap();
    assert_eq!((cursor.x, cursor.y), (17, 23));
    assert_eq!(cursor.argb.len(), usize::from(cursor.width) * usize::from(cursor.height));
}

#[test]
fn a_server_that_dies_is_an_error_and_nothing_else() {
    let Some(mut screen) = Xvfb::start(&[]) else { return };
    let mut grabber = Grabber::connect(&screen.address()).unwrap();
    screen.child.kill().unwrap();
    screen.child.wait().unwrap();
    let lost = loop {
        if let Err(error) = grabber.wait(PATIENCE) {
            break error;
        }
    };
    assert!(matches!(&lost, ScreenError::Lost { .. }), "{lost:?}");
    assert!(matches!(grabber.cursor(), Err(ScreenError::Lost { .. })));
    let gone = Grabber::connect(&screen.address()).unwrap_err();
    assert!(matches!(&gone, ScreenError::NoServer { .. }), "{gone:?}");
}

#[test]
fn a_cookie_opens_and_a_wrong_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cookies");
    let cookie = [7u8; 16];
    let mut entry = 65535u16.to_be_bytes().to_vec();
    for part in [&b""[..], b"", b"MIT-MAGIC-COOKIE-1", &cookie] {
        entry.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        entry.extend(part);
    }
    std::fs::File::create(&path).unwrap().write_all(&entry).unwrap();
    let Some(screen) = Xvfb::start(&["-auth", path.to_str().unwrap()]) else { return };
    let with = |access| {
        Grabber::connect(&ScreenAddress { display: screen.display, access }).map(|g| g.size())
    };
    assert_eq!(with(Access::File(path.clone())).unwrap(), (320, 240));
    assert_eq!(with(Access::Cookie(cookie.to_vec().into())).unwrap(), (320, 240));
    let wrong = with(Access::Cookie(vec![8; 16].into())).unwrap_err();
    assert!(matches!(&wrong, ScreenError::Denied { .. }), "{wrong:?}");
    assert!(matches!(with(Access::Open), Err(ScreenError::Denied { .. })));
    let missing = with(Access::File(dir.path().join("none"))).unwrap_err();
    assert!(matches!(&missing, ScreenError::Authority { .. }), "{missing:?}");
}
