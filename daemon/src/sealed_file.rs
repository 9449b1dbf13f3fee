//! A file whose bytes mean nothing on the disk without its key: for exports and uploads, which hold
//! a recording in the clear.
//!
//! Each block of 64 KiB is sealed by itself (XChaCha20-Poly1305, a fresh nonce each time it is
//! written, its number as associated data), so that any place can be written and read. Every file
//! has a key of its own, hence destroying the key destroys the file. Whose key it is and where it
//! is kept is for the caller: an upload has no name and its key is in memory only, so both are gone
//! with the process; an export outlives the process, and its key lies sealed beside it
//! ([`crate::exports`]).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lucid_evidence::bundle::ReadAt;
use zeroize::Zeroizing;

/// Plaintext bytes of a block.
const BLOCK: usize = 64 * 1024;
const NONCE: usize = 24;
const TAG: usize = 16;
/// Bytes a block takes in the file.
const SLOT: u64 = (NONCE + BLOCK + TAG) as u64;

/// A sealed file that is complete and can be read at any place.
pub struct SealedFile {
    file: File,
    cipher: XChaCha20Poly1305,
    length: u64,
    mark: [u8; 16],
    /// The block read last: small reads mostly come in order.
    last: Mutex<Option<(u64, Zeroizing<Vec<u8>>)>>,
}

/// What must be known besides the key to open a sealed file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of what is in it.
    pub length: u64,
    /// Its [`SealedFile::mark`].
    pub mark: u128,
}

/// A sealed file being written.
pub struct SealedWriter {
    file: File,
    cipher: XChaCha20Poly1305,
    length: u64,
    at: u64,
    /// The block being filled, its plaintext, and whether it differs from the file.
    block: u64,
    plain: Zeroizing<Vec<u8>>,
    dirty: bool,
}

impl SealedWriter {
    /// An empty file without a name on the file system of `dir`, its key in memory only.
    ///
    /// # Errors
    /// From the file system, or when the operating system gives no random numbers.
    pub fn scratch(dir: &Path) -> io::Result<Self> {
        let mut key = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *key).map_err(io::Error::other)?;
        Ok(Self::new(tempfile::tempfile_in(dir)?, &key))
    }

    /// Over an empty file, open for reading and writing.
    pub fn new(file: File, key: &[u8; 32]) -> Self {
        Self {
            file,
            cipher: XChaCha20Poly1305::new(&Key::from(*key)),
            length: 0,
            at: 0,
            block: 0,
            plain: Zeroizing::new(Vec::with_capacity(BLOCK)),
            dirty: false,
        }
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// From the file system.
    pub fn finish(mut self) -> io::Result<SealedFile> {
        self.store()?;
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).map_err(io::Error::other)?;
        let last = Mutex::new(None);
        Ok(SealedFile { file: self.file, cipher: self.cipher, length: self.length, mark, last })
    }

    /// [`Self::finish`], and everything is on the disk.
    ///
    /// # Errors
    /// From the file system.
    pub fn finish_durably(self) -> io::Result<SealedFile> {
        let finished = self.finish()?;
        finished.file.sync_all()?;
        Ok(finished)
    }

    fn store(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        let mut slot = vec![0u8; NONCE];
        getrandom::fill(&mut slot).map_err(io::Error::other)?;
        let nonce = XNonce::try_from(&slot[..]).map_err(io::Error::other)?;
        let payload = Payload { msg: &self.plain, aad: &self.block.to_be_bytes() };
        slot.extend(self.cipher.encrypt(&nonce, payload).map_err(|_| cannot("seal a block of"))?);
        self.file.write_all_at(&slot, self.block * SLOT)?;
        self.dirty = false;
        Ok(())
    }

    /// Makes the block of the present place the one that is filled.
    fn load(&mut self) -> io::Result<()> {
        let block = self.at / BLOCK as u64;
        if block == self.block {
            return Ok(());
        }
        self.store()?;
        self.plain = read_block(&self.file, &self.cipher, self.length, block)?;
        self.block = block;
        Ok(())
    }
}

impl Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.load()?;
        let offset = (self.at % BLOCK as u64) as usize;
        if offset > self.plain.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a hole in a sealed file"));
        }
        let count = bytes.len().min(BLOCK - offset);
        let overlap = count.min(self.plain.len() - offset);
        self.plain[offset..offset + overlap].copy_from_slice(&bytes[..overlap]);
        self.plain.extend_from_slice(&bytes[overlap..count]);
        self.dirty |= count > 0;
        self.at += count as u64;
        self.length = self.length.max(self.at);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store()
    }
}

impl Seek for SealedWriter {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wanted = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let inside = wanted.filter(|at| *at <= self.length);
        self.at = inside.ok_or(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end"))?;
        Ok(self.at)
    }
}

impl SealedFile {
    /// A file that was finished in an earlier life.
    ///
    /// # Errors
    /// From the file system, or when the file is not as long as one of this shape. That its blocks
    /// are what was written shows when they are read.
    pub fn open(file: File, key: &[u8; 32], shape: Shape) -> io::Result<Self> {
        let tail = match shape.length % BLOCK as u64 {
            0 => 0,
            rest => rest + (NONCE + TAG) as u64,
        };
        if file.metadata()?.len() != shape.length / BLOCK as u64 * SLOT + tail {
            return Err(cannot("find the end of"));
        }
        let (cipher, last) = (XChaCha20Poly1305::new(&Key::from(*key)), Mutex::new(None));
        Ok(Self { file, cipher, length: shape.length, mark: shape.mark.to_be_bytes(), last })
    }

    /// A random number that no other file has, and this one keeps: its bytes never change.
    pub fn mark(&self) -> u128 {
        u128::from_be_bytes(self.mark)
    }

    /// What [`Self::open`] asks for.
    pub fn shape(&self) -> Shape {
        Shape { length: self.length, mark: self.mark() }
    }
}

impl ReadAt for SealedFile {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            if at >= self.length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (block, inner) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let plain = match last.take().filter(|(known, _)| *known == block) {
                Some((_, plain)) => plain,
                None => {
                    // Others may read meanwhile.
                    drop(last);
                    let plain = read_block(&self.file, &self.cipher, self.length, block)?;
                    last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                    plain
                }
            };
            let count = (plain.len() - inner).min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&plain[inner..inner + count]);
            *last = Some((block, plain));
            done += count;
        }
        Ok(())
    }
}

/// The plaintext of a block; of the one behind the last it is nothing.
fn read_block(
    file: &File,
    cipher: &XChaCha20Poly1305,
    length: u64,
    block: u64,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let begin = block * BLOCK as u64;
    let plain_length = length.saturating_sub(begin).min(BLOCK as u64) as usize;
    if plain_length == 0 {
        return Ok(Zeroizing::new(Vec::with_capacity(BLOCK)));
    }
    let mut slot = vec![0u8; NONCE + plain_length + TAG];
    file.read_exact_at(&mut slot, block * SLOT)?;
    let (nonce, sealed) = slot.split_at(NONCE);
    let nonce = XNonce::try_from(nonce).map_err(io::Error::other)?;
    let payload = Payload { msg: sealed, aad: &block.to_be_bytes() };
    cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| cannot("open a block of"))
}

fn cannot(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot {what} a sealed file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    #[test]
    fn what_is_written_anywhere_reads_back_everywhere_and_is_not_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SealedWriter::scratch(dir.path()).unwrap();
        let mut expected = bytes(3 * BLOCK + 1234);
        for part in expected.chunks(10_007) {
            writer.write_all(part).unwrap();
        }
        for (at, patch) in [(5, &b"first"[..]), (BLOCK as u64 - 2, b"across"), (14, b"again")] {
            let end = writer.stream_position().unwrap();
            writer.seek(SeekFrom::Start(at)).unwrap();
            writer.write_all(patch).unwrap();
            expected[at as usize..at as usize + patch.len()].copy_from_slice(patch);
            writer.seek(SeekFrom::Start(end)).unwrap();
        }
        writer.write_all(b"the end").unwrap();
        expected.extend_from_slice(b"the end");
        let clear = writer.file.try_clone().unwrap();
        assert_eq!(writer.length(), expected.len() as u64);
        let file = writer.finish().unwrap();
        let mut read = vec![0; expected.len()];
        file.read_at(0, &mut read).unwrap();
        assert!(read == expected);
        for at in [0, 1, BLOCK - 3, BLOCK, 2 * BLOCK + 17, expected.len() - 7] {
            let mut few = [0; 7];
            file.read_at(at as u64, &mut few).unwrap();
            assert_eq!(few, expected[at..at + 7]);
        }
        assert!(file.read_at(expected.len() as u64 - 6, &mut [0; 7]).is_err());
        let mut stored = vec![0; clear.metadata().unwrap().len() as usize];
        clear.read_exact_at(&mut stored, 0).unwrap();
        assert!(!stored.windows(7).any(|window| window == b"the end"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn a_changed_or_moved_block_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SealedWriter::scratch(dir.path()).unwrap();
        writer.write_all(&bytes(2 * BLOCK)).unwrap();
        assert!(writer.seek(SeekFrom::Start(2 * BLOCK as u64 + 1)).is_err());
        let raw = writer.file.try_clone().unwrap();
        let file = writer.finish().unwrap();
        let mut first = vec![0; SLOT as usize];
        raw.read_exact_at(&mut first, 0).unwrap();
        raw.write_all_at(&first, SLOT).unwrap();
        let mut read = [0; 1];
        file.read_at(0, &mut read).unwrap();
        file.read_at(BLOCK as u64, &mut read).unwrap_err();
    }

    #[test]
    fn a_finished_file_opens_again_with_its_key_and_shape_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        // The last block full, and not.
        for length in [0, 2 * BLOCK, 2 * BLOCK + 17] {
            let mut writer = SealedWriter::new(File::create_new(&path).unwrap(), &[7; 32]);
            writer.write_all(&bytes(length)).unwrap();
            let shape = writer.finish_durably().unwrap().shape();
            let again = SealedFile::open(open(), &[7; 32], shape).unwrap();
            assert_eq!((again.shape(), shape.length), (shape, length as u64));
            let mut read = vec![0; length];
            again.read_at(0, &mut read).unwrap();
            assert!(read == bytes(length));
            let longer = Shape { length: shape.length + 1, ..shape };
            assert!(SealedFile::open(open(), &[7; 32], longer).is_err());
            let wrong = SealedFile::open(open(), &[8; 32], shape).unwrap();
            assert!(length == 0 || wrong.read_at(0, &mut [0]).is_err());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
