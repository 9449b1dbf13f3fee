//! The configuration keys of updates; their order is that of the table in `keys`.

use std::path::PathBuf;

use lucid_fleet::hawkbit::check_address;
use lucid_settings::{Value, quoted};

use super::keys::Key;
use super::updates::{show, window};

/// Longest address of a fleet server, bytes.
const URL_BYTES_MAX: usize = 2048;
/// Longest name of a tenant or a device, characters.
const NAME_CHARS_MAX: usize = 64;

/// Text, or nothing for `off`.
fn unless_off(value: &Value) -> Result<Option<String>, String> {
    Ok(Some(value.text()?).filter(|text| text != "off"))
}

/// An absolute path.
fn path(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(value.text()?);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path".into()) }
}

/// An absolute path, or nothing for `off`.
fn path_unless_off(value: &Value) -> Result<Option<PathBuf>, String> {
    match unless_off(value)? {
        None => Ok(None),
        Some(_) => path(value).map(Some).map_err(|words| format!("{words} or off")),
    }
}

/// A name the fleet server has for something.
fn name(value: &Value) -> Result<String, String> {
    let text = value.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(plain) {
        true => Ok(text),
        false => Err(format!(
            "expected 1 to {NAME_CHARS_MAX} letters, digits, hyphens, dots, colons or underscores"
        )),
    }
}

fn shown(text: Option<&str>) -> String {
    quoted(text.unwrap_or("off"))
}

fn shown_path(path: Option<&PathBuf>) -> String {
    shown(path.map(|path| path.to_string_lossy()).as_deref())
}

pub const SERVER: Key = Key {
    name: "updates.server",
    help: "address of the fleet server (hawkBit), https://HOST, or off",
    set: |config, value| {
        let server = unless_off(value)?;
        if let Some(url) = &server
            && (url.len() > URL_BYTES_MAX || check_address(url).is_err())
        {
            return Err("expected https://HOST, http://HOST or off".into());
        }
        config.updates.server = server;
        Ok(())
    },
    show: |config| shown(config.updates.server.as_deref()),
};

pub const TENANT: Key = Key {
    name: "updates.tenant",
    help: "tenant of the fleet server",
    set: |config, value| {
        config.updates.tenant = name(value)?;
        Ok(())
    },
    show: |config| quoted(&config.updates.tenant),
};

pub const DEVICE: Key = Key {
    name: "updates.device",
    help: "the device as the fleet server knows it; auto is lucid- and its fingerprint's start",
    set: |config, value| {
        config.updates.device = Some(name(value)?).filter(|text| text != "auto");
        Ok(())
    },
    show: |config| quoted(config.updates.device.as_deref().unwrap_or("auto")),
};

pub const TOKEN_FILE: Key = Key {
    name: "updates.token_file",
    help: "file with the token the fleet server wants to see, an absolute path, or off",
    set: |config, value| {
        config.updates.token_file = path_unless_off(value)?;
        Ok(())
    },
    show: |config| shown_path(config.updates.token_file.as_ref()),
};

pub const GATEWAY_TOKEN: Key = Key {
    name: "updates.gateway_token",
    help: "whether that token is a gateway's, for many devices, and not this device's own",
    set: |config, value| {
        config.updates.gateway = value.boolean()?;
        Ok(())
    },
    show: |config| config.updates.gateway.to_string(),
};

pub const AUTHORITIES: Key = Key {
    name: "updates.authorities",
    help: "PEM file with further authorities for the fleet server's certificate, or off",
    set: |config, value| {
        config.updates.authorities = path_unless_off(value)?;
        Ok(())
    },
    show: |config| shown_path(config.updates.authorities.as_ref()),
};

pub const ASK: Key = Key {
    name: "updates.ask",
    help: "whether a person has to agree to each update of the fleet server",
    set: |config, value| {
        config.updates.ask = value.boolean()?;
        Ok(())
    },
    show: |config| config.updates.ask.to_string(),
};

pub const ALLOW_OLDER: Key = Key {
    name: "updates.allow_older",
    help: "whether versions older than the running one are installed",
    set: |config, value| {
        config.updates.allow_older = value.boolean()?;
        Ok(())
    },
    show: |config| config.updates.allow_older.to_string(),
};

pub const WINDOW: Key = Key {
    name: "updates.window",
    help: "when recordings may be interrupted for an update, HH:MM-HH:MM; off is never",
    set: |config, value| {
        let text = unless_off(value)?;
        config.updates.window = text.as_deref().map(window).transpose()?;
        Ok(())
    },
    show: |config| quoted(&show(config.updates.window)),
};

pub const BOOT_CONFIG: Key = Key {
    name: "updates.boot_config",
    help: "where the boot-config partition is mounted",
    set: |config, value| {
        config.updates.boot_config = path(value)?;
        Ok(())
    },
    show: |config| quoted(&config.updates.boot_config.to_string_lossy()),
};

pub const SLOT: Key = Key {
    name: "updates.slot",
    help: "the slot that runs: A, B, or auto for what the kernel's command line says",
    set: |config, value| {
        let text = value.text()?;
        config.updates.slot = match text.as_str() {
            "auto" => None,
            slot => Some(slot.parse().map_err(|_| "expected A, B or auto".to_owned())?),
        };
        Ok(())
    },
    show: |config| quoted(&config.updates.slot.map_or("auto".to_owned(), |slot| slot.to_string())),
};
