//! Token buckets: how often somebody may ask, in a table that cannot grow without bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Buckets in one table. At the limit the fuller half is forgotten: those who asked least.
pub const BUCKETS_MAX: usize = 4096;

/// A rate with a burst.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests a minute in the long run; 0 is no limit.
    pub per_minute: u32,
    /// Requests that may come at once.
    pub burst: u32,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// One rate, a bucket for each key.
pub struct RateTable<K> {
    rate: Rate,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash + Clone> RateTable<K> {
    /// An empty table.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    /// Takes one request from the key's bucket.
    ///
    /// # Errors
    /// How long to wait until there is one again.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.rate.per_minute == 0 {
            return Ok(());
        }
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&key) {
            self.forget_fuller_half(now);
        }
        let (rate, full) = (per_second(self.rate), f64::from(self.rate.burst));
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: full, at: now });
        bucket.tokens = bucket.level(rate, full, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Puts one request back: what was counted turned out not to be an abuse.
    pub fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(f64::from(self.rate.burst));
        }
    }

    fn forget_fuller_half(&mut self, now: Instant) {
        let (rate, full) = (per_second(self.rate), f64::from(self.rate.burst));
        let mut levels: Vec<(K, f64)> = self
            .buckets
            .iter()
            .map(|(key, bucket)| (key.clone(), bucket.level(rate, full, now)))
            .collect();
        levels.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (key, _) in levels.into_iter().take(BUCKETS_MAX / 2) {
            self.buckets.remove(&key);
        }
    }
}

impl Bucket {
    fn level(&self, rate: f64, full: f64, now: Instant) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * rate).min(full)
    }
}

fn per_second(rate: Rate) -> f64 {
    f64::from(rate.per_minute) / 60.0
}

/// Whom an address stands for: itself, or for IPv6 its /64, of which one party has all.
pub fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_binds_and_says_how_long() {
        let mut table = RateTable::new(Rate { per_minute: 60, burst: 3 });
        let start = Instant::now();
        for _ in 0..3 {
            table.take("a", start).unwrap();
        }
        assert_eq!(table.take("a", start).unwrap_err(), Duration::from_secs(1));
        table.take("b", start).unwrap();
        table.take("a", start + Duration::from_secs(1)).unwrap();
        table.take("a", start + Duration::from_secs(1)).unwrap_err();
    }

    #[test]
    fn zero_is_no_limit() {
        let mut table = RateTable::new(Rate { per_minute: 0, burst: 1 });
        let now = Instant::now();
        assert!((0..1000).all(|_| table.take(1, now).is_ok()));
        assert!(table.buckets.is_empty());
    }

    #[test]
    fn the_table_stays_bounded_and_keeps_those_who_ask_most() {
        let mut table = RateTable::new(Rate { per_minute: 1, burst: 5 });
        let now = Instant::now();
        for _ in 0..5 {
            table.take(0, now).unwrap();
        }
        for key in 1..20_000 {
            table.take(key, now).unwrap();
            assert!(table.buckets.len() <= BUCKETS_MAX);
        }
        table.take(0, now).unwrap_err();
    }

    #[test]
    fn an_ipv6_network_is_one_party() {
        let party = |text: &str| super::party(text.parse().unwrap());
        assert_eq!(party("2001:db8::1"), party("2001:db8::2"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        assert_eq!(party("::ffff:192.0.2.1"), party("192.0.2.1"));
        assert_ne!(party("192.0.2.1"), party("192.0.2.2"));
    }
}
