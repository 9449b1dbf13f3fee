//! A network between a camera and us that can be cut, frozen and restored.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const PASSING: u8 = 0;
const FROZEN: u8 = 1;
const CUT: u8 = 2;
/// How often blocked threads look whether the state has changed.
const TICK: Duration = Duration::from_millis(20);

/// Passes TCP connections on to an address.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Relay {
    /// Listens on a free loopback port and passes on to `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            state: AtomicU8::new(PASSING),
            over: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
        });
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, target, &inner));
        Ok(Self { port, shared, listener: Some(thread) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes any more, and nobody is told.
    pub fn freeze(&self) {
        self.shared.state.store(FROZEN, Ordering::SeqCst);
    }

    /// Closes all connections; new ones are closed at once.
    pub fn cut(&self) {
        self.shared.state.store(CUT, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Everything passes again; what was frozen goes on.
    pub fn restore(&self) {
        self.shared.state.store(PASSING, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.close_all();
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
        let threads = std::mem::take(
            &mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn close_all(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    while !shared.over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((client, _)) if shared.state.load(Ordering::SeqCst) != CUT => {
                let _ = join(client, target, shared);
            }
            Ok((client, _)) => {
                let _ = client.shutdown(Shutdown::Both);
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

fn join(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect(target)?;
    for stream in [&client, &server] {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_nodelay(true)?;
    }
    let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
    connections.push(client.try_clone()?);
    connections.push(server.try_clone()?);
    drop(connections);
    let pairs = [(client.try_clone()?, server.try_clone()?), (server, client)];
    for (from, to) in pairs {
        let inner = Arc::clone(shared);
        let thread = std::thread::spawn(move || pass(from, to, &inner));
        shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = [0u8; 16 << 10];
    while !shared.over.load(Ordering::SeqCst) {
        if shared.state.load(Ordering::SeqCst) == FROZEN {
            std::thread::sleep(TICK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                // Frozen in between: what was read waits here.
                while shared.state.load(Ordering::SeqCst) == FROZEN
                    && !shared.over.load(Ordering::SeqCst)
                {
                    std::thread::sleep(TICK);
                }
                if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                    break;
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
