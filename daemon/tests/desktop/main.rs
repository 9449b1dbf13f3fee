//! Workers on recorded desktops: the real daemon, a real xfreerdp in an X server of its own, and
//! tesseract to read what was recorded.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod contract;
mod evidence;
mod faults;
mod hands;
mod office;
mod rights;
