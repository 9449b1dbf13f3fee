//! RAUC over D-Bus: what is in a bundle, writing it to the other slot, and the slots.
//!
//! Interface `de.pengutronix.rauc.Installer`, as RAUC's reference has it; RAUC before 1.9 knows no
//! `InspectBundle` and is asked by `Info` instead, which says nothing of a bundle's data format.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;
use zbus::zvariant::{OwnedValue, Value};
use zbus::{Connection, connection};

use crate::update::Bundle;
use crate::version::{Version, VersionError};

/// Longest a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Longest an installation may take.
const INSTALL_WITHIN: Duration = Duration::from_secs(3600);
/// What a bundle that does not say so is taken for: the first format there was.
const DATA_FORMAT_FIRST: u64 = 1;
/// Most slots listed.
const SLOTS_MAX: usize = 16;

#[zbus::proxy(
    interface = "de.pengutronix.rauc.Installer",
    default_service = "de.pengutronix.rauc",
    default_path = "/"
)]
trait Installer {
    fn install_bundle(&self, source: &str, args: HashMap<&str, Value<'_>>) -> zbus::Result<()>;
    fn inspect_bundle(
        &self,
        bundle: &str,
        args: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<HashMap<String, OwnedValue>>;
    fn info(&self, bundle: &str) -> zbus::Result<(String, String)>;
    fn mark(&self, state: &str, slot: &str) -> zbus::Result<(String, String)>;
    fn get_slot_status(&self) -> zbus::Result<Vec<(String, HashMap<String, OwnedValue>)>>;
    fn get_primary(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn last_error(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn operation(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<(i32, String, i32)>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn compatible(&self) -> zbus::Result<String>;
    #[zbus(signal)]
    fn completed(&self, result: i32) -> zbus::Result<()>;
}

/// Why RAUC did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RaucError {
    /// The bus, or RAUC on it.
    #[error("RAUC cannot be reached; is rauc.service installed?")]
    Unreachable(#[source] Box<zbus::Error>),
    /// RAUC said no.
    #[error("RAUC refuses: {0}")]
    Refused(String),
    /// The installation failed.
    #[error("RAUC could not install the bundle: {0}")]
    Install(String),
    /// No answer, or no end.
    #[error("RAUC did not finish within {} s", .0.as_secs())]
    Late(Duration),
    /// It ended in the middle.
    #[error("RAUC ended in the middle of the installation")]
    Gone,
    /// The version in the bundle.
    #[error("the bundle's version cannot be compared")]
    Version(#[from] VersionError),
    /// A path that D-Bus cannot carry.
    #[error("the bundle's path is not valid UTF-8")]
    Path,
}

impl From<zbus::Error> for RaucError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(ref name, ref words, _)
                if !name.as_str().starts_with("org.freedesktop.DBus.Error.ServiceUnknown")
                    && !name.as_str().starts_with("org.freedesktop.DBus.Error.NameHasNoOwner") =>
            {
                Self::Refused(words.clone().unwrap_or_else(|| name.to_string()))
            }
            error => Self::Unreachable(Box::new(error)),
        }
    }
}

/// A slot, as RAUC shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// RAUC's name of it: `root.0`.
    pub name: String,
    /// What the boot loader calls it: `A`; partitions of a system's root have none of their own.
    pub bootname: Option<String>,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// Where it is.
    pub device: String,
    /// `good` or `bad`.
    pub boot_status: Option<String>,
    /// The version that was installed there by RAUC.
    pub version: Option<String>,
    /// When, as RAUC has it.
    pub installed_at: Option<String>,
}

/// RAUC on a bus.
#[derive(Clone, Debug)]
pub struct Rauc {
    installer: InstallerProxy<'static>,
}

async fn within<T>(
    most: Duration,
    asked: impl Future<Output = zbus::Result<T>>,
) -> Result<T, RaucError> {
    match timeout(most, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(RaucError::Late(most)),
    }
}

impl Rauc {
    /// RAUC on the system's bus, or on the bus at `address`. It is started when it is first asked.
    ///
    /// # Errors
    /// [`RaucError::Unreachable`] when there is no bus.
    pub async fn connect(address: Option<&str>) -> Result<Self, RaucError> {
        let connect = async {
            let bus: Connection = match address {
                Some(address) => connection::Builder::address(address)?.build().await?,
                None => Connection::system().await?,
            };
            InstallerProxy::new(&bus).await
        };
        Ok(Self { installer: within(ANSWER_WITHIN, connect).await? })
    }

    /// The kind of device RAUC takes bundles for.
    ///
    /// # Errors
    /// When RAUC cannot be asked.
    pub async fn compatible(&self) -> Result<String, RaucError> {
        within(ANSWER_WITHIN, self.installer.compatible()).await
    }

    /// What is in the bundle at `path`, once its signature is found to be right.
    ///
    /// # Errors
    /// [`RaucError::Refused`] for one that is not to be trusted, in RAUC's words.
    pub async fn inspect(&self, path: &Path) -> Result<Bundle, RaucError> {
        let path = path.to_str().ok_or(RaucError::Path)?;
        let asked = self.installer.inspect_bundle(path, HashMap::new());
        let told = match within(ANSWER_WITHIN, asked).await {
            Ok(told) => told,
            Err(RaucError::Refused(words)) if is_unknown_method(&words) => {
                let asked = self.installer.info(path);
                let (compatible, version) = within(ANSWER_WITHIN, asked).await?;
                return Ok(Bundle {
                    compatible,
                    version: version.parse()?,
                    data_format: DATA_FORMAT_FIRST,
                    data_format_oldest: DATA_FORMAT_FIRST,
                });
            }
            Err(error) => return Err(error),
        };
        bundle(&told)
    }

    /// Writes the bundle at `path` to the other slot; `progress` hears how far it is, of 100, never
    /// less than it heard before, and 100 once the slot is written.
    ///
    /// # Errors
    /// [`RaucError::Install`] in RAUC's words.
    pub async fn install(&self, path: &Path, progress: impl Fn(u8)) -> Result<(), RaucError> {
        let path = path.to_str().ok_or(RaucError::Path)?;
        // Listen first, ask then: a short installation would be over unheard.
        let mut completed = within(ANSWER_WITHIN, self.installer.receive_completed()).await?;
        let mut moved = self.installer.receive_progress_changed().await;
        let mut told = None;
        let owner = self.installer.inner().receive_owner_changed();
        let mut owner = within(ANSWER_WITHIN, owner).await?;
        within(ANSWER_WITHIN, self.installer.install_bundle(path, HashMap::new())).await?;
        let ended = async {
            loop {
                tokio::select! {
                    // What was told before the end is heard before it.
                    biased;
                    Some(change) = moved.next() => {
                        // RAUC leaves the property at 100 when an operation ends, and the first
                        // that is heard may be the operation before this one.
                        if let Ok((percent @ 0..100, ..)) = change.get().await
                            && told < Some(percent)
                        {
                            told = Some(percent);
                            progress(percent as u8);
                        }
                    }
                    signal = completed.next() => {
                        let signal = signal.ok_or(RaucError::Gone)?;
                        return Ok::<i32, RaucError>(*signal.args()?.result());
                    }
                    change = owner.next() => {
                        if change.flatten().is_none() {
                            return Err(RaucError::Gone);
                        }
                    }
                }
            }
        };
        let result = match timeout(INSTALL_WITHIN, ended).await {
            Ok(result) => result?,
            Err(_) => return Err(RaucError::Late(INSTALL_WITHIN)),
        };
        if result == 0 {
            progress(100);
            return Ok(());
        }
        let words = within(ANSWER_WITHIN, self.installer.last_error()).await?;
        Err(RaucError::Install(words))
    }

    /// Whether RAUC is doing nothing.
    ///
    /// # Errors
    /// When RAUC cannot be asked.
    pub async fn idle(&self) -> Result<bool, RaucError> {
        Ok(within(ANSWER_WITHIN, self.installer.operation()).await? == "idle")
    }

    /// Marks a slot `good`, `bad` or `active`; `slot` is `booted`, `other` or RAUC's name of one.
    /// Gives back RAUC's words.
    ///
    /// # Errors
    /// When RAUC, or the boot loader's backend, refuses.
    pub async fn mark(&self, state: &str, slot: &str) -> Result<String, RaucError> {
        Ok(within(ANSWER_WITHIN, self.installer.mark(state, slot)).await?.1)
    }

    /// RAUC's name of the slot that starts next.
    ///
    /// # Errors
    /// When RAUC, or the boot loader's backend, cannot say.
    pub async fn primary(&self) -> Result<String, RaucError> {
        within(ANSWER_WITHIN, self.installer.get_primary()).await
    }

    /// The slots, in RAUC's order.
    ///
    /// # Errors
    /// When RAUC cannot be asked.
    pub async fn slots(&self) -> Result<Vec<SlotStatus>, RaucError> {
        let told = within(ANSWER_WITHIN, self.installer.get_slot_status()).await?;
        let slot = |(name, facts): (String, HashMap<String, OwnedValue>)| {
            let text = |key: &str| facts.get(key).and_then(|value| text(value));
            SlotStatus {
                name,
                bootname: text("bootname"),
                state: text("state").unwrap_or_default(),
                device: text("device").unwrap_or_default(),
                boot_status: text("boot-status"),
                version: text("bundle.version"),
                installed_at: text("installed.timestamp"),
            }
        };
        Ok(told.into_iter().take(SLOTS_MAX).map(slot).collect())
    }
}

fn is_unknown_method(words: &str) -> bool {
    words.contains("InspectBundle") || words.contains("UnknownMethod")
}

/// What `InspectBundle` told.
fn bundle(told: &HashMap<String, OwnedValue>) -> Result<Bundle, RaucError> {
    let word = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(plain(told.get(*first)?), |value, key| member(value, key))
            .and_then(text)
    };
    let number = |key| {
        let value = word(&["meta", "lucid", key]);
        value.map_or(Ok(DATA_FORMAT_FIRST), |value| {
            value.parse().map_err(|_| {
                RaucError::Refused(format!("{key} in the bundle is {value:?}, not a number"))
            })
        })
    };
    let version: Version = word(&["update", "version"]).unwrap_or_default().parse()?;
    Ok(Bundle {
        compatible: word(&["update", "compatible"]).unwrap_or_default(),
        version,
        data_format: number("data-format")?,
        data_format_oldest: number("data-format-oldest")?,
    })
}

/// A value without the variants around it.
fn plain<'a>(value: &'a Value<'a>) -> &'a Value<'a> {
    match value {
        Value::Value(inner) => plain(inner),
        value => value,
    }
}

fn member<'a>(value: &'a Value<'a>, key: &str) -> Option<&'a Value<'a>> {
    let Value::Dict(dictionary) = value else { return None };
    let found = dictionary.iter().find(|(name, _)| matches!(name, Value::Str(name) if name == key));
    found.map(|(_, value)| plain(value))
}

fn text<'a>(value: &'a Value<'a>) -> Option<String> {
    match plain(value) {
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(value: Value<'_>) -> OwnedValue {
        value.try_into().unwrap()
    }

    /// The shape of RAUC 1.9 and later, as its reference describes it.
    fn told(meta: &[(&str, &str)]) -> HashMap<String, OwnedValue> {
        let update: HashMap<&str, Value<'_>> =
            HashMap::from([("compatible", "lucid-rpi5".into()), ("version", "2.0.0".into())]);
        let group: HashMap<&str, Value<'_>> =
            meta.iter().map(|(key, value)| (*key, Value::from(*value))).collect();
        let meta: HashMap<&str, Value<'_>> = HashMap::from([("lucid", Value::from(group))]);
        HashMap::from([
            ("manifest-hash".to_owned(), owned("ab".into())),
            ("update".to_owned(), owned(Value::Value(Box::new(update.into())))),
            ("meta".to_owned(), owned(meta.into())),
        ])
    }

    #[test]
    fn a_bundle_is_read_with_its_data_format() {
        let read = bundle(&told(&[("data-format", "3"), ("data-format-oldest", "2")])).unwrap();
        assert_eq!(
            (read.compatible.as_str(), read.version.to_string().as_str()),
            ("lucid-rpi5", "2.0.0",)
        );
        assert_eq!((read.data_format, read.data_format_oldest), (3, 2));
        let silent = bundle(&told(&[])).unwrap();
        assert_eq!((silent.data_format, silent.data_format_oldest), (1, 1));
        let wrong = bundle(&told(&[("data-format", "new")])).unwrap_err().to_string();
        assert!(wrong.contains("data-format") && wrong.contains("new"), "{wrong}");
        assert!(matches!(bundle(&HashMap::new()).unwrap_err(), RaucError::Version(_)));
    }
}
