//! Who holds how many connections: one network cannot take all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::party;

/// Connections at once, over all listeners.
pub const CONNECTIONS_MAX: usize = 1024;
/// Of them, those of one address, or 64 bits of IPv6; the device's own are not counted so.
pub const CONNECTIONS_EACH_MAX: usize = 128;
/// Of them, those that only the device itself gets.
pub const CONNECTIONS_OWN: usize = 64;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The network holds as many as it may.
    Network,
}

#[derive(Default)]
struct Held {
    all: usize,
    networks: HashMap<IpAddr, usize>,
}

/// The places of all listeners.
#[derive(Default)]
pub struct Places(Mutex<Held>);

/// A place of a connection, free again when it is dropped.
pub struct Place {
    places: Arc<Places>,
    network: IpAddr,
}

impl Places {
    /// Takes a place for a connection from `peer`.
    ///
    /// # Errors
    /// When there is none for it.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let network = party(peer);
        let is_own = peer.to_canonical().is_loopback();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = match is_own {
            true => CONNECTIONS_MAX,
            false => CONNECTIONS_MAX - CONNECTIONS_OWN,
        };
        if held.all >= most {
            return Err(Full::All);
        }
        let count = held.networks.get(&network).copied().unwrap_or_default();
        if !is_own && count >= CONNECTIONS_EACH_MAX {
            return Err(Full::Network);
        }
        held.networks.insert(network, count + 1);
        held.all += 1;
        Ok(Place { places: Arc::clone(self), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(1);
        if let Some(count) = held.networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, peer: &str, count: usize) -> Vec<Place> {
        let peer: IpAddr = peer.parse().unwrap();
        (0..count).map_while(|_| places.take(peer).ok()).collect()
    }

    #[test]
    fn one_network_leaves_places_to_others_and_gets_its_own_back() {
        let places = Arc::new(Places::default());
        let flood = take(&places, "2001:db8:1:2::1", 5000);
        assert_eq!(flood.len(), CONNECTIONS_EACH_MAX);
        assert_eq!(places.take("2001:db8:1:2:9::2".parse().unwrap()).err(), Some(Full::Network));
        assert_eq!(take(&places, "2001:db8:1:3::1", 1).len(), 1);
        assert_eq!(take(&places, "::ffff:10.0.0.1", 1).len(), 1);
        drop(flood);
        assert_eq!(take(&places, "2001:db8:1:2::1", 5000).len(), CONNECTIONS_EACH_MAX);
        let held = places.0.lock().unwrap();
        assert_eq!((held.all, held.networks.len()), (0, 0), "nothing is kept of those who left");
    }

    #[test]
    fn many_networks_leave_the_device_its_own() {
        let places = Arc::new(Places::default());
        let mut all = Vec::new();
        for number in 0..20 {
            all.extend(take(&places, &format!("10.0.0.{number}"), 200));
        }
        assert_eq!(all.len(), CONNECTIONS_MAX - CONNECTIONS_OWN);
        assert_eq!(places.take("10.0.1.1".parse().unwrap()).err(), Some(Full::All));
        assert_eq!(take(&places, "::1", 5000).len(), CONNECTIONS_OWN);
        assert_eq!(take(&places, "127.0.0.1", 5000).len(), CONNECTIONS_OWN);
    }
}
