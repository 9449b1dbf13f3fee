//! What is kept of desktops: definitions as JSON with a version under `daemon/desktop/<id>`,
//! credentials in their own form under `daemon/desktop-credential/<session>`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lucid_evidence::SessionId;
use lucid_rdp::credential::Credential;
use lucid_rdp::desktop::{DESKTOPS_MAX, Definition};
use lucid_rdp::policy::Policy;
use lucid_store::{Batch, Pair, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::DesktopsError;
use super::policy::PolicyBody;
use crate::sources::Retention;

const DESKTOP: &[u8] = b"daemon/desktop/";
const CREDENTIAL: &[u8] = b"daemon/desktop-credential/";
const VERSION: u32 = 1;
/// Records read at a time.
const PAGE: usize = 256;

/// A desktop's name in paths and records: `dsk-` and eight letters or digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DesktopId(String);

impl DesktopId {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn random() -> Result<Self, DesktopsError> {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0u8; 8];
        super::fill(&mut bytes)?;
        let text = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        Ok(Self("dsk-".chars().chain(text).collect()))
    }

    /// The id in the text, if it has the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("dsk-")?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (rest.len() == 8 && rest.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DesktopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DesktopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A desktop as the operator set it up.
#[derive(Clone, Debug, PartialEq)]
pub struct Desktop {
    /// Its name in paths.
    pub id: DesktopId,
    /// Name, size, session command.
    pub definition: Definition,
    /// The account that set it up.
    pub owner: String,
    /// Its own port.
    pub port: u16,
    /// Its number among all, below [`DESKTOPS_MAX`]; users of its own follow from it.
    pub index: u16,
    /// Whether its port is open.
    pub enabled: bool,
    /// What its sessions may use of the machine.
    pub limits: LimitsBody,
    /// What a credential allows that names no policy.
    pub policy: Policy,
    /// How long its recordings are kept.
    pub retention: Retention,
    /// When it was set up, microseconds since 1970.
    pub created_us: u64,
}

/// What a desktop may take of the machine; null is the device's own setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsBody {
    /// Main memory, at least 64 MiB.
    pub memory_bytes: Option<u64>,
    /// Processor time, percent of one core, at least 5.
    pub cpu_percent: Option<u32>,
    /// Processes and threads, at least 16.
    pub tasks: Option<u32>,
    /// What lies in the home directory, at least 1 MiB.
    pub disk_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u32,
    name: String,
    width: u32,
    height: u32,
    command: Option<String>,
    restart: bool,
    owner: String,
    port: u16,
    index: u16,
    enabled: bool,
    limits: LimitsBody,
    policy: PolicyBody,
    max_age_s: Option<u64>,
    max_bytes: Option<u64>,
    created_us: u64,
}

/// What was read, and what could not be.
#[derive(Default)]
pub struct Found {
    /// Desktops by id.
    pub desktops: BTreeMap<DesktopId, Desktop>,
    /// All credentials.
    pub credentials: Vec<Credential>,
    /// Records that cannot be read, in words.
    pub damaged: Vec<String>,
}

/// Where desktops and credentials are kept.
#[derive(Clone)]
pub struct Stored(Arc<dyn Store>);

impl Stored {
    /// In the index.
    pub fn new(index: Arc<dyn Store>) -> Self {
        Self(index)
    }

    /// Reads everything; a damaged record is left where it is, and named.
    ///
    /// # Errors
    /// When the index cannot be read at all.
    pub fn read(&self) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for (key, value) in self.all(DESKTOP, &mut found.damaged)? {
            match decode(&key, &value) {
                Some(desktop) if found.desktops.len() < DESKTOPS_MAX => {
                    found.desktops.insert(desktop.id.clone(), desktop);
                }
                _ => found.damaged.push(format!("desktop {}", tail(&key, DESKTOP))),
            }
        }
        for (key, value) in self.all(CREDENTIAL, &mut found.damaged)? {
            match Credential::decode(&value) {
                Ok(credential) if key.ends_with(credential.session.as_bytes()) => {
                    found.credentials.push(credential);
                }
                _ => found.damaged.push("a desktop's credential".into()),
            }
        }
        Ok(found)
    }

    fn all(&self, prefix: &[u8], damaged: &mut Vec<String>) -> Result<Vec<Pair>, StoreError> {
        let (mut all, mut from) = (Vec::new(), prefix.to_vec());
        // The byte after the slash the prefix ends with.
        let end = [&prefix[..prefix.len() - 1], b"0"].concat();
        loop {
            let pairs = match self.0.scan(&from, &end, PAGE) {
                Ok(pairs) => pairs,
                Err(StoreError::Damaged { key, .. }) => {
                    damaged.push(format!("the record {}", String::from_utf8_lossy(&key)));
                    from = [key.as_slice(), &[0]].concat();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some((last, _)) = pairs.last() else { return Ok(all) };
            from = [last.as_slice(), &[0]].concat();
            all.extend(pairs);
        }
    }

    /// Keeps a desktop, durably.
    ///
    /// # Errors
    /// From the index.
    pub fn put(&self, desktop: &Desktop) -> Result<(), DesktopsError> {
        let mut batch = Batch::new();
        batch.put([DESKTOP, desktop.id.as_str().as_bytes()].concat(), encode(desktop)?);
        self.commit(batch)
    }

    /// Forgets a desktop, durably.
    ///
    /// # Errors
    /// From the index.
    pub fn remove(&self, id: &DesktopId) -> Result<(), DesktopsError> {
        let mut batch = Batch::new();
        batch.delete([DESKTOP, id.as_str().as_bytes()].concat());
        self.commit(batch)
    }

    /// Keeps a credential and forgets others, durably and at once.
    ///
    /// # Errors
    /// From the index.
    pub fn put_credentials(
        &self,
        kept: &[&Credential],
        gone: &[SessionId],
    ) -> Result<(), DesktopsError> {
        let key = |session: &SessionId| [CREDENTIAL, session.as_bytes()].concat();
        let mut batch = Batch::new();
        for credential in kept {
            batch.put(key(&credential.session), credential.encode());
        }
        for session in gone {
            batch.delete(key(session));
        }
        self.commit(batch)
    }

    /// A credential as it is stored now.
    ///
    /// # Errors
    /// When it cannot be read; damaged bytes are `None`.
    pub fn credential(&self, session: SessionId) -> Result<Option<Credential>, StoreError> {
        let bytes = self.0.get(&[CREDENTIAL, session.as_bytes()].concat())?;
        Ok(bytes.and_then(|bytes| Credential::decode(&bytes).ok()))
    }

    fn commit(&self, batch: Batch) -> Result<(), DesktopsError> {
        self.0.apply(batch)?;
        Ok(self.0.flush()?)
    }
}

fn tail(key: &[u8], prefix: &[u8]) -> String {
    String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned()
}

fn encode(desktop: &Desktop) -> Result<Vec<u8>, DesktopsError> {
    let definition = desktop.definition.clone();
    let record = Record {
        v: VERSION,
        name: definition.name,
        width: definition.width,
        height: definition.height,
        command: definition.command,
        restart: definition.restart,
        owner: desktop.owner.clone(),
        port: desktop.port,
        index: desktop.index,
        enabled: desktop.enabled,
        limits: desktop.limits,
        policy: PolicyBody::from(&desktop.policy),
        max_age_s: desktop.retention.max_age_s,
        max_bytes: desktop.retention.max_bytes,
        created_us: desktop.created_us,
    };
    serde_json::to_vec(&record).map_err(DesktopsError::Encoding)
}

fn decode(key: &[u8], bytes: &[u8]) -> Option<Desktop> {
    let id = DesktopId::parse(&tail(key, DESKTOP))?;
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let definition = Definition {
        name: record.name,
        width: record.width,
        height: record.height,
        command: record.command,
        restart: record.restart,
    };
    definition.validate().ok()?;
    (record.v == VERSION && usize::from(record.index) < DESKTOPS_MAX).then_some(())?;
    Some(Desktop {
        id,
        definition,
        owner: record.owner,
        port: record.port,
        index: record.index,
        enabled: record.enabled,
        limits: record.limits,
        policy: Policy::try_from(record.policy).ok()?,
        retention: Retention { max_age_s: record.max_age_s, max_bytes: record.max_bytes },
        created_us: record.created_us,
    })
}
