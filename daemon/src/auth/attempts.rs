//! How often claims and sign-ins may be tried: per address, per account, and altogether.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::http::rate::{Rate, RateTable, party};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A claim code.
    Claim,
    /// A password.
    SignIn,
}

/// Failed tries a minute at one account, for each allowed from one address: more than one address
/// has, so that one stranger cannot lock the owner out.
const ACCOUNT_FACTOR: u32 = 4;
/// Failed tries a minute of one purpose altogether, for each allowed from one address.
const ALTOGETHER_FACTOR: u32 = 12;

/// The counters.
pub struct Attempts {
    address: RateTable<(Purpose, IpAddr)>,
    account: RateTable<String>,
    altogether: RateTable<Purpose>,
}

impl Attempts {
    /// Nothing tried yet; `per_minute` from one address, 0 is no limit.
    pub fn new(per_minute: u32) -> Self {
        let rate = |factor: u32| {
            let tries = per_minute.saturating_mul(factor);
            Rate { per_minute: tries, burst: tries }
        };
        Self {
            address: RateTable::new(rate(1)),
            account: RateTable::new(rate(ACCOUNT_FACTOR)),
            altogether: RateTable::new(rate(ALTOGETHER_FACTOR)),
        }
    }

    /// Counts a try.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(
        &mut self,
        purpose: Purpose,
        address: IpAddr,
        account: Option<&str>,
        now: Instant,
    ) -> Result<(), Duration> {
        self.address.take((purpose, party(address)), now)?;
        if let Some(account) = account {
            self.account.take(account.to_owned(), now)?;
        }
        self.altogether.take(purpose, now)
    }

    /// The try was right: it does not count.
    pub fn succeeded(&mut self, purpose: Purpose, address: IpAddr, account: Option<&str>) {
        self.address.give_back(&(purpose, party(address)));
        if let Some(account) = account {
            self.account.give_back(&account.to_owned());
        }
        self.altogether.give_back(&purpose);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_runs_out_before_others_are_touched() {
        let mut attempts = Attempts::new(5);
        let now = Instant::now();
        let (stranger, owner) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..5 {
            attempts.take(Purpose::SignIn, stranger, Some("admin"), now).unwrap();
        }
        let wait = attempts.take(Purpose::SignIn, stranger, Some("admin"), now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(12));
        attempts.take(Purpose::SignIn, owner, Some("admin"), now).unwrap();
        attempts.take(Purpose::Claim, stranger, None, now).unwrap();
        attempts.succeeded(Purpose::SignIn, stranger, Some("admin"));
        attempts.take(Purpose::SignIn, stranger, Some("admin"), now).unwrap();
    }

    #[test]
    fn many_addresses_together_meet_the_account_limit() {
        let mut attempts = Attempts::new(5);
        let now = Instant::now();
        let passed = (0..200u8)
            .filter(|last| {
                let address = IpAddr::from([198, 51, 100, *last]);
                attempts.take(Purpose::SignIn, address, Some("admin"), now).is_ok()
            })
            .count();
        assert_eq!(passed, 20);
    }
}
