//! As whom a desktop's programs run.
//!
//! Programs that run as the daemon's own user can read its keys, and programs of root everything.
//! So a daemon that is root gives each desktop two users of its own, numbers that no other program
//! has: one for the session, one for its X server, so that the worker cannot reach into the picture
//! that is recorded. A daemon that is not root cannot, and says so.

use std::path::{Path, PathBuf};

/// Numbers from here on are the users of sessions, by the desktop's index. They lie above those
/// that systems give to people and programs, and below those of containers.
pub const SESSION_UID_FIRST: u32 = 70_000;
/// Numbers from here on are the users of X servers.
pub const SERVER_UID_FIRST: u32 = 72_000;

/// Whose programs a desktop runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// A user of the desktop's own, without a name. Only a daemon that is root can do so.
    Own {
        /// The desktop's index among all, below [`super::DESKTOPS_MAX`]; never another's.
        index: u16,
    },
    /// A user of the system. Only a daemon that is root can do so.
    User {
        /// As it stands in `/etc/passwd`.
        name: String,
        /// The desktop's index, for the X server.
        index: u16,
    },
    /// The daemon's own user, which must not be root.
    Daemon,
    /// The daemon's own user, even root. Whoever works on such a desktop owns the device.
    DaemonEvenRoot,
}

/// Numbers of a user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What was made of [`RunAs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The session's programs; none for the daemon's own user.
    pub session: Option<Ids>,
    /// The X server; none for the daemon's own user.
    pub server: Option<Ids>,
    /// Whether everything of the session's user is the desktop's.
    pub exclusive: bool,
    /// Name for `USER`, where the system has one.
    pub name: Option<String>,
    /// The user's shell, where the system names one.
    pub shell: Option<PathBuf>,
}

/// Why programs cannot run as somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Only root may.
    #[error("desktops can only run as another user when lucid is root; it is user {uid}")]
    NotRoot {
        /// Who it is.
        uid: u32,
    },
    /// Root may not, unless told to.
    #[error(
        "lucid is root, and a desktop would be root too; name a user, or none so that it gets one \
         of its own"
    )]
    Root,
    /// No such user.
    #[error("no user {name:?} in /etc/passwd; make it (adduser) or name another")]
    Unknown {
        /// What stood there, cut at 80 characters.
        name: String,
    },
    /// The index would be another's number.
    #[error("desktop index {index} is not below {}", super::DESKTOPS_MAX)]
    Index {
        /// Which.
        index: u16,
    },
}

impl RunAs {
    /// What is best for this daemon: a user of its own if it is root, else its own.
    pub fn best(index: u16) -> Self {
        match rustix::process::geteuid().is_root() {
            true => RunAs::Own { index },
            false => RunAs::Daemon,
        }
    }

    /// Finds the numbers. `uid` is the daemon's, `passwd` the text of `/etc/passwd`.
    ///
    /// # Errors
    /// When the daemon may not, or the user is not known.
    pub fn resolve(&self, uid: u32, passwd: &str) -> Result<Identity, IdentityError> {
        let own = |index: u16| {
            if usize::from(index) >= super::DESKTOPS_MAX {
                return Err(IdentityError::Index { index });
            }
            let both = |first: u32| {
                let uid = first + u32::from(index);
                Ids { uid, gid: uid }
            };
            Ok((both(SESSION_UID_FIRST), both(SERVER_UID_FIRST)))
        };
        match self {
            RunAs::Daemon if uid == 0 => Err(IdentityError::Root),
            RunAs::Daemon | RunAs::DaemonEvenRoot => Ok(Identity {
                session: None,
                server: None,
                exclusive: false,
                name: None,
                shell: None,
            }),
            RunAs::Own { .. } | RunAs::User { .. } if uid != 0 => {
                Err(IdentityError::NotRoot { uid })
            }
            RunAs::Own { index } => {
                let (session, server) = own(*index)?;
                let (session, server) = (Some(session), Some(server));
                Ok(Identity { session, server, exclusive: true, name: None, shell: None })
            }
            RunAs::User { name, index } => {
                let (_, server) = own(*index)?;
                let unknown = || IdentityError::Unknown { name: name.chars().take(80).collect() };
                let (ids, shell) = find(passwd, name).ok_or_else(unknown)?;
                if ids.uid == 0 {
                    return Err(IdentityError::Root);
                }
                Ok(Identity {
                    session: Some(ids),
                    server: Some(server),
                    exclusive: false,
                    name: Some(name.clone()),
                    shell,
                })
            }
        }
    }
}

/// The numbers of a user in the text of `/etc/passwd`; never root's.
pub fn named(passwd: &str, name: &str) -> Option<Ids> {
    find(passwd, name).map(|(ids, _)| ids).filter(|ids| ids.uid != 0)
}

fn find(passwd: &str, name: &str) -> Option<(Ids, Option<PathBuf>)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let shell = fields.nth(2).filter(|shell| shell.starts_with('/'));
        Some((Ids { uid, gid }, shell.map(|shell| Path::new(shell).to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          anna:x:1000:1001:Anna,,,:/home/anna:/bin/zsh\nbroken:x:\n";

    #[test]
    fn root_gives_each_desktop_users_of_its_own_and_never_itself() {
        let first = RunAs::Own { index: 0 }.resolve(0, PASSWD).unwrap();
        let last = RunAs::Own { index: 999 }.resolve(0, PASSWD).unwrap();
        let mut numbers: Vec<u32> = [&first, &last]
            .iter()
            .flat_map(|one| [one.session.unwrap().uid, one.server.unwrap().uid])
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [70_000, 70_999, 72_000, 72_999]);
        assert!(first.exclusive);
        let index = RunAs::Own { index: 1000 }.resolve(0, PASSWD);
        assert_eq!(index, Err(IdentityError::Index { index: 1000 }));
        assert_eq!(RunAs::Daemon.resolve(0, PASSWD), Err(IdentityError::Root));
        let root = RunAs::User { name: "root".into(), index: 1 };
        assert_eq!(root.resolve(0, PASSWD), Err(IdentityError::Root));
        assert!(RunAs::DaemonEvenRoot.resolve(0, PASSWD).unwrap().session.is_none());
    }

    #[test]
    fn users_are_found_by_name_and_only_by_root() {
        let anna = RunAs::User { name: "anna".into(), index: 7 };
        let found = anna.resolve(0, PASSWD).unwrap();
        assert_eq!(found.session, Some(Ids { uid: 1000, gid: 1001 }));
        assert_eq!(found.server, Some(Ids { uid: 72_007, gid: 72_007 }));
        assert_eq!(found.shell.as_deref(), Some(Path::new("/bin/zsh")));
        assert!(!found.exclusive);
        assert_eq!(anna.resolve(1000, PASSWD), Err(IdentityError::NotRoot { uid: 1000 }));
        for name in ["bert", "broken", "", "ann"] {
            let error = RunAs::User { name: name.into(), index: 0 }.resolve(0, PASSWD);
            assert_eq!(error, Err(IdentityError::Unknown { name: name.into() }));
        }
        assert!(RunAs::Daemon.resolve(1000, PASSWD).unwrap().session.is_none());
    }
}
