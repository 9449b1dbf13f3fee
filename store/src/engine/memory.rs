//! The memory twin: the same behaviour without a disk, for tests and as the model the others are
//! compared to.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DEFAULT_SPACE, Engine, Opener, Operation, Use};
use crate::{Pair, StoreError};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// An engine that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    spaces: Mutex<BTreeMap<u32, Map>>,
}

impl MemoryEngine {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Map>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn get(&self, space: u32, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().get(&space).and_then(|map| map.get(key).cloned()))
    }

    fn apply(&self, space: u32, operations: Vec<Operation>) -> Result<(), StoreError> {
        let mut spaces = self.lock();
        let map = spaces.entry(space).or_default();
        for operation in operations {
            match operation {
                Operation::Put(key, value) => map.insert(key, value),
                Operation::Delete(key) => map.remove(&key),
            };
        }
        Ok(())
    }

    fn scan(
        &self,
        space: u32,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        back: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let spaces = self.lock();
        let Some(map) = spaces.get(&space) else { return Ok(Vec::new()) };
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = map.range::<[u8], _>((Bound::Included(from), end));
        let own = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(if back {
            range.rev().take(limit).map(own).collect()
        } else {
            range.take(limit).map(own).collect()
        })
    }

    fn spaces(&self) -> Result<Vec<u32>, StoreError> {
        let mut spaces: Vec<u32> = self.lock().keys().copied().collect();
        if spaces.first() != Some(&DEFAULT_SPACE) {
            spaces.insert(0, DEFAULT_SPACE);
        }
        Ok(spaces)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Opens memory engines by path; the same path gives the same engine again.
#[derive(Debug, Default)]
pub struct MemoryOpener {
    engines: Mutex<HashMap<PathBuf, Arc<MemoryEngine>>>,
}

impl Opener for MemoryOpener {
    fn open(&self, path: &Path, _name: &str, _purpose: Use) -> Result<Arc<dyn Engine>, StoreError> {
        std::fs::create_dir_all(path).map_err(|e| StoreError::io("create", path, e))?;
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(engines.entry(path.into()).or_default().clone())
    }

    fn moved(&self, from: &Path, to: Option<&Path>) {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(engine), Some(to)) = (engines.remove(from), to) {
            engines.insert(to.into(), engine);
        }
    }
}
