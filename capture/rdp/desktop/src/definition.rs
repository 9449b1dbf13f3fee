//! What a desktop is: name, size, session command.

/// Most desktops that can be defined.
pub const DESKTOPS_MAX: usize = 1000;
/// Longest name, bytes.
pub const NAME_MAX_BYTES: usize = 48;
/// Longest session command, bytes.
pub const COMMAND_MAX_BYTES: usize = 4096;
/// Least width and height, pixels.
pub const SIZE_MIN_PIXELS: u32 = 200;
/// Most width and height, pixels: the largest an RDP client asks for.
pub const SIZE_MAX_PIXELS: u32 = 8192;
/// Most pixels altogether, so that one desktop's picture stays below 64 MiB.
const AREA_MAX_PIXELS: u64 = 16 << 20;

/// A desktop as it is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name, which a login on the shared endpoint begins with.
    pub name: String,
    /// Width, pixels; even, as video wants it.
    pub width: u32,
    /// Height, pixels; even.
    pub height: u32,
    /// What is run in it by `/bin/sh -c`; none for the default session.
    pub command: Option<String>,
    /// Whether a session command or an X server that ends is started again.
    pub restart: bool,
}

/// Why a desktop cannot be defined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A name that cannot stand in a login.
    #[error(
        "desktop name {found:?} is not usable; write 1 to {NAME_MAX_BYTES} lower-case letters, \
         digits, - or _, beginning with a letter"
    )]
    Name {
        /// What stood there, cut at 80 characters.
        found: String,
    },
    /// A size no desktop can have.
    #[error(
        "{width} x {height} pixels is no size of a desktop; both are even and \
         {SIZE_MIN_PIXELS} to {SIZE_MAX_PIXELS}, their product at most {AREA_MAX_PIXELS}"
    )]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A command that cannot be run.
    #[error("the session command is empty, holds a NUL or is over {COMMAND_MAX_BYTES} bytes")]
    Command,
}

impl Definition {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is not usable.
    pub fn validate(&self) -> Result<(), DefinitionError> {
        let name = self.name.as_bytes();
        let usable =
            |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'_';
        let begins = name.first().is_some_and(u8::is_ascii_lowercase);
        if !begins || name.len() > NAME_MAX_BYTES || !name.iter().all(usable) {
            return Err(DefinitionError::Name { found: self.name.chars().take(80).collect() });
        }
        let (width, height) = (self.width, self.height);
        let side = |pixels: u32| {
            (SIZE_MIN_PIXELS..=SIZE_MAX_PIXELS).contains(&pixels) && pixels.is_multiple_of(2)
        };
        let area = u64::from(width) * u64::from(height);
        if !side(width) || !side(height) || area > AREA_MAX_PIXELS {
            return Err(DefinitionError::Size { width, height });
        }
        let command = self.command.as_deref().unwrap_or("true");
        if command.trim().is_empty() || command.len() > COMMAND_MAX_BYTES || command.contains('\0')
        {
            return Err(DefinitionError::Command);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desktop() -> Definition {
        let (name, command) = ("accounts".to_owned(), Some("exec xterm".to_owned()));
        Definition { name, width: 1280, height: 720, command, restart: false }
    }

    #[test]
    fn absurd_definitions_are_refused() {
        assert_eq!(desktop().validate(), Ok(()));
        let largest = Definition { width: 4096, height: 4096, ..desktop() };
        assert_eq!(largest.validate(), Ok(()));
        for name in ["", "Accounts", "1st", "a\\b", "a b", "ä", &"a".repeat(NAME_MAX_BYTES + 1)] {
            let error = Definition { name: name.to_owned(), ..desktop() }.validate();
            assert!(matches!(error, Err(DefinitionError::Name { .. })), "{name:?}");
        }
        for (width, height) in
            [(0, 720), (1280, 0), (1281, 720), (u32::MAX, u32::MAX), (8192, 8192), (198, 720)]
        {
            let error = Definition { width, height, ..desktop() }.validate();
            assert_eq!(error, Err(DefinitionError::Size { width, height }));
        }
        for command in ["", " ", "a\0b", &"x".repeat(COMMAND_MAX_BYTES + 1)] {
            let command = Some(command.to_owned());
            let error = Definition { command, ..desktop() }.validate();
            assert_eq!(error, Err(DefinitionError::Command));
        }
    }
}
