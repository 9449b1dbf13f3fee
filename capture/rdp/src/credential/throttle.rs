//! Slows down addresses from which wrong credentials come.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures from an address before it has to wait.
pub const FAILURES_FREE: u32 = 5;
/// The first wait, microseconds; doubled with every further failure.
pub const WAIT_FIRST_US: u64 = 5_000_000;
/// The longest wait, microseconds. Failures are forgotten this long after the last one's wait.
pub const WAIT_MAX_US: u64 = 900_000_000;
/// Most addresses remembered. At the limit the one that failed longest ago is forgotten.
pub const ADDRESSES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_us: u64,
}

impl Failures {
    /// How long after the last failure nothing is tried, microseconds.
    fn wait_us(&self) -> u64 {
        match self.count.checked_sub(FAILURES_FREE) {
            None => 0,
            Some(over) => WAIT_FIRST_US.saturating_mul(1 << over.min(20)).min(WAIT_MAX_US),
        }
    }
}

/// Failures by address. An IPv6 network of 64 bits counts as one address, because one customer
/// has it whole.
#[derive(Debug, Default)]
pub struct Throttle(HashMap<IpAddr, Failures>);

impl Throttle {
    /// Nothing failed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a try from `address` is looked at now.
    ///
    /// # Errors
    /// How long to wait, microseconds.
    pub fn check(&self, address: IpAddr, now_us: u64) -> Result<(), u64> {
        let Some(failures) = self.0.get(&party(address)) else { return Ok(()) };
        let free_us = failures.last_us.saturating_add(failures.wait_us());
        match free_us.saturating_sub(now_us) {
            0 => Ok(()),
            wait_us => Err(wait_us),
        }
    }

    /// Counts a failure and returns how many there are from that address.
    pub fn failed(&mut self, address: IpAddr, now_us: u64) -> u32 {
        let party = party(address);
        let forgotten = |f: &Failures| {
            now_us > f.last_us.saturating_add(f.wait_us()).saturating_add(WAIT_MAX_US)
        };
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&party) {
            self.0.retain(|_, failures| !forgotten(failures));
            let oldest = self.0.iter().min_by_key(|(_, f)| f.last_us).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= ADDRESSES_MAX) {
                self.0.remove(&oldest);
            }
        }
        let failures = self.0.entry(party).or_insert(Failures { count: 0, last_us: now_us });
        if forgotten(failures) {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last_us = now_us;
        failures.count
    }

    /// A right credential came: its address starts anew.
    pub fn succeeded(&mut self, address: IpAddr) {
        self.0.remove(&party(address));
    }
}

fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_fifth_failure_slows_an_address_down_and_only_that() {
        let mut throttle = Throttle::new();
        for count in 1..FAILURES_FREE {
            assert_eq!(throttle.failed(STRANGER, 0), count);
            assert_eq!(throttle.check(STRANGER, 0), Ok(()));
        }
        assert_eq!(throttle.failed(STRANGER, 0), FAILURES_FREE);
        assert_eq!(throttle.check(STRANGER, 0), Err(WAIT_FIRST_US));
        assert_eq!(throttle.check(STRANGER, WAIT_FIRST_US), Ok(()));
        throttle.failed(STRANGER, WAIT_FIRST_US);
        assert_eq!(throttle.check(STRANGER, WAIT_FIRST_US), Err(2 * WAIT_FIRST_US));
        assert_eq!(throttle.check(IpAddr::from([192, 0, 2, 2]), 0), Ok(()));
        throttle.succeeded(STRANGER);
        assert_eq!(throttle.check(STRANGER, WAIT_FIRST_US), Ok(()));
    }

    #[test]
    fn the_wait_is_bounded_and_failures_are_forgotten() {
        let mut throttle = Throttle::new();
        for _ in 0..100 {
            throttle.failed(STRANGER, 0);
        }
        assert_eq!(throttle.check(STRANGER, 0), Err(WAIT_MAX_US));
        assert_eq!(throttle.failed(STRANGER, 2 * WAIT_MAX_US + 1), 1);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address_and_memory_is_bounded() {
        let mut throttle = Throttle::new();
        for host in 0..5_u128 {
            let address = std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | host);
            throttle.failed(IpAddr::V6(address), 0);
        }
        assert!(throttle.check("2001:db8::ffff".parse().unwrap(), 0).is_err());
        assert!(throttle.check("2001:db8:0:1::1".parse().unwrap(), 0).is_ok());
        for n in 0..2 * ADDRESSES_MAX as u32 {
            throttle.failed(IpAddr::V4(n.into()), u64::from(n));
        }
        assert_eq!(throttle.0.len(), ADDRESSES_MAX);
    }
}
