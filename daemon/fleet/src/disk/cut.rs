//! A disk whose power is cut, for tests.
//!
//! The fault model: what was synced stays. Of what was not, names survive as a prefix of the
//! changes made to them, as in a journal; bytes of files survive each for itself, whole, not at
//! all, or torn: any mixture of old and new bytes, and any length between the two. Which of it
//! happens follows from a seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::Disk;

#[derive(Clone, Debug)]
enum NameChange {
    Make(String, usize),
    Rename(String, String),
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<String, usize>,
    bytes: Vec<Vec<u8>>,
    durable_names: BTreeMap<String, usize>,
    durable_bytes: Vec<Vec<u8>>,
    changes: Vec<NameChange>,
    steps: usize,
    cut_after: Option<usize>,
}

/// The disk. After the given number of changing steps every operation fails, as for a process
/// that is no more.
#[derive(Debug, Default)]
pub struct CutDisk {
    inner: RefCell<Inner>,
}

/// SplitMix64: what a cut leaves follows from the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Make(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

fn torn(old: &[u8], new: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (short, long) = (old.len().min(new.len()), old.len().max(new.len()));
    let length = short + dice.roll(long - short + 1);
    let pick = |at: usize, dice: &mut Dice| match (old.get(at), new.get(at)) {
        (Some(old), Some(new)) => [*old, *new][dice.roll(2)],
        (Some(one), None) | (None, Some(one)) => *one,
        (None, None) => 0,
    };
    (0..length).map(|at| pick(at, dice)).collect()
}

impl CutDisk {
    /// A disk with files on it, all synced.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let disk = Self::default();
        for (name, bytes) in files {
            disk.write(name, bytes).unwrap();
            disk.sync(name).unwrap();
        }
        disk.sync_names().unwrap();
        disk.inner.borrow_mut().steps = 0;
        disk
    }

    /// Cuts the power after this many further steps.
    pub fn cut_after(&self, steps: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.cut_after = Some(steps);
        inner.steps = 0;
    }

    /// Whether the power is gone.
    pub fn is_cut(&self) -> bool {
        let inner = self.inner.borrow();
        inner.cut_after.is_some_and(|most| inner.steps >= most)
    }

    /// The disk as the next start finds it.
    pub fn restart(&self, seed: u64) -> Self {
        let inner = self.inner.borrow();
        let mut dice = Dice(seed);
        let mut names = inner.durable_names.clone();
        let survive = dice.roll(inner.changes.len() + 1);
        for change in &inner.changes[..survive] {
            apply(&mut names, change);
        }
        let empty = Vec::new();
        let bytes: Vec<Vec<u8>> = inner
            .bytes
            .iter()
            .enumerate()
            .map(|(file, new)| {
                let old = inner.durable_bytes.get(file).unwrap_or(&empty);
                match dice.roll(3) {
                    0 => old.clone(),
                    1 => new.clone(),
                    _ => torn(old, new, &mut dice),
                }
            })
            .collect();
        let after = Inner {
            names: names.clone(),
            bytes: bytes.clone(),
            durable_names: names,
            durable_bytes: bytes,
            ..Inner::default()
        };
        Self { inner: RefCell::new(after) }
    }

    fn change<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        if self.is_cut() {
            return Err(io::Error::other("the power is cut"));
        }
        let mut inner = self.inner.borrow_mut();
        inner.steps += 1;
        work(&mut inner)
    }
}

impl Inner {
    fn file(&self, name: &str) -> io::Result<usize> {
        let missing = || io::Error::new(ErrorKind::NotFound, name.to_owned());
        self.names.get(name).copied().ok_or_else(missing)
    }
}

impl Disk for CutDisk {
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        if self.is_cut() {
            return Err(io::Error::other("the power is cut"));
        }
        let inner = self.inner.borrow();
        let file = inner.names.get(name);
        Ok(file.map(|file| inner.bytes[*file].iter().copied().take(most).collect()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|inner| {
            if let Ok(file) = inner.file(name) {
                inner.bytes[file] = bytes.to_vec();
                return Ok(());
            }
            inner.bytes.push(bytes.to_vec());
            inner.durable_bytes.push(Vec::new());
            let change = NameChange::Make(name.to_owned(), inner.bytes.len() - 1);
            apply(&mut inner.names, &change);
            inner.changes.push(change);
            Ok(())
        })
    }

    fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.file(name)?;
            let at = offset as usize;
            let place = inner.bytes[file]
                .get_mut(at..at + bytes.len())
                .ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
            place.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.file(name)?;
            inner.durable_bytes[file] = inner.bytes[file].clone();
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|inner| {
            inner.file(from)?;
            let change = NameChange::Rename(from.to_owned(), to.to_owned());
            apply(&mut inner.names, &change);
            inner.changes.push(change);
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change(|inner| {
            inner.durable_names = inner.names.clone();
            inner.changes.clear();
            Ok(())
        })
    }
}
