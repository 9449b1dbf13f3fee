//! Deterministic CBOR (RFC 8949 section 4.2.1): one value, one encoding.
//!
//! Structures of the format are maps with the integer keys 0, 1, 2, … in that order, every key
//! always there and `null` where a value is absent. The decoder refuses every other encoding of the
//! same value and names the field.

use minicbor::data::Type;

/// Writes deterministic CBOR into a byte vector.
#[derive(Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An encoder with nothing written.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(
        &mut self,
        write: impl FnOnce(
            &mut minicbor::Encoder<&mut Vec<u8>>,
        ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
    ) -> &mut Self {
        let mut encoder = minicbor::Encoder::new(&mut self.0);
        // Writing into a vector cannot fail: its error type has no values.
        let _ = write(&mut encoder);
        self
    }

    /// Opens a map of `entries` entries; write key 0, its value, key 1, and so on.
    pub fn map(&mut self, entries: u64) -> &mut Self {
        self.with(|e| e.map(entries).map(|_| ()))
    }

    /// Opens an array of `items` items.
    pub fn array(&mut self, items: u64) -> &mut Self {
        self.with(|e| e.array(items).map(|_| ()))
    }

    /// Writes an unsigned integer, also used for keys.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.with(|e| e.u64(value).map(|_| ()))
    }

    /// Writes a signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.with(|e| e.i64(value).map(|_| ()))
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.with(|e| e.bytes(value).map(|_| ()))
    }

    /// Writes a text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.with(|e| e.str(value).map(|_| ()))
    }

    /// Writes true or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.with(|e| e.bool(value).map(|_| ()))
    }

    /// Writes `null`, which stands for an absent value.
    pub fn null(&mut self) -> &mut Self {
        self.with(|e| e.null().map(|_| ()))
    }

    /// Writes a tag, to be followed by the tagged value.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.with(|e| e.tag(minicbor::data::Tag::new(tag)).map(|_| ()))
    }

    /// Writes text, or `null` for none.
    pub fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// Writes an unsigned integer, or `null` for none.
    pub fn optional_uint(&mut self, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.uint(value),
            None => self.null(),
        }
    }

    /// The bytes written so far.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Why bytes are not the deterministic encoding of the expected structure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} at byte {offset}: {problem}")]
pub struct CborError {
    /// The field that was being read, for instance `checkpoint.root`.
    pub field: &'static str,
    /// Where in the input, in bytes from its start.
    pub offset: usize,
    /// What was wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another type, or the input ended.
    #[error("expected {0}")]
    Expected(&'static str),
    /// The same value has a shorter or otherwise different encoding.
    #[error("not in deterministic encoding")]
    NotDeterministic,
    /// Longer or larger than the format allows.
    #[error("{found} is over the limit of {limit}")]
    Limit {
        /// The largest value allowed.
        limit: u64,
        /// What stood there.
        found: u64,
    },
    /// A number of entries or a length other than the one the structure has.
    #[error("expected length {expected}, found {found}")]
    Length {
        /// The length that would be right.
        expected: u64,
        /// What stood there.
        found: u64,
    },
    /// A map key out of place.
    #[error("expected key {expected}, found {found}")]
    Key {
        /// The key that would be right.
        expected: u64,
        /// What stood there.
        found: u64,
    },
    /// A version this program does not know.
    #[error("version {found} is unknown, this program knows version {known}")]
    Version {
        /// What stood there.
        found: u64,
        /// The version known here.
        known: u64,
    },
    /// Bytes after the end of the structure.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// A value the structure does not allow.
    #[error("{0}")]
    Value(String),
}

/// Reads deterministic CBOR; every read names the field for the error.
pub struct Decoder<'b> {
    input: &'b [u8],
    inner: minicbor::Decoder<'b>,
}

impl<'b> Decoder<'b> {
    /// A decoder at the start of `input`.
    pub fn new(input: &'b [u8]) -> Self {
        Decoder { input, inner: minicbor::Decoder::new(input) }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.inner.position()
    }

    /// An error about `field` at the present position, for checks of the caller's own.
    pub fn error(&self, field: &'static str, problem: Problem) -> CborError {
        CborError { field, offset: self.inner.position().min(self.input.len()), problem }
    }

    /// An error that says in words what is wrong with the value of `field`.
    pub fn value_error(&self, field: &'static str, problem: impl ToString) -> CborError {
        self.error(field, Problem::Value(problem.to_string()))
    }

    /// Reads with `read` and insists that `head` is how the head of that item is encoded.
    fn item<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&mut minicbor::Decoder<'b>) -> Result<T, minicbor::decode::Error>,
        head: impl FnOnce(&mut Encoder, &T),
    ) -> Result<T, CborError> {
        let start = self.inner.position();
        let at = |problem| CborError { field, offset: start, problem };
        let value = read(&mut self.inner).map_err(|_| at(Problem::Expected(expected)))?;
        let mut encoder = Encoder::new();
        head(&mut encoder, &value);
        let head = encoder.finish();
        if self.input.get(start..start + head.len()) != Some(&head[..]) {
            return Err(at(Problem::NotDeterministic));
        }
        Ok(value)
    }

    /// Reads an unsigned integer.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CborError> {
        self.item(
            field,
            "an unsigned integer",
            |d| d.u64(),
            |e, v| {
                e.uint(*v);
            },
        )
    }

    /// Reads an unsigned integer of at most `limit`.
    pub fn u64_up_to(&mut self, field: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.inner.position();
        match self.u64(field)? {
            found if found > limit => {
                Err(CborError { field, offset, problem: Problem::Limit { limit, found } })
            }
            found => Ok(found),
        }
    }

    /// Reads an unsigned integer of 32 bits.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CborError> {
        self.u64_up_to(field, u64::from(u32::MAX)).map(|value| value as u32)
    }

    /// Reads a signed integer.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, CborError> {
        self.item(
            field,
            "an integer",
            |d| d.i64(),
            |e, v| {
                e.int(*v);
            },
        )
    }

    /// Reads true or false.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, CborError> {
        self.item(
            field,
            "true or false",
            |d| d.bool(),
            |e, v| {
                e.bool(*v);
            },
        )
    }

    /// Reads a byte string of at most `limit` bytes.
    pub fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'b [u8], CborError> {
        let offset = self.inner.position();
        let value = self.item(
            field,
            "a byte string",
            |d| d.bytes(),
            |e, v| {
                e.with(|e| e.bytes_len(v.len() as u64).map(|_| ()));
            },
        )?;
        if value.len() > limit {
            let problem = Problem::Limit { limit: limit as u64, found: value.len() as u64 };
            return Err(CborError { field, offset, problem });
        }
        Ok(value)
    }

    /// Reads a byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CborError> {
        let offset = self.inner.position();
        let value = self.bytes(field, usize::MAX)?;
        value.try_into().map_err(|_| {
            let problem = Problem::Length { expected: N as u64, found: value.len() as u64 };
            CborError { field, offset, problem }
        })
    }

    /// Reads a hash.
    pub fn hash(&mut self, field: &'static str) -> Result<crate::Hash, CborError> {
        self.fixed(field).map(crate::Hash)
    }

    /// Reads a public key and checks that it is usable.
    pub fn public_key(&mut self, field: &'static str) -> Result<crate::PublicKey, CborError> {
        let bytes = self.fixed(field)?;
        crate::PublicKey::from_bytes(bytes).map_err(|error| self.value_error(field, error))
    }

    /// Reads a session id and checks its version.
    pub fn session_id(&mut self, field: &'static str) -> Result<crate::SessionId, CborError> {
        let bytes = self.fixed(field)?;
        crate::SessionId::from_bytes(bytes).map_err(|error| self.value_error(field, error))
    }

    /// Reads a text string of at most `limit` bytes.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<&'b str, CborError> {
        let offset = self.inner.position();
        let value = self.item(
            field,
            "a text string",
            |d| d.str(),
            |e, v| {
                e.with(|e| e.str_len(v.len() as u64).map(|_| ()));
            },
        )?;
        if value.len() > limit {
            let problem = Problem::Limit { limit: limit as u64, found: value.len() as u64 };
            return Err(CborError { field, offset, problem });
        }
        Ok(value)
    }

    /// Reads the head of an array of at most `limit` items and returns how many there are.
    pub fn array(&mut self, field: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.inner.position();
        let found = self.item(
            field,
            "an array of definite length",
            |d| d.array()?.ok_or(minicbor::decode::Error::message("indefinite")),
            |e, v| {
                e.array(*v);
            },
        )?;
        if found > limit {
            return Err(CborError { field, offset, problem: Problem::Limit { limit, found } });
        }
        Ok(found)
    }

    /// Reads the head of an array of exactly `expected` items.
    pub fn array_of(&mut self, field: &'static str, expected: u64) -> Result<(), CborError> {
        let offset = self.inner.position();
        match self.array(field, u64::MAX)? {
            found if found == expected => Ok(()),
            found => Err(CborError { field, offset, problem: Problem::Length { expected, found } }),
        }
    }

    /// Reads the head of a map of exactly `expected` entries.
    pub fn map(&mut self, field: &'static str, expected: u64) -> Result<(), CborError> {
        let offset = self.inner.position();
        let found = self.map_head(field)?;
        if found != expected {
            return Err(CborError { field, offset, problem: Problem::Length { expected, found } });
        }
        Ok(())
    }

    /// Reads the head of a map of at most `limit` entries and returns how many there are.
    pub fn map_up_to(&mut self, field: &'static str, limit: u64) -> Result<u64, CborError> {
        let offset = self.inner.position();
        let found = self.map_head(field)?;
        if found > limit {
            return Err(CborError { field, offset, problem: Problem::Limit { limit, found } });
        }
        Ok(found)
    }

    fn map_head(&mut self, field: &'static str) -> Result<u64, CborError> {
        self.item(
            field,
            "a map of definite length",
            |d| d.map()?.ok_or(minicbor::decode::Error::message("indefinite")),
            |e, v| {
                e.map(*v);
            },
        )
    }

    /// The type of what stands next; none at the end.
    pub(crate) fn next_type(&self) -> Option<Type> {
        self.inner.datatype().ok()
    }

    /// Reads the map key `expected`, which stands before the value of `field`.
    pub fn key(&mut self, field: &'static str, expected: u64) -> Result<&mut Self, CborError> {
        let offset = self.inner.position();
        match self.u64(field)? {
            found if found == expected => Ok(self),
            found => Err(CborError { field, offset, problem: Problem::Key { expected, found } }),
        }
    }

    /// Reads key 0 and the version below it, which must be the `known` one.
    pub fn version(&mut self, field: &'static str, known: u64) -> Result<(), CborError> {
        self.key(field, 0)?;
        let offset = self.inner.position();
        match self.u64(field)? {
            found if found == known => Ok(()),
            found => Err(CborError { field, offset, problem: Problem::Version { found, known } }),
        }
    }

    /// Reads a tag, which must be `expected`.
    pub fn tag(&mut self, field: &'static str, expected: u64) -> Result<(), CborError> {
        let offset = self.inner.position();
        let tag = self.item(
            field,
            "a tag",
            |d| d.tag().map(|t| t.as_u64()),
            |e, v| {
                e.tag(*v);
            },
        )?;
        if tag != expected {
            let problem = Problem::Key { expected, found: tag };
            return Err(CborError { field, offset, problem });
        }
        Ok(())
    }

    /// Reads `null` if it stands there and says whether it did.
    pub fn is_null(&mut self, field: &'static str) -> Result<bool, CborError> {
        if self.next_type() == Some(Type::Null) {
            self.item(
                field,
                "null",
                |d| d.null(),
                |e, _| {
                    e.null();
                },
            )?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads a value with `read`, or none where `null` stands.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, CborError>,
    ) -> Result<Option<T>, CborError> {
        if self.is_null(field)? { Ok(None) } else { read(self).map(Some) }
    }

    /// Insists that nothing follows.
    pub fn end(self, field: &'static str) -> Result<(), CborError> {
        match self.input.len() - self.inner.position() {
            0 => Ok(()),
            left => Err(self.error(field, Problem::Trailing(left))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_form_is_the_only_one() {
        assert_eq!(Decoder::new(&[0x17]).u64("n"), Ok(23));
        for longer in [&[0x18, 0x17][..], &[0x19, 0, 23], &[0x1a, 0, 0, 0, 23]] {
            let error = Decoder::new(longer).u64("n").unwrap_err();
            assert_eq!(error.problem, Problem::NotDeterministic);
            assert_eq!(error.field, "n");
        }
        assert_eq!(
            Decoder::new(&[0x58, 0x01, 0xff]).bytes("b", 9).unwrap_err().problem,
            Problem::NotDeterministic
        );
        assert!(Decoder::new(&[0x5f, 0x41, 0xff, 0xff]).bytes("b", 9).is_err());
        assert!(Decoder::new(&[0x9f, 0xff]).array("a", 9).is_err());
        assert!(Decoder::new(&[0xbf, 0xff]).map("m", 0).is_err());
    }

    #[test]
    fn limits_lengths_keys_and_ends_are_checked() {
        assert!(matches!(
            Decoder::new(&[0x82, 1, 2]).array("a", 1).unwrap_err().problem,
            Problem::Limit { limit: 1, found: 2 }
        ));
        assert!(matches!(
            Decoder::new(&[0xa1, 5, 1]).map("m", 2).unwrap_err().problem,
            Problem::Length { expected: 2, found: 1 }
        ));
        let mut decoder = Decoder::new(&[0xa1, 5, 1]);
        decoder.map("m", 1).unwrap();
        let error = decoder.key("m.first", 0).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "m.first at byte 1: expected key 0, found 5");
        let mut decoder = Decoder::new(&[1, 2]);
        decoder.u64("n").unwrap();
        assert_eq!(decoder.end("n").unwrap_err().problem, Problem::Trailing(1));
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = Encoder::new()
            .map(2)
            .uint(0)
            .int(-5)
            .uint(1)
            .array(3)
            .text("é")
            .null()
            .bool(true)
            .finish();
        let mut d = Decoder::new(&bytes);
        d.map("m", 2).unwrap();
        assert_eq!(d.key("m.0", 0).unwrap().i64("m.0"), Ok(-5));
        assert_eq!(d.key("m.1", 1).unwrap().array("m.1", 3), Ok(3));
        assert_eq!(d.optional("t", |d| d.text("t", 9)), Ok(Some("é")));
        assert_eq!(d.optional("t", |d| d.text("t", 9)), Ok(None));
        assert_eq!(d.bool("b"), Ok(true));
        d.end("m").unwrap();
    }
}
