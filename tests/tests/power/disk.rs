//! A disk that loses power: what survives is what was synced, and a seeded choice of the rest.
//!
//! Fault model, stricter than any one file system:
//!
//! - A file's bytes and length are safe once `fsync` or `fdatasync` of that file has returned.
//!   Of what was written since, each 4 KiB block of each write survives or not on its own, in any
//!   combination; so does each change of length.
//! - A name (created, renamed, removed) is safe once its directory was synced; syncing the file
//!   is not enough. Changes of names since survive or not, each on its own. A rename is one change.
//! - `sync_file_range` is not a sync: the kernel sends the file system nothing for it.
//! - Whatever was synced stays as it is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Unit in which a write tears, in bytes.
const BLOCK_BYTES: u64 = 4096;
/// The root directory.
pub const ROOT: u64 = 1;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to but not including `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// A change of a file since it was last synced.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

/// A change of names since the directory was last synced.
#[derive(Debug, Clone)]
struct NameChange {
    removed: Option<(u64, OsString)>,
    added: Option<(u64, OsString, u64)>,
}

impl NameChange {
    fn touches(&self, dir: u64) -> bool {
        self.removed.as_ref().is_some_and(|(d, _)| *d == dir)
            || self.added.as_ref().is_some_and(|(d, _, _)| *d == dir)
    }
}

#[derive(Debug, Clone, Default)]
pub struct File {
    durable: Vec<u8>,
    pub bytes: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Default)]
pub struct Dir {
    durable: BTreeMap<OsString, u64>,
    pub names: BTreeMap<OsString, u64>,
}

#[derive(Debug, Clone)]
pub enum Node {
    File(File),
    Dir(Dir),
}

/// Everything on the disk, as seen now and as it would be after a cut.
#[derive(Debug, Clone)]
pub struct Disk {
    pub nodes: BTreeMap<u64, Node>,
    changes: Vec<NameChange>,
    next: u64,
}

fn write_at(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

impl Disk {
    pub fn new() -> Disk {
        let root = Node::Dir(Dir::default());
        Disk { nodes: BTreeMap::from([(ROOT, root)]), changes: Vec::new(), next: ROOT + 1 }
    }

    pub fn file(&self, ino: u64) -> Option<&File> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    fn file_mut(&mut self, ino: u64) -> Option<&mut File> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    pub fn dir(&self, ino: u64) -> Option<&Dir> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn dir_mut(&mut self, ino: u64) -> Option<&mut Dir> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    pub fn find(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.dir(dir)?.names.get(name).copied()
    }

    /// Makes a file or directory; `None` when `dir` is none.
    pub fn make(&mut self, dir: u64, name: &OsStr, node: Node) -> Option<u64> {
        let ino = self.next;
        self.dir_mut(dir)?.names.insert(name.into(), ino);
        self.next += 1;
        self.nodes.insert(ino, node);
        let added = Some((dir, name.into(), ino));
        self.changes.push(NameChange { removed: None, added });
        Some(ino)
    }

    pub fn remove(&mut self, dir: u64, name: &OsStr) -> Option<u64> {
        let ino = self.dir_mut(dir)?.names.remove(name)?;
        let removed = Some((dir, name.into()));
        self.changes.push(NameChange { removed, added: None });
        Some(ino)
    }

    pub fn rename(&mut self, from: u64, name: &OsStr, to: u64, new: &OsStr) -> Option<()> {
        self.dir(to)?;
        let ino = self.dir_mut(from)?.names.remove(name)?;
        self.dir_mut(to)?.names.insert(new.into(), ino);
        let (removed, added) = (Some((from, name.into())), Some((to, new.into(), ino)));
        self.changes.push(NameChange { removed, added });
        Some(())
    }

    pub fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Option<()> {
        let file = self.file_mut(ino)?;
        write_at(&mut file.bytes, offset, data);
        file.changes.push(Change::Write { offset, bytes: data.into() });
        Some(())
    }

    pub fn set_length(&mut self, ino: u64, length: u64) -> Option<()> {
        let file = self.file_mut(ino)?;
        file.bytes.resize(length as usize, 0);
        file.changes.push(Change::Length(length));
        Some(())
    }

    pub fn sync_file(&mut self, ino: u64) -> Option<()> {
        let file = self.file_mut(ino)?;
        for change in std::mem::take(&mut file.changes) {
            match change {
                Change::Write { offset, bytes } => write_at(&mut file.durable, offset, &bytes),
                Change::Length(length) => file.durable.resize(length as usize, 0),
            }
        }
        Some(())
    }

    pub fn sync_dir(&mut self, ino: u64) -> Option<()> {
        self.dir(ino)?;
        let (done, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.changes).into_iter().partition(|change| change.touches(ino));
        self.changes = open;
        for change in done {
            self.settle(change);
        }
        Some(())
    }

    fn settle(&mut self, change: NameChange) {
        if let Some((dir, name)) = change.removed
            && let Some(dir) = self.dir_mut(dir)
        {
            dir.durable.remove(&name);
        }
        if let Some((dir, name, ino)) = change.added
            && let Some(dir) = self.dir_mut(dir)
        {
            dir.durable.insert(name, ino);
        }
    }

    /// The disk as it is found after the power comes back.
    pub fn cut(mut self, random: &mut Seeded) -> Disk {
        // Nothing, everything, or some of what was under way.
        let keep_names = [0, 100, 50, 90][random.below(4) as usize];
        let keep_bytes = [0, 100, 50, 90, 97][random.below(5) as usize];
        for change in std::mem::take(&mut self.changes) {
            if random.percent(keep_names) {
                self.settle(change);
            }
        }
        let mut after = Disk { nodes: BTreeMap::new(), changes: Vec::new(), next: self.next };
        let mut reachable = vec![ROOT];
        while let Some(ino) = reachable.pop() {
            let Some(node) = self.nodes.remove(&ino) else { continue };
            let node = match node {
                Node::Dir(dir) => {
                    reachable.extend(dir.durable.values());
                    Node::Dir(Dir { names: dir.durable.clone(), durable: dir.durable })
                }
                Node::File(file) => {
                    let mut durable = file.durable;
                    for change in file.changes {
                        survive(&mut durable, change, keep_bytes, random);
                    }
                    Node::File(File { bytes: durable.clone(), durable, changes: Vec::new() })
                }
            };
            after.nodes.insert(ino, node);
        }
        // A name whose inode was lost with a removed directory does not come back.
        let known: Vec<u64> = after.nodes.keys().copied().collect();
        for node in after.nodes.values_mut() {
            if let Node::Dir(dir) = node {
                dir.names.retain(|_, ino| known.binary_search(ino).is_ok());
                dir.durable.retain(|_, ino| known.binary_search(ino).is_ok());
            }
        }
        after
    }
}

fn survive(durable: &mut Vec<u8>, change: Change, keep: u64, random: &mut Seeded) {
    match change {
        Change::Length(length) => {
            if random.percent(keep) {
                durable.resize(length as usize, 0);
            }
        }
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len() as u64;
            let mut at = offset;
            while at < end {
                let stop = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(end);
                if random.percent(keep) {
                    write_at(durable, at, &bytes[(at - offset) as usize..(stop - offset) as usize]);
                }
                at = stop;
            }
        }
    }
}

/// The disk must lose what was not synced and keep what was; otherwise the test proves nothing.
pub fn check_model() {
    let name = OsStr::new("file");
    let mut lost = [false; 3];
    for seed in 0..200 {
        let mut disk = Disk::new();
        let dir = disk.make(ROOT, OsStr::new("dir"), Node::Dir(Dir::default())).unwrap();
        let file = disk.make(dir, name, Node::File(File::default())).unwrap();
        disk.write(file, 0, &[1; 10_000]).unwrap();
        disk.sync_file(file).unwrap();
        disk.sync_dir(dir).unwrap();
        disk.sync_dir(ROOT).unwrap();
        disk.write(file, 0, &[2; 10_000]).unwrap();
        disk.write(file, 10_000, &[3; 10_000]).unwrap();
        disk.rename(dir, name, ROOT, OsStr::new("moved")).unwrap();
        let after = disk.cut(&mut Seeded(seed));
        let moved = after.find(ROOT, OsStr::new("moved"));
        let stayed = after.find(dir, name);
        assert!(moved.is_some() != stayed.is_some(), "a rename happens once or not at all");
        let bytes = &after.file(moved.or(stayed).unwrap()).unwrap().bytes;
        assert!(bytes.len() >= 10_000, "what was synced stays");
        assert!(bytes[..10_000].iter().all(|byte| *byte == 1 || *byte == 2));
        lost[0] |= moved.is_none();
        lost[1] |= bytes.len() < 20_000;
        lost[2] |= bytes[..10_000].contains(&1) && bytes[..10_000].contains(&2);
    }
    assert_eq!(lost, [true; 3], "names, lengths and parts of writes get lost");
    let mut disk = Disk::new();
    let file = disk.make(ROOT, name, Node::File(File::default())).unwrap();
    disk.sync_file(file).unwrap();
    let kept =
        (0..50).filter(|seed| disk.clone().cut(&mut Seeded(*seed)).find(ROOT, name).is_some());
    assert!(kept.count() < 50, "syncing a file does not make its name durable");
}
