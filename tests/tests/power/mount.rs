//! The disk as a mounted file system, and the moment the power goes.
//!
//! After a set number of changes every request is answered with an I/O error, as a drive that is
//! gone would, and whoever holds the mount is told.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::disk::{Dir, Disk, File, Node};

const TTL: Duration = Duration::from_secs(60);
/// Each write of the process is one request, not one per page.
const UNCACHED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;
/// Blocks of 4 KiB the disk claims to have: enough never to be full.
const BLOCKS: u64 = 1 << 24;

struct State {
    disk: Disk,
    /// Changes until the power goes; `None`: it stays.
    left: Option<u64>,
    dead: bool,
    cut: Option<Sender<()>>,
}

/// A mounted [`Disk`].
pub struct Mounted {
    state: Arc<Mutex<State>>,
    session: BackgroundSession,
}

struct PowerCutFileSystem {
    state: Arc<Mutex<State>>,
    free_blocks: u64,
}

/// How a disk may be in a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Good,
    /// Mounted read-only.
    ReadOnly,
    /// This many bytes are free, whatever is written.
    Free(u64),
}

/// Mounts `disk`; the power goes in the middle of change number `left`, and `cut` hears of it.
pub fn mount(disk: Disk, at: &Path, left: Option<u64>, cut: Option<Sender<()>>) -> Mounted {
    mount_as(Condition::Good, disk, at, left, cut)
}

/// As [`mount`], on a disk in some condition.
pub fn mount_as(
    condition: Condition,
    disk: Disk,
    at: &Path,
    left: Option<u64>,
    cut: Option<Sender<()>>,
) -> Mounted {
    let state = Arc::new(Mutex::new(State { disk, left, dead: false, cut }));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("powercut".into()), MountOption::NoAtime];
    let mut free_blocks = BLOCKS;
    match condition {
        Condition::Good => {}
        Condition::ReadOnly => config.mount_options.push(MountOption::RO),
        Condition::Free(bytes) => free_blocks = bytes / 4096,
    }
    let file_system = PowerCutFileSystem { state: state.clone(), free_blocks };
    let session = fuser::spawn_mount(file_system, at, &config).unwrap_or_else(|error| {
        panic!("cannot mount at {}: {error}; needs /dev/fuse and fusermount3", at.display())
    });
    Mounted { state, session }
}

impl Mounted {
    /// Takes the disk out. Nobody may have files open any more.
    pub fn take(self) -> Disk {
        match self.session.umount_and_join() {
            // The kernel may end the connection before the serving thread hears of the unmount.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            other => other.unwrap(),
        }
        std::mem::replace(&mut self.state.lock().unwrap().disk, Disk::new())
    }
}

impl State {
    /// Whether the power goes during this change. Without power nothing is answered any more.
    fn power_goes(&mut self) -> Result<bool, Errno> {
        self.alive()?;
        let Some(left) = self.left.as_mut() else { return Ok(false) };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Ok(false);
        }
        self.dead = true;
        if let Some(cut) = self.cut.take() {
            // The other side may have stopped caring.
            let _ = cut.send(());
        }
        Ok(true)
    }

    fn alive(&self) -> Result<(), Errno> {
        if self.dead { Err(Errno::EIO) } else { Ok(()) }
    }

    fn attr(&self, ino: u64) -> Option<FileAttr> {
        let (kind, size, perm) = match self.disk.nodes.get(&ino)? {
            Node::File(file) => (FileType::RegularFile, file.bytes.len() as u64, 0o600),
            Node::Dir(_) => (FileType::Directory, 0, 0o700),
        };
        let now = SystemTime::now();
        Some(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: now,
            ctime: now,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl PowerCutFileSystem {
    fn with<T>(&self, call: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        call(&mut self.state.lock().unwrap())
    }

    /// A change that is on its way to the disk. When the power goes during it, it may arrive, but
    /// is never answered.
    fn changed(&self, call: impl FnOnce(&mut Disk) -> Option<()>) -> Result<(), Errno> {
        self.with(|state| {
            let goes = state.power_goes()?;
            let result = call(&mut state.disk).ok_or(Errno::ENOENT);
            if goes { Err(Errno::EIO) } else { result }
        })
    }

    /// A sync; when the power goes during it, it did not happen.
    fn synced(&self, call: impl FnOnce(&mut Disk) -> Option<()>) -> Result<(), Errno> {
        self.with(|state| {
            if state.power_goes()? {
                return Err(Errno::EIO);
            }
            call(&mut state.disk).ok_or(Errno::ENOENT)
        })
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for PowerCutFileSystem {
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), UNCACHED);
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|state| {
            state.alive()?;
            let ino = state.disk.find(parent.0, name).ok_or(Errno::ENOENT)?;
            state.attr(ino).ok_or(Errno::ENOENT)
        });
        match found {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|state| state.alive().and(state.attr(ino.0).ok_or(Errno::ENOENT))) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let result = match size {
            Some(size) => self.changed(|disk| disk.set_length(ino.0, size)),
            None => Ok(()),
        };
        let attr =
            result.and_then(|()| self.with(|s| s.alive().and(s.attr(ino.0).ok_or(Errno::ENOENT))));
        match attr {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        match self.make(parent.0, name, Node::Dir(Dir::default())) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent.0, name, Node::File(File::default())) {
            Ok(attr) => {
                reply.created(&TTL, &attr, Generation(0), FileHandle(0), UNCACHED);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.changed(|disk| disk.remove(parent.0, name).map(drop)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let full = self.with(|state| {
            let ino = state.disk.find(parent.0, name).ok_or(Errno::ENOENT)?;
            Ok(state.disk.dir(ino).is_some_and(|dir| !dir.names.is_empty()))
        });
        match full {
            Ok(true) => reply.error(Errno::ENOTEMPTY),
            Ok(false) => done(self.changed(|disk| disk.remove(parent.0, name).map(drop)), reply),
            Err(error) => reply.error(error),
        }
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = |disk: &mut Disk| disk.rename(parent.0, name, new_parent.0, new_name);
        done(self.changed(rename), reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state.lock().unwrap();
        match (state.alive(), state.disk.file(ino.0)) {
            (Err(error), _) => reply.error(error),
            (_, None) => reply.error(Errno::ENOENT),
            (_, Some(file)) => {
                let start = (offset as usize).min(file.bytes.len());
                let end = (start + size as usize).min(file.bytes.len());
                reply.data(&file.bytes[start..end]);
            }
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.changed(|disk| disk.write(ino.0, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        done(self.synced(|disk| disk.sync_file(ino.0)), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        done(self.synced(|disk| disk.sync_dir(ino.0)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.state.lock().unwrap();
        let Some(dir) = state.disk.dir(ino.0).filter(|_| !state.dead) else {
            reply.error(Errno::EIO);
            return;
        };
        let dots = [(".", ino.0), ("..", ino.0)].map(|(name, ino)| (OsStr::new(name), ino));
        let names = dir.names.iter().map(|(name, ino)| (name.as_os_str(), *ino));
        for (at, (name, ino)) in dots.into_iter().chain(names).enumerate().skip(offset as usize) {
            let kind = match state.disk.nodes.get(&ino) {
                Some(Node::File(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(ino), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = self.free_blocks;
        reply.statfs(BLOCKS, free, free, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}

impl PowerCutFileSystem {
    fn make(&self, parent: u64, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        self.changed(|disk| disk.make(parent, name, node).map(drop))?;
        self.with(|state| {
            let ino = state.disk.find(parent, name).ok_or(Errno::ENOENT)?;
            state.attr(ino).ok_or(Errno::ENOENT)
        })
    }
}
