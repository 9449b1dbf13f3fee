//! `lucid-pay`: what the payment process is made of. It knows TRON and money, and nothing of
//! recordings or the chain of the nodes.
#![forbid(unsafe_code)]

pub mod tron;
