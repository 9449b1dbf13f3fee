//! The machine Lucid runs on: which board, which cameras, which encoder, how hot, how full, and
//! the light and the button on its front.
//!
//! Hardware that is missing is a state, never an error: Lucid runs on a Pi 5 with everything and
//! on a rented server with nothing, and says which. What judges is pure and is given the answers
//! of the system ([`v4l2::VideoNodes`], [`Machine`], levels and times), so boards nobody has at
//! hand are tested from recorded answers.
//!
//! This is the only crate where `unsafe` may stand, and in it only `v4l2/sys.rs`.

#![deny(unsafe_code)]

pub mod board;
pub mod button;
pub mod camera;
pub mod cgroup;
pub mod disk;
pub mod encoder;
pub mod gpio;
pub mod led;
pub mod panel;
pub mod thermal;
pub mod v4l2;

mod machine;

pub use board::Board;
pub use camera::Camera;
pub use encoder::EncoderReport;
pub use machine::Machine;

/// The board this process runs on.
pub fn board() -> Board {
    Board::read(&Machine::here())
}

/// The cameras attached now: V4L2 devices and CSI sensors that libcamera can drive.
pub fn cameras() -> Vec<Camera> {
    camera::discover(&v4l2::System::new(), &Machine::here())
}

/// Whether the board encodes H.264 in hardware, with everything that was looked at.
pub fn encoders() -> EncoderReport {
    encoder::probe(&v4l2::System::new(), &board())
}
