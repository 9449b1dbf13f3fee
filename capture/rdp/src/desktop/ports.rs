//! Ports of desktops: each has its own, and none is given twice.

use std::collections::BTreeSet;

/// The endpoint that picks the desktop from the user name.
pub const PORT_SHARED: u16 = 3389;
/// The first port of single desktops.
pub const PORT_FIRST: u16 = 13_389;
/// The last port of single desktops.
pub const PORT_LAST: u16 = 14_389;

/// Why there is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// All are taken.
    #[error("all ports from {first} to {last} are taken; delete a desktop")]
    AllTaken {
        /// The first of the range.
        first: u16,
        /// The last of the range.
        last: u16,
    },
    /// This one belongs to another desktop.
    #[error("port {0} belongs to another desktop")]
    Taken(u16),
    /// Outside the range.
    #[error("port {port} is not in the range {first} to {last}")]
    Outside {
        /// Which.
        port: u16,
        /// The first of the range.
        first: u16,
        /// The last of the range.
        last: u16,
    },
}

/// The ports that are taken.
#[derive(Debug, Clone)]
pub struct Ports {
    first: u16,
    last: u16,
    taken: BTreeSet<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        Ports::new(PORT_FIRST, PORT_LAST)
    }
}

impl Ports {
    /// Nothing taken from `first` to `last`, both included.
    pub fn new(first: u16, last: u16) -> Self {
        Ports { first, last, taken: BTreeSet::new() }
    }

    /// Takes the lowest free port that `usable` agrees to: another program may listen there.
    ///
    /// # Errors
    /// When none is left.
    pub fn take(&mut self, mut usable: impl FnMut(u16) -> bool) -> Result<u16, PortError> {
        let free =
            (self.first..=self.last).find(|port| !self.taken.contains(port) && usable(*port));
        let port = free.ok_or(PortError::AllTaken { first: self.first, last: self.last })?;
        self.taken.insert(port);
        Ok(port)
    }

    /// Takes one port, as a stored desktop had it.
    ///
    /// # Errors
    /// When it is taken or outside the range.
    pub fn take_exactly(&mut self, port: u16) -> Result<(), PortError> {
        let (first, last) = (self.first, self.last);
        if !(first..=last).contains(&port) {
            return Err(PortError::Outside { port, first, last });
        }
        if self.taken.insert(port) { Ok(()) } else { Err(PortError::Taken(port)) }
    }

    /// Gives a port back.
    pub fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_desktops_get_a_port_each_and_none_twice() {
        let mut ports = Ports::default();
        let mut given = BTreeSet::new();
        for _ in 0..super::super::DESKTOPS_MAX {
            let port = ports.take(|port| port != PORT_FIRST + 5).unwrap();
            assert!((PORT_FIRST..=PORT_LAST).contains(&port) && port != PORT_FIRST + 5);
            assert!(given.insert(port));
        }
        assert!(matches!(
            ports.take(|port| port != PORT_FIRST + 5),
            Err(PortError::AllTaken { .. })
        ));
        ports.give_back(PORT_FIRST + 7);
        assert_eq!(ports.take(|_| true), Ok(PORT_FIRST + 5));
        assert_eq!(ports.take_exactly(PORT_FIRST + 7), Ok(()));
        assert_eq!(ports.take_exactly(PORT_FIRST + 7), Err(PortError::Taken(PORT_FIRST + 7)));
        assert!(matches!(ports.take_exactly(PORT_SHARED), Err(PortError::Outside { .. })));
    }
}
