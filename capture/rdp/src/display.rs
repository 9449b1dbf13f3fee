//! A connection to a desktop's X server that can be waited on together with an order to stop.

use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use x11rb::connection::Connection as _;
use x11rb::errors::ConnectionError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::Window;
use x11rb::rust_connection::RustConnection;

use crate::server::xconnection::{XError, connect};
use crate::session::RunningDesktop;

/// Tells a thread that waits to stop. Readable once it was told.
#[derive(Debug)]
pub(crate) struct Stop(std::os::fd::OwnedFd);

impl Stop {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Stop(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes whoever waits, for good.
    pub(crate) fn tell(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Sleeps, but not longer than until it is told; whether it was.
    pub(crate) fn sleep(&self, most: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
        !matches!(poll(&mut fds, Some(&most)), Ok(0))
    }
}

/// What waiting brought.
pub(crate) enum Waited {
    Event(Event),
    Time,
    Stopped,
}

/// A connection to a desktop.
pub(crate) struct Display {
    pub(crate) server: RustConnection,
    pub(crate) root: Window,
}

impl Display {
    pub(crate) fn connect(desktop: &RunningDesktop) -> Result<Self, XError> {
        let (server, root) = connect(desktop)?;
        Ok(Display { server, root })
    }

    /// The next event, or the end of the time, or the order to stop. Without a time it waits as
    /// long as it takes.
    pub(crate) fn wait(
        &self,
        stop: &Stop,
        most: Option<Duration>,
    ) -> Result<Waited, ConnectionError> {
        self.server.flush()?;
        if let Some(event) = self.server.poll_for_event()? {
            return Ok(Waited::Event(event));
        }
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let (told, readable) = {
            let mut fds = [
                PollFd::new(&stop.0, PollFlags::IN),
                PollFd::from_borrowed_fd(self.server.stream().as_fd(), PollFlags::IN),
            ];
            let _ = poll(&mut fds, most.as_ref());
            (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
        };
        if told {
            return Ok(Waited::Stopped);
        }
        match readable {
            false => Ok(Waited::Time),
            // What can be read need not be a whole event.
            true => Ok(self.server.poll_for_event()?.map_or(Waited::Time, Waited::Event)),
        }
    }
}
