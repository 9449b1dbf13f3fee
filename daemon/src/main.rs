//! The Lucid daemon and command line.
fn main() {}
