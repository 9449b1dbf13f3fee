//! What an administrator allows: a file that only root can write.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Order;
use crate::limits::{CPU_MAX_PERCENT, CPU_MIN_PERCENT, MEMORY_MIN_BYTES, TASKS_MAX, TASKS_MIN};
use crate::{DESKTOPS_MAX, Places};

/// Largest file that is read, bytes.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The keeper's bounds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The one user who may ask.
    pub user: String,
    /// Where homes lie.
    pub home: PathBuf,
    /// Where cookies and sockets of running desktops lie.
    pub runtime: PathBuf,
    /// The only session commands that may be asked for, besides the default; none for any, since
    /// each runs as its desktop's own user.
    pub commands: Option<Vec<String>>,
    /// Most memory of a desktop, MiB.
    pub memory_max_mib: u64,
    /// Most processor time of a desktop, percent of one core.
    pub cpu_max_percent: u32,
    /// Most processes and threads of a desktop.
    pub tasks_max: u32,
    /// Most desktops that run at a time.
    pub desktops_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            user: "lucid".into(),
            home: "/var/lib/lucid-desktops".into(),
            runtime: "/run/lucid-desktops".into(),
            commands: None,
            memory_max_mib: 8192,
            cpu_max_percent: 1600,
            tasks_max: 4096,
            desktops_max: DESKTOPS_MAX,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Others than root could have written it.
    #[error("{} can be changed by others than root; chown root: and chmod go-w it", path.display())]
    Writable {
        /// Which.
        path: PathBuf,
    },
    /// It is no settings file.
    #[error("{} cannot be understood", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that no desktop could live with.
    #[error("{field} is {found}; {wanted}")]
    Value {
        /// Which.
        field: &'static str,
        /// What stood there.
        found: String,
        /// What would be right.
        wanted: String,
    },
}

impl Settings {
    /// Reads the file; without one, the defaults.
    ///
    /// # Errors
    /// A file that others could have written, or that makes no sense.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Settings::default());
            }
            Err(error) => return Err(failed(error)),
        };
        let found = file.metadata().map_err(failed)?;
        if found.uid() != 0 || found.mode() & 0o022 != 0 || !found.is_file() {
            return Err(SettingsError::Writable { path: path.to_owned() });
        }
        let mut text = String::new();
        file.take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        let settings: Settings = toml::from_str(&text).map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), SettingsError> {
        for (field, path) in [("home", &self.home), ("runtime", &self.runtime)] {
            if !path.is_absolute() {
                let (found, wanted) = (path.display().to_string(), "it is absolute".to_owned());
                return Err(SettingsError::Value { field, found, wanted });
            }
        }
        let bounds = [
            ("memory_max_mib", self.memory_max_mib, MEMORY_MIN_BYTES >> 20, 1 << 20),
            (
                "cpu_max_percent",
                self.cpu_max_percent.into(),
                CPU_MIN_PERCENT.into(),
                CPU_MAX_PERCENT.into(),
            ),
            ("tasks_max", self.tasks_max.into(), TASKS_MIN.into(), TASKS_MAX.into()),
            ("desktops_max", self.desktops_max as u64, 1, DESKTOPS_MAX as u64),
        ];
        for (field, found, least, most) in bounds {
            if !(least..=most).contains(&found) {
                let (found, wanted) = (found.to_string(), format!("it may be {least} to {most}"));
                return Err(SettingsError::Value { field, found, wanted });
            }
        }
        Ok(())
    }

    /// Whether an order lies within the bounds; else what would be right.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn allow(&self, order: &Order) -> Result<(), String> {
        let bounds = [
            ("memory_max_mib", order.limits.memory_bytes.div_ceil(1 << 20), self.memory_max_mib),
            ("cpu_max_percent", order.limits.cpu_percent.into(), self.cpu_max_percent.into()),
            ("tasks_max", order.limits.tasks.into(), self.tasks_max.into()),
        ];
        for (field, found, most) in bounds {
            if found > most {
                return Err(format!(
                    "the desktop asks for {found}, and {field} is {most}; ask for less or raise it \
                     in {}",
                    super::SETTINGS
                ));
            }
        }
        match (&self.commands, &order.definition.command) {
            (Some(allowed), Some(command)) if !allowed.contains(command) => Err(format!(
                "the session command is not among `commands` in {}; add it there or choose another",
                super::SETTINGS
            )),
            _ => Ok(()),
        }
    }

    /// Where a desktop's files lie.
    pub fn places(&self, order: &Order) -> Places {
        Places { runtime: self.runtime.join(&order.key), home: self.home.join(&order.key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Definition, Limits};

    fn order(command: Option<&str>) -> Order {
        Order {
            index: 1,
            key: "dsk-a".into(),
            definition: Definition {
                name: "a".into(),
                width: 640,
                height: 400,
                command: command.map(str::to_owned),
                restart: false,
            },
            limits: Limits::default(),
        }
    }

    #[test]
    fn orders_outside_the_bounds_are_refused_by_the_name_of_the_bound() {
        let settings = Settings::default();
        assert_eq!(settings.allow(&order(Some("exec xterm"))), Ok(()));
        let mut large = order(None);
        large.limits.memory_bytes = (8192 << 20) + 1;
        assert!(settings.allow(&large).unwrap_err().contains("memory_max_mib is 8192"));
        let mut large = order(None);
        large.limits.tasks = 5000;
        assert!(settings.allow(&large).unwrap_err().contains("tasks_max"));
        let mut large = order(None);
        large.limits.cpu_percent = 6400;
        assert!(settings.allow(&large).unwrap_err().contains("cpu_max_percent"));
        let only = Settings { commands: Some(vec!["exec xterm".into()]), ..settings };
        assert_eq!(only.allow(&order(Some("exec xterm"))), Ok(()));
        assert_eq!(only.allow(&order(None)), Ok(()));
        assert!(only.allow(&order(Some("exec sh"))).unwrap_err().contains("commands"));
    }

    #[test]
    fn settings_that_others_could_write_are_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("desktops.toml");
        assert_eq!(Settings::read(&path).unwrap(), Settings::default());
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("tasks_max = 100\n", 0o664);
        assert!(matches!(Settings::read(&path), Err(SettingsError::Writable { .. })));
        if !rustix::process::geteuid().is_root() {
            return;
        }
        write("tasks_max = 100\n", 0o644);
        assert_eq!(Settings::read(&path).unwrap().tasks_max, 100);
        write("task_max = 100\n", 0o644);
        assert!(matches!(Settings::read(&path), Err(SettingsError::Parse { .. })));
        for wrong in ["tasks_max = 1", "home = \"var\"", "desktops_max = 0", "memory_max_mib = 1"] {
            write(wrong, 0o644);
            assert!(matches!(Settings::read(&path), Err(SettingsError::Value { .. })), "{wrong}");
        }
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(Settings::read(&dir.path().join("link")).is_err());
    }
}
