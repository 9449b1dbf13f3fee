//! The socket to the server, with an end to waiting.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use x11rb::rust_connection::{DefaultStream, PollMode, Stream};
use x11rb::utils::RawFdContainer;

use super::{Access, REPLY_SECONDS, ScreenAddress};

/// A local connection whose waits end after [`REPLY_SECONDS`].
#[derive(Debug)]
pub(super) struct Wire(DefaultStream);

impl Wire {
    /// Connects to the socket file of the display, or to the abstract name beside it; or takes the
    /// connection that its address hands over.
    pub fn connect(address: &ScreenAddress) -> io::Result<Self> {
        let ScreenAddress { display, access } = address;
        if let Access::Handed { connect, .. } = access {
            return Ok(Self(DefaultStream::from_unix_stream(connect()?)?.0));
        }
        let path = format!("/tmp/.X11-unix/X{display}");
        let stream = UnixStream::connect(&path).or_else(|error| {
            let name = SocketAddr::from_abstract_name(&path)?;
            // The file is what people know; its error is the one to show.
            UnixStream::connect_addr(&name).map_err(|_| error)
        })?;
        Ok(Self(DefaultStream::from_unix_stream(stream)?.0))
    }

    /// Waits until something can be read; false when nothing came in time.
    pub fn readable(&self, timeout: Duration) -> io::Result<bool> {
        poll(self.as_fd(), PollFlags::IN, timeout)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stream for Wire {
    fn poll(&self, mode: PollMode) -> io::Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, mode.readable());
        flags.set(PollFlags::OUT, mode.writable());
        if poll(self.as_fd(), flags, Duration::from_secs(REPLY_SECONDS))? {
            return Ok(());
        }
        let text = format!("no answer within {REPLY_SECONDS} s");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    fn read(&self, buf: &mut [u8], fds: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.0.read(buf, fds)
    }

    fn write(&self, buf: &[u8], fds: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.0.write(buf, fds)
    }

    fn write_vectored(
        &self,
        bufs: &[io::IoSlice<'_>],
        fds: &mut Vec<RawFdContainer>,
    ) -> io::Result<usize> {
        self.0.write_vectored(bufs, fds)
    }
}

fn poll(fd: BorrowedFd<'_>, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        // The caller asks again and finds nothing.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}
