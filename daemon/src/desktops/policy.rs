//! The session policy as JSON: what is absent is not allowed.

use lucid_rdp::policy::{
    CLIPBOARD_DEFAULT_BYTES, FILE_DEFAULT_BYTES, FileRule, KeyRecording, MOUSE_RATE_DEFAULT,
    Policy, PolicyError,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Not at all, up to the usual limit, or up to this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Allowed {
    /// Not at all, or with the usual limit.
    Plain(bool),
    /// Up to this number: events a second, or bytes.
    UpTo(u64),
}

/// Files one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Files {
    /// Not at all, or any up to 64 MiB.
    Plain(bool),
    /// These.
    Only(FilesAllowed),
}

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesAllowed {
    /// Largest single file; 64 MiB if absent.
    #[serde(default = "file_bytes")]
    pub max_bytes: u64,
    /// Extensions without the dot; `*` for all.
    #[serde(default = "every_extension")]
    pub extensions: Vec<String>,
}

/// What a remote worker may do; what is left out is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyBody {
    /// Keys reach the desktop.
    pub keyboard: bool,
    /// Pointer events reach it: true, or at most so many a second.
    pub mouse: Allowed,
    /// Clipboard into the desktop: true, or at most so many bytes.
    pub clipboard_in: Allowed,
    /// Clipboard out of the desktop: true, or at most so many bytes.
    pub clipboard_out: Allowed,
    /// Files into the desktop.
    pub files_in: Files,
    /// Files out of the desktop.
    pub files_out: Files,
    /// Sound is sent out.
    pub audio: bool,
    /// The client may change the desktop's size.
    pub resize: bool,
    /// Observers at a time, at most 8.
    pub observers: u32,
    /// Keys are recorded, not only counted.
    pub record_keys: bool,
}

impl Default for PolicyBody {
    fn default() -> Self {
        Self::from(&Policy::default())
    }
}

fn file_bytes() -> u64 {
    FILE_DEFAULT_BYTES
}

fn every_extension() -> Vec<String> {
    vec!["*".to_owned()]
}

/// What a desktop allows unless its operator says otherwise: to work, and to take nothing in or
/// out.
pub fn working() -> Policy {
    Policy { keyboard: true, mouse_per_s: Some(MOUSE_RATE_DEFAULT), ..Policy::default() }
}

impl Allowed {
    fn read(self, usual: u64) -> Option<u64> {
        match self {
            Self::Plain(false) => None,
            Self::Plain(true) => Some(usual),
            Self::UpTo(most) => Some(most),
        }
    }

    fn show(limit: Option<u64>) -> Self {
        limit.map_or(Self::Plain(false), Self::UpTo)
    }
}

impl Files {
    fn read(self) -> Option<FileRule> {
        let rule = match self {
            Self::Plain(false) => return None,
            Self::Plain(true) => {
                FilesAllowed { max_bytes: file_bytes(), extensions: every_extension() }
            }
            Self::Only(rule) => rule,
        };
        let tidy = |one: &String| one.trim().trim_start_matches('.').to_lowercase();
        let mut extensions: Vec<String> = rule.extensions.iter().map(tidy).collect();
        extensions.sort();
        extensions.dedup();
        Some(FileRule { max_bytes: rule.max_bytes, extensions })
    }

    fn show(rule: Option<&FileRule>) -> Self {
        rule.map_or(Self::Plain(false), |rule| {
            let FileRule { max_bytes, extensions } = rule.clone();
            Self::Only(FilesAllowed { max_bytes, extensions })
        })
    }
}

impl TryFrom<PolicyBody> for Policy {
    type Error = PolicyError;

    fn try_from(body: PolicyBody) -> Result<Self, PolicyError> {
        let rate = body.mouse.read(u64::from(MOUSE_RATE_DEFAULT));
        let policy = Self {
            keyboard: body.keyboard,
            // What does not fit is refused by `validate`, as any number above the limit.
            mouse_per_s: rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
            clipboard_in_bytes: body.clipboard_in.read(CLIPBOARD_DEFAULT_BYTES),
            clipboard_out_bytes: body.clipboard_out.read(CLIPBOARD_DEFAULT_BYTES),
            files_in: body.files_in.read(),
            files_out: body.files_out.read(),
            audio: body.audio,
            resize: body.resize,
            observers: body.observers,
            record_keys: if body.record_keys {
                KeyRecording::Strokes
            } else {
                KeyRecording::Counts
            },
        };
        policy.validate()?;
        Ok(policy)
    }
}

impl From<&Policy> for PolicyBody {
    fn from(policy: &Policy) -> Self {
        Self {
            keyboard: policy.keyboard,
            mouse: Allowed::show(policy.mouse_per_s.map(u64::from)),
            clipboard_in: Allowed::show(policy.clipboard_in_bytes),
            clipboard_out: Allowed::show(policy.clipboard_out_bytes),
            files_in: Files::show(policy.files_in.as_ref()),
            files_out: Files::show(policy.files_out.as_ref()),
            audio: policy.audio,
            resize: policy.resize,
            observers: policy.observers,
            record_keys: policy.record_keys == KeyRecording::Strokes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Policy, PolicyError> {
        serde_json::from_str::<PolicyBody>(json).unwrap().try_into()
    }

    #[test]
    fn what_is_absent_is_not_allowed_and_true_means_the_usual() {
        assert_eq!(read("{}").unwrap(), Policy::default());
        assert_eq!(read(r#"{"keyboard": true, "mouse": true}"#).unwrap(), working());
        let policy = read(
            r#"{"mouse": 50, "clipboard_in": true, "files_out":
                {"max_bytes": 10, "extensions": [".PDF", "csv", "pdf"]}, "files_in": true}"#,
        )
        .unwrap();
        assert_eq!(policy.mouse_per_s, Some(50));
        assert_eq!(policy.clipboard_in_bytes, Some(CLIPBOARD_DEFAULT_BYTES));
        assert_eq!(policy.files_out.as_ref().unwrap().extensions, ["csv", "pdf"]);
        let shown = PolicyBody::from(&policy);
        let again = serde_json::to_string(&shown).unwrap();
        assert_eq!(read(&again).unwrap(), policy);
    }

    #[test]
    fn numbers_out_of_range_and_unknown_fields_are_refused() {
        for json in [
            r#"{"mouse": 0}"#,
            r#"{"mouse": 4294967296000}"#,
            r#"{"observers": 9}"#,
            r#"{"files_in": {"extensions": []}}"#,
            r#"{"files_in": {"extensions": ["a/b"]}}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
        for json in [r#"{"mice": 1}"#, r#"{"mouse": -1}"#, r#"{"files_in": {"size": 1}}"#] {
            assert!(serde_json::from_str::<PolicyBody>(json).is_err(), "{json}");
        }
    }
}
