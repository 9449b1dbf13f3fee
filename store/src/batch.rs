//! A set of changes applied together, and the limits of keys and values.

use crate::StoreError;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest value, in bytes: a sealed 64 KiB piece and its header fit with room.
pub const VALUE_BYTES_MAX: usize = 80 * 1024;
/// Most keys and values in one batch, in bytes. Bounds what lies between two syncs, see
/// `docs/storage.md`.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Most operations in one batch.
pub const BATCH_OPERATIONS_MAX: usize = 4096;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value under a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; no error when it is absent.
    Delete(Vec<u8>),
}

impl Operation {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Operation::Put(key, _) | Operation::Delete(key) => key,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Operation::Put(key, value) => key.len() + value.len(),
            Operation::Delete(key) => key.len(),
        }
    }
}

/// Changes that happen all together or not at all. A later change of the same key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
    of_reserve: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// An empty batch of changes that may use most of the reserve: those after which space is given
    /// back, and those that let in whoever gives it back.
    pub fn of_reserve() -> Batch {
        Batch { of_reserve: true, ..Batch::default() }
    }

    /// Marks these changes as those of [`Batch::of_reserve`].
    pub fn use_reserve(&mut self) -> &mut Batch {
        self.of_reserve = true;
        self
    }

    pub(crate) fn is_of_reserve(&self) -> bool {
        self.of_reserve
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Batch {
        self.push(Operation::Put(key.into(), value.into()))
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Batch {
        self.push(Operation::Delete(key.into()))
    }

    fn push(&mut self, operation: Operation) -> &mut Batch {
        self.bytes += operation.bytes();
        self.operations.push(operation);
        self
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Keys and values together, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes in order, if every one is within the limits.
    pub(crate) fn into_checked(self) -> Result<Vec<Operation>, StoreError> {
        if self.bytes > BATCH_BYTES_MAX || self.operations.len() > BATCH_OPERATIONS_MAX {
            return Err(StoreError::BatchTooLarge {
                bytes: self.bytes,
                operations: self.operations.len(),
                bytes_max: BATCH_BYTES_MAX,
                operations_max: BATCH_OPERATIONS_MAX,
            });
        }
        for operation in &self.operations {
            check_key(operation.key())?;
            if let Operation::Put(_, value) = operation {
                check_value(value)?;
            }
        }
        Ok(self.operations)
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StoreError::KeyLength { length: key.len() });
    }
    Ok(())
}

pub(crate) fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueLength { length: value.len() });
    }
    Ok(())
}
