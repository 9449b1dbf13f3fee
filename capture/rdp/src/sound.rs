//! What a desktop's programs play, on its way to those who may hear it.
//!
//! One shape for all: interleaved 16-bit samples, little-endian, which every RDP client takes and
//! the sound server of a desktop is told to make. Nobody is waited for: who falls behind loses what
//! is oldest.

use std::sync::Arc;

use tokio::sync::broadcast;

pub use lucid_desktop::{CHANNELS, RATE_HZ};

/// Bits of a sample.
pub const SAMPLE_BITS: u16 = 16;
/// Bytes of one sample of all channels: blocks hold whole ones.
pub const FRAME_BYTES: usize = CHANNELS as usize * SAMPLE_BITS as usize / 8;
/// Bytes of one block, at most: 46 ms.
pub const BLOCK_MAX_BYTES: usize = 8192;
/// Blocks that wait for a listener; one more pushes the oldest out.
const BLOCKS_WAITING_MAX: usize = 16;

/// Sound that belongs together, of whole frames.
pub type Block = Arc<[u8]>;

/// Where the sound of one desktop is heard; clones are the same place.
#[derive(Clone, Debug)]
pub struct SoundFeed(broadcast::Sender<Block>);

impl Default for SoundFeed {
    fn default() -> Self {
        SoundFeed(broadcast::Sender::new(BLOCKS_WAITING_MAX))
    }
}

impl SoundFeed {
    /// Gives a block to all who listen.
    pub fn publish(&self, block: Block) {
        // Nobody listens: then nobody misses it.
        let _ = self.0.send(block);
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener { blocks: self.0.subscribe(), missed: 0 }
    }
}

/// Takes the sound of a desktop.
#[derive(Debug)]
pub struct Listener {
    blocks: broadcast::Receiver<Block>,
    missed: u64,
}

impl Listener {
    /// The next block; none once the desktop is gone.
    pub async fn next(&mut self) -> Option<Block> {
        loop {
            match self.blocks.recv().await {
                Ok(block) => return Some(block),
                Err(broadcast::error::RecvError::Lagged(blocks)) => self.missed += blocks,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Blocks this listener did not get because it was slow.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_loses_what_is_oldest_and_knows_it() {
        let feed = SoundFeed::default();
        feed.publish(Arc::new([0; FRAME_BYTES]));
        let mut listener = feed.listen();
        for n in 1..=20u8 {
            feed.publish(Arc::new([n; FRAME_BYTES]));
        }
        assert_eq!(listener.next().await.unwrap()[0], 5);
        assert_eq!(listener.missed(), 4);
        drop(feed);
        for n in 6..=20 {
            assert_eq!(listener.next().await.unwrap()[0], n);
        }
        assert_eq!(listener.next().await, None);
    }
}
