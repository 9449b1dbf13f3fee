//! Which cameras are attached: USB and other V4L2 cameras by asking each video node, CSI sensors
//! by the kernel's list of sub-devices.
//!
//! A CSI sensor has no pictures for anybody but libcamera: its video node gives raw Bayer data
//! that nothing has exposed or white-balanced. So it is offered under libcamera's name for it,
//! which is the sensor's path in the device tree. Whether libcamera has a tuning file for it shows
//! when the source is opened.

use crate::Machine;
use crate::v4l2::{self, FourCc, Queue, Size, VideoNodes};

/// Drivers whose video nodes belong to libcamera and are no cameras by themselves.
const LIBCAMERA_DRIVERS: [&str; 5] = ["rp1-cfe", "unicam", "bcm2835-isp", "pispbe", "rkisp1"];
/// I2C devices on camera modules that take no picture: lens motors, flash, serialisers.
const NO_SENSORS: [&str; 9] =
    ["dw9", "ak73", "ad5398", "ad5821", "bu64754", "lm3", "max9", "ds90", "as3645a"];
/// Sub-devices looked at, at most.
const MAX_SUBDEVICES: usize = 64;

/// How a camera is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CameraKind {
    /// A V4L2 device.
    V4l2,
    /// A sensor behind libcamera.
    Libcamera,
}

/// A format a camera offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraFormat {
    /// Pixel format.
    pub fourcc: FourCc,
    /// Whether the camera compresses it.
    pub compressed: bool,
    /// Largest picture, where the driver says.
    pub largest: Option<Size>,
}

/// One camera that can be offered to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Camera {
    /// The source URI to record it with.
    pub uri: String,
    /// What it calls itself.
    pub name: String,
    /// How it is reached.
    pub kind: CameraKind,
    /// Kernel driver, or the sensor's model.
    pub driver: String,
    /// What it offers; empty for libcamera, which negotiates when it is opened.
    pub formats: Vec<CameraFormat>,
    /// What the operator should know, in one sentence; empty when there is nothing to say.
    pub note: String,
}

/// All cameras of the machine, V4L2 first. A node that cannot be asked is no camera now; it is
/// logged and left out.
pub fn discover(nodes: &dyn VideoNodes, machine: &Machine) -> Vec<Camera> {
    let mut cameras = v4l2_cameras(nodes);
    cameras.extend(sensors(machine));
    cameras
}

fn v4l2_cameras(nodes: &dyn VideoNodes) -> Vec<Camera> {
    let mut cameras = Vec::new();
    for path in nodes.paths() {
        let asked = nodes.open(&path).and_then(|node| {
            let capability = node.query_capability()?;
            Ok((node, capability))
        });
        let (node, capability) = match asked {
            Ok(asked) => asked,
            Err(error) => {
                tracing::debug!(device = %path.display(), %error, "video node left out");
                continue;
            }
        };
        if !capability.is_capture() || LIBCAMERA_DRIVERS.contains(&capability.driver.as_str()) {
            continue;
        }
        let queue =
            if capability.is_multi_planar() { Queue::CaptureMplane } else { Queue::Capture };
        let formats = match v4l2::formats(node.as_ref(), queue) {
            Ok(formats) if !formats.is_empty() => formats,
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(device = %path.display(), %error, "camera lists no formats");
                continue;
            }
        };
        let formats: Vec<CameraFormat> = formats
            .iter()
            .map(|format| CameraFormat {
                fourcc: format.fourcc,
                compressed: matches!(&format.fourcc.0, b"MJPG" | b"JPEG" | b"H264" | b"HEVC"),
                largest: v4l2::sizes(node.as_ref(), format.fourcc).first().copied(),
            })
            .collect();
        let uri_path = nodes.stable_path(&path).unwrap_or_else(|| path.clone());
        cameras.push(Camera {
            uri: format!("v4l2://{}", uri_path.display()),
            name: capability.card,
            kind: CameraKind::V4l2,
            driver: capability.driver,
            note: note(&formats, uri_path == path),
            formats,
        });
    }
    cameras
}

fn note(formats: &[CameraFormat], numbered: bool) -> String {
    let has = |fourcc| formats.iter().any(|format| format.fourcc == fourcc);
    let mut notes = Vec::new();
    if has(FourCc::H264) {
        notes.push("gives H.264, recorded as it comes");
    } else if has(FourCc::MJPG) {
        notes.push("gives MJPEG");
    } else {
        notes.push("gives raw pictures, encoded here");
    }
    if numbered {
        notes.push("its number may change when other cameras are plugged in");
    }
    notes.join("; ")
}

/// CSI sensors. The kernel names an I2C sub-device `imx708 10-001a`: model, bus and address.
fn sensors(machine: &Machine) -> Vec<Camera> {
    const CLASS: &str = "/sys/class/video4linux";
    let mut cameras = Vec::new();
    let names = machine.names(CLASS).into_iter().filter(|name| name.starts_with("v4l-subdev"));
    for entry in names.take(MAX_SUBDEVICES) {
        let Some(name) = machine.text(&format!("{CLASS}/{entry}/name")) else { continue };
        let Some(model) = sensor_model(&name) else { continue };
        let node = machine.link(&format!("{CLASS}/{entry}/device/of_node"));
        let id = node.as_deref().and_then(|node| node.strip_prefix("/sys/firmware/devicetree"));
        let note = match id {
            Some(_) => "camera module, needs libcamera",
            None => "camera module, needs libcamera; recorded as the first camera it finds",
        };
        cameras.push(Camera {
            uri: format!("libcamera://{}", id.unwrap_or("")),
            name: format!("{model} camera module"),
            kind: CameraKind::Libcamera,
            driver: model.to_owned(),
            formats: Vec::new(),
            note: note.to_owned(),
        });
    }
    cameras
}

/// The sensor's model when a sub-device is a sensor on an I2C bus.
fn sensor_model(name: &str) -> Option<&str> {
    let (model, place) = name.rsplit_once(' ')?;
    let (bus, address) = place.split_once('-')?;
    let on_i2c = !bus.is_empty()
        && bus.bytes().all(|b| b.is_ascii_digit())
        && address.len() == 4
        && address.bytes().all(|b| b.is_ascii_hexdigit());
    (on_i2c && !NO_SENSORS.iter().any(|start| model.starts_with(start))).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;
    use crate::v4l2::recorded::{Recorded, pi4, pi5, uvc};

    #[test]
    fn a_usb_camera_is_one_camera_under_a_lasting_name() {
        let cameras = discover(&uvc(), &Fake::new(&[]).machine());
        assert_eq!(cameras.len(), 1, "the metadata node is no camera: {cameras:#?}");
        let camera = &cameras[0];
        assert_eq!(camera.uri, "v4l2:///dev/v4l/by-id/usb-046d_C920-video-index0");
        assert_eq!(camera.name, "HD Pro Webcam C920");
        assert_eq!(camera.note, "gives H.264, recorded as it comes");
        let raw = &camera.formats[0];
        assert!(raw.fourcc == FourCc::YUYV && !raw.compressed);
        assert_eq!(raw.largest, Some(Size { width: 1920, height: 1080 }));
        assert!(camera.formats[1].compressed && camera.formats[2].compressed);
    }

    #[test]
    fn without_a_lasting_name_the_number_is_used_and_said() {
        let mut nodes = uvc();
        nodes.nodes[0].1.stable = None;
        nodes.nodes[0].1.capture = vec!["YUYV"];
        let cameras = discover(&nodes, &Fake::new(&[]).machine());
        assert_eq!(cameras[0].uri, "v4l2:///dev/video0");
        assert!(cameras[0].note.contains("encoded here; its number may change"));
    }

    #[test]
    fn codecs_and_bare_csi_receivers_are_no_cameras() {
        let machine = Fake::new(&[]);
        assert_eq!(discover(&pi4(), &machine.machine()), []);
        assert_eq!(discover(&pi5(), &machine.machine()), []);
        assert_eq!(discover(&Recorded::default(), &machine.machine()), []);
    }

    #[test]
    fn a_device_that_errs_is_left_out() {
        for call in ["open", "querycap", "enum_fmt"] {
            let mut nodes = uvc();
            nodes.nodes[0].1.fails.insert(call, 19);
            assert_eq!(discover(&nodes, &Fake::new(&[]).machine()), [], "{call}");
        }
    }

    #[test]
    fn csi_sensors_are_offered_under_libcameras_name() {
        const SENSOR: &str =
            "/sys/firmware/devicetree/base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a";
        let fake = Fake::new(&[
            ("/sys/class/video4linux/v4l-subdev0/name", "csi2\n"),
            ("/sys/class/video4linux/v4l-subdev1/name", "pisp-fe\n"),
            ("/sys/class/video4linux/v4l-subdev2/name", "imx708 10-001a\n"),
            ("/sys/class/video4linux/v4l-subdev3/name", "dw9807 10-000c\n"),
            ("/sys/class/video4linux/v4l-subdev4/name", "imx219 4-0010\n"),
            (&format!("{SENSOR}/compatible"), "sony,imx708"),
        ])
        .link("/sys/class/video4linux/v4l-subdev2/device/of_node", SENSOR);
        let cameras = discover(&pi5(), &fake.machine());
        let uris: Vec<&str> = cameras.iter().map(|camera| camera.uri.as_str()).collect();
        assert_eq!(
            uris,
            ["libcamera:///base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a", "libcamera://"]
        );
        assert_eq!(cameras[0].name, "imx708 camera module");
        assert!(cameras[1].note.contains("first camera it finds"));
    }
}
