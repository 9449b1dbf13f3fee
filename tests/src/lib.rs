//! Support for the black-box tests: sample evidence, the fuzz targets as ordinary functions, and
//! cameras and networks that really exist, on loopback.
#![forbid(unsafe_code)]
// All of this runs in tests only, where a broken expectation must stop the test.
#![allow(clippy::expect_used)]

pub mod camera;
pub mod container;
pub mod relay;
pub mod sample;
pub mod targets;

use std::path::{Path, PathBuf};

/// A file of `tests/fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
