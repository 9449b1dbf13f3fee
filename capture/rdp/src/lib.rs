//! Recorded desktops: who may enter, what they may do there, what is written down of it, and in
//! which state a connection is.
//!
//! What decides is pure: time, randomness and bytes come in as arguments. [`policy`] says what a
//! session allows, [`credential`] who may open it, [`controller`] carries it through its states,
//! and [`event`] is what the recording keeps beside the picture. [`desktop`] is the machine's side:
//! definitions, ports, X servers and session commands within their limits; [`monitor`] is what is
//! measured of them, [`windows`] which of their windows is looked at. [`server`] speaks RDP, and
//! [`session`] is where it meets the rest.
#![forbid(unsafe_code)]

pub mod controller;
pub mod credential;
pub mod desktop;
mod display;
pub mod event;
pub mod monitor;
pub mod policy;
pub mod secrecy;
pub mod server;
pub mod session;
pub mod sound;
pub mod windows;
