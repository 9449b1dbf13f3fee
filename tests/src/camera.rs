//! A real RTSP camera: GStreamer's RTSP server on loopback, with password, TLS, sound, and a plug
//! that can be pulled.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{
    RTSPAuth, RTSPFilterResult, RTSPMediaFactory, RTSPServer, RTSPToken, gio, gst_rtsp,
};

/// What the camera shows.
#[derive(Debug, Clone)]
pub enum Picture {
    /// A moving pattern as H.264 with a keyframe every `group` pictures.
    Pattern {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pictures per second.
        fps: u32,
        /// Pictures from one keyframe to the next.
        group: u32,
        /// Bit rate, kbit/s.
        kbps: u32,
    },
    /// An MP4 with H.264, from its start to its end; see [`clip`]. Costs next to nothing to serve.
    Clip(PathBuf),
    /// The pattern as H.265, a keyframe a second.
    Hevc,
    /// The pattern as Motion JPEG.
    Jpeg,
    /// H.264 under a name nobody knows.
    UnknownCodec,
    /// No pictures, only sound.
    None,
}

impl Picture {
    /// 320x240, 10 pictures a second, a keyframe a second.
    pub fn small() -> Self {
        Self::Pattern { width: 320, height: 240, fps: 10, group: 10, kbps: 200 }
    }

    fn launch(&self) -> Option<String> {
        Some(match self {
            Self::Pattern { width, height, fps, group, kbps } => format!(
                "videotestsrc is-live=true pattern=ball ! \
                 video/x-raw,width={width},height={height},framerate={fps}/1 ! \
                 x264enc tune=zerolatency speed-preset=ultrafast key-int-max={group} \
                 bitrate={kbps} option-string=scenecut=0 ! \
                 rtph264pay name=pay0 pt=96 config-interval=-1"
            ),
            Self::Clip(path) => format!(
                "filesrc location={} ! qtdemux ! h264parse ! \
                 rtph264pay name=pay0 pt=96 config-interval=-1",
                path.display()
            ),
            Self::Hevc => "videotestsrc is-live=true ! \
                 video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
                 x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! \
                 rtph265pay name=pay0 pt=96 config-interval=-1"
                .to_owned(),
            Self::Jpeg => "videotestsrc is-live=true ! \
                 video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
                           jpegenc ! rtpjpegpay name=pay0 pt=26"
                .to_owned(),
            Self::UnknownCodec => {
                "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1 ! \
                 x264enc tune=zerolatency ! rtph264pay pt=96 ! \
                 capssetter name=pay0 caps=application/x-rtp,encoding-name=X-NOBODY"
                    .to_owned()
            }
            Self::None => return None,
        })
    }
}

/// What the camera is like.
#[derive(Debug, Clone)]
pub struct CameraOptions {
    /// What it shows.
    pub picture: Picture,
    /// Sound as AAC.
    pub sound: bool,
    /// User name and password it asks for.
    pub login: Option<(String, String)>,
    /// `rtsps` with a certificate of its own making (PEM: certificate and key).
    pub tls: Option<String>,
    /// Port; 0 takes a free one.
    pub port: u16,
}

impl CameraOptions {
    /// A camera without sound, password and TLS on a free port.
    pub fn new(picture: Picture) -> Self {
        Self { picture, sound: false, login: None, tls: None, port: 0 }
    }
}

/// A running camera. Dropping it pulls the plug.
pub struct Camera {
    server: RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
    port: u16,
    options: CameraOptions,
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Camera(port {})", self.port)
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

impl Camera {
    /// Starts a camera at `rtsp://127.0.0.1:PORT/live`.
    ///
    /// # Errors
    /// When GStreamer or its RTSP server does not start, or the port is taken.
    pub fn start(options: CameraOptions) -> Result<Self, Problem> {
        gst::init()?;
        let context = glib::MainContext::new();
        let server = RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&options.port.to_string());
        let factory = RTSPMediaFactory::new();
        let mut launch = String::from("( ");
        launch.push_str(&options.picture.launch().unwrap_or_default());
        if options.sound {
            let name = if options.picture.launch().is_some() { "pay1" } else { "pay0" };
            launch.push_str(&format!(
                " audiotestsrc is-live=true wave=ticks ! \
                 audio/x-raw,rate=48000,channels=1 ! avenc_aac ! \
                 rtpmp4gpay name={name} pt=97"
            ));
        }
        launch.push_str(" )");
        factory.set_launch(&launch);
        // A file is shown to each client from its start; a pattern is one picture for all.
        factory.set_shared(!matches!(options.picture, Picture::Clip(_)));
        let auth = RTSPAuth::new();
        if let Some((user, password)) = &options.login {
            let token = RTSPToken::builder().field("media.factory.role", "viewer").build();
            auth.add_digest(user, password, &token);
            auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Digest);
            let role = gst::Structure::builder("viewer")
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build();
            factory.add_role_from_structure(&role);
        }
        if let Some(pem) = &options.tls {
            auth.set_tls_certificate(Some(&gio::TlsCertificate::from_pem(pem)?));
        }
        if options.login.is_some() || options.tls.is_some() {
            if options.login.is_none() {
                let mut token = RTSPToken::builder().field("media.factory.role", "anybody").build();
                auth.set_default_token(Some(&mut token));
                let role = gst::Structure::builder("anybody")
                    .field("media.factory.access", true)
                    .field("media.factory.construct", true)
                    .build();
                factory.add_role_from_structure(&role);
            }
            server.set_auth(Some(&auth));
        }
        let mounts = server.mount_points().ok_or("no mount points")?;
        mounts.add_factory("/live", factory);
        let source = server.create_source(gio::Cancellable::NONE)?;
        source.attach(Some(&context));
        let port = u16::try_from(server.bound_port())?;
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let inner = main_loop.clone();
        let thread = std::thread::spawn(move || {
            let _ = context.with_thread_default(|| inner.run());
            source.destroy();
        });
        Ok(Self { server, main_loop, thread: Some(thread), port, options })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, with the right user name and password if it wants them.
    pub fn uri(&self) -> String {
        let login =
            self.options.login.as_ref().map(|(u, p)| format!("{u}:{p}@")).unwrap_or_default();
        format!("{}://{login}127.0.0.1:{}/live", self.scheme(), self.port)
    }

    /// Its address at another port (of a relay), or with another login or path.
    pub fn uri_with(&self, login: &str, port: u16, path: &str) -> String {
        let at = if login.is_empty() { "" } else { "@" };
        format!("{}://{login}{at}127.0.0.1:{port}/{path}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls.is_some() { "rtsps" } else { "rtsp" }
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.server.client_filter(Some(&mut |_, _| RTSPFilterResult::Ref)).len()
    }

    /// Pulls the plug: all connections end. Returns what a camera needs to come back at the same
    /// port.
    pub fn stop(mut self) -> CameraOptions {
        let mut options = self.options.clone();
        options.port = self.port;
        self.halt();
        options
    }

    fn halt(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.server.client_filter(Some(&mut |_, _| RTSPFilterResult::Remove));
        self.main_loop.quit();
        let _ = thread.join();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Makes an MP4 that [`Picture::Clip`] can show: ten seconds of noise at about this bit rate,
/// `rounds` times.
///
/// # Errors
/// When an element or FFmpeg is missing.
pub fn clip(
    out: &Path,
    (width, height): (u32, u32),
    fps: u32,
    kbps: u32,
    rounds: u32,
) -> Result<(), Problem> {
    let once = out.with_extension("once.mp4");
    // Noise costs bits, so that the bit rate is reached.
    run(&format!(
        "videotestsrc pattern=snow num-buffers={} ! \
         video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} bitrate={kbps} \
         option-string=scenecut=0 ! video/x-h264,profile=high ! h264parse ! mp4mux ! \
         filesink location={}",
        10 * fps,
        once.display()
    ))?;
    let joined = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-stream_loop", &rounds.saturating_sub(1).to_string(), "-i"])
        .arg(&once)
        .args(["-c", "copy"])
        .arg(out)
        .status()?;
    if joined.success() { Ok(()) } else { Err("ffmpeg does not join the rounds".into()) }
}

/// Runs a pipeline to its end.
fn run(launch: &str) -> Result<(), Problem> {
    gst::init()?;
    let pipeline = gst::parse::launch(launch)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(120),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null)?;
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(e)) => Err(e.error().to_string().into()),
        _ => Err("the pipeline does not end".into()),
    }
}
