//! Support for the black-box tests: sample evidence, and the fuzz targets as ordinary functions.
#![forbid(unsafe_code)]
// All of this runs in tests only, where a broken expectation must stop the test.
#![allow(clippy::expect_used)]

pub mod chain_vectors;
pub mod container;
pub mod sample;
pub mod targets;
