//! Users by name. Names are read from `/etc/passwd`; a directory service is not asked.

use std::path::Path;

/// A user nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not in the file.
    #[error("there is no user {0:?} in /etc/passwd; give its number")]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read {path}; give users by their numbers")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The id of `name` in the text of a passwd file; a number is its own id.
pub fn find(name: &str, passwd: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Ids of the users who may ask: the named ones and whoever runs this process.
///
/// # Errors
/// When a name is nobody's.
pub fn resolve(names: &[String]) -> Result<Vec<u32>, UserError> {
    let mut ids = vec![rustix::process::getuid().as_raw()];
    let path = Path::new("/etc/passwd");
    for name in names {
        let id = match name.parse() {
            Ok(id) => id,
            Err(_) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| UserError::Read { path: path.into(), source })?;
                find(name, &text).ok_or_else(|| UserError::Unknown(name.clone()))?
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_users() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nlucid:x:991:990::/:/bin/false\nbad:x\n";
        assert_eq!(find("lucid", passwd), Some(991));
        assert_eq!(find("77", passwd), Some(77));
        assert_eq!(find("luci", passwd), None);
        assert_eq!(find("bad", passwd), None);
        assert!(resolve(&["no-such-user-here".to_owned()]).is_err());
        assert_eq!(resolve(&[]).unwrap(), [rustix::process::getuid().as_raw()]);
    }
}
