//! A real xfreerdp against the real server and a real desktop: who is let in, what is shown, what
//! reaches the desktop, what goes over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod clipboard;
mod entry;
mod keys;
mod size;
mod sound;
mod stage;
mod video;
