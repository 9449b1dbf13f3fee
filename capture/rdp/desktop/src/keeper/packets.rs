//! Packets over a socket of the kind `SOCK_SEQPACKET`, each with at most one descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};
use zeroize::Zeroizing;

use super::REQUEST_MAX_BYTES;

/// How long the other side may take to make room for a packet.
const SEND_TIME: Duration = Duration::from_secs(30);

/// A packet, and what came with it.
pub type Received = (Zeroizing<Vec<u8>>, Option<OwnedFd>);

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Connects to whoever listens at `path`.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    prepare(&socket)?;
    Ok(socket)
}

/// Listens at `path`, which must be free.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// The next connection.
pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    prepare(&socket)?;
    Ok(socket)
}

fn prepare(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(SEND_TIME))?)
}

/// The user on the other side, as the kernel says.
pub fn peer(socket: &OwnedFd) -> io::Result<u32> {
    Ok(sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Sends one packet.
pub fn send(socket: &OwnedFd, packet: &[u8], with: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = with.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let sent = loop {
        let parts = [IoSlice::new(packet)];
        match rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    match sent == packet.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Receives one packet; none when the other side is gone. One that is too long is an error.
pub fn receive(socket: &OwnedFd) -> io::Result<Option<Received>> {
    let mut bytes = Zeroizing::new(vec![0; REQUEST_MAX_BYTES]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut reset = false;
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            // Closed before it read all of ours; what it had said is still there to be read.
            Err(rustix::io::Errno::CONNRESET) if !reset => reset = true,
            other => break other?,
        }
    };
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds.next().and_then(|mut fds| fds.next());
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, super::MessageError::Long));
    }
    bytes.truncate(got.bytes);
    Ok((!bytes.is_empty()).then_some((bytes, fd)))
}
