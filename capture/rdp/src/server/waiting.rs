//! Who waits to be let in, and who loses his place to a newcomer.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::AbortHandle;

/// Handshakes under way, the oldest first. One network cannot push others out: it loses its own
/// places first.
#[derive(Debug, Default)]
pub struct Waiting {
    tasks: VecDeque<(IpAddr, AbortHandle)>,
}

impl Waiting {
    /// Makes room for one more of at most `limit`.
    pub fn make_room(&mut self, limit: usize) {
        self.tasks.retain(|(_, task)| !task.is_finished());
        while self.tasks.len() >= limit.max(1) {
            let networks: Vec<IpAddr> = self.tasks.iter().map(|(network, _)| *network).collect();
            if let Some((_, task)) = self.tasks.remove(loser(&networks)) {
                task.abort();
            }
        }
    }

    /// Another waits.
    pub fn push(&mut self, peer: IpAddr, task: AbortHandle) {
        self.tasks.push_back((network(peer), task));
    }
}

/// An address, or the network of one person where addresses are plenty: 64 bits of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// The oldest of the network that has the most places.
fn loser(networks: &[IpAddr]) -> usize {
    let places = |one: &IpAddr| networks.iter().filter(|other| *other == one).count();
    let most = networks.iter().map(places).max().unwrap_or(0);
    networks.iter().position(|one| places(one) == most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_network_costs_only_itself() {
        let at = |last| IpAddr::from([10, 0, 0, last]);
        assert_eq!(loser(&[at(1), at(2), at(2), at(3)]), 1);
        assert_eq!(loser(&[at(1), at(2), at(3)]), 0);
        assert_eq!(loser(&[]), 0);
        let v6 = |text: &str| network(text.parse().unwrap());
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:10.0.0.1"), at(1));
    }
}
