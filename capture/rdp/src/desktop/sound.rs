//! What a desktop plays, from the pipe of its sound server to those who may hear it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::sound::{BLOCK_MAX_BYTES, FRAME_BYTES, SoundFeed};

/// The sound of one desktop, while it runs.
#[derive(Debug)]
pub(super) struct SoundOut {
    feed: SoundFeed,
    stop: Arc<OwnedFd>,
    reader: Option<JoinHandle<()>>,
}

impl SoundOut {
    /// Reads what is played.
    pub fn hear(pipe: OwnedFd) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let (stop, feed) = (Arc::new(stop), SoundFeed::default());
        let (over, to) = (stop.clone(), feed.clone());
        let reader = std::thread::Builder::new()
            .name("sound".into())
            .spawn(move || read(&pipe, &over, &to))?;
        Ok(SoundOut { feed, stop, reader: Some(reader) })
    }

    /// Where it is heard.
    pub fn feed(&self) -> SoundFeed {
        self.feed.clone()
    }
}

impl Drop for SoundOut {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Publishes what comes over the pipe until the end is ordered.
fn read(pipe: &OwnedFd, stop: &OwnedFd, feed: &SoundFeed) {
    let mut buffer = [0; BLOCK_MAX_BYTES];
    // Bytes of a frame that has not come whole.
    let mut held = 0;
    loop {
        let mut both = [PollFd::new(pipe, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return tracing::warn!(%error, "the sound of a desktop is lost"),
        }
        if !both[1].revents().is_empty() {
            return;
        }
        match rustix::io::read(pipe, &mut buffer[held..]) {
            Ok(count) => {
                let there = held + count;
                held = there % FRAME_BYTES;
                let whole = there - held;
                if whole > 0 {
                    feed.publish(buffer[..whole].into());
                }
                buffer.copy_within(whole..there, 0);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return tracing::warn!(%error, "the sound of a desktop is lost"),
        }
    }
}
