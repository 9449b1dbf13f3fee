//! How to connect: the lines to type and the file to open, for the usual clients.
//!
//! None of them holds a secret: what a command line holds, every user of that computer can read.

use serde::Serialize;
use utoipa::ToSchema;

use super::Desktop;

/// Lines for a person who connects to a desktop.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ConnectionHelp)]
pub struct Help {
    /// Host and port of the desktop.
    pub address: String,
    /// The user as clients ask for it on the desktop's own port.
    pub user: String,
    /// Host and port of the endpoint all desktops share, where it listens.
    pub shared_address: Option<String>,
    /// The user as clients ask for it on the shared endpoint.
    pub shared_user: String,
    /// Windows: open the downloaded file.
    pub mstsc: String,
    /// FreeRDP on Linux and macOS.
    pub xfreerdp: String,
    /// Remmina on Linux.
    pub remmina: String,
    /// SHA-256 of the certificate, to compare when a client asks.
    pub certificate: Option<String>,
}

/// Brackets around an IPv6 address, as clients want them.
fn bracketed(host: &str) -> String {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    if plain.contains(':') { format!("[{plain}]") } else { plain.to_owned() }
}

/// A host as it may stand in a file or a line: what a browser sent, and nothing a shell reads.
pub fn safe_host(host: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    (!host.is_empty() && host.len() <= 255 && host.chars().all(fits)).then_some(host)
}

impl Help {
    /// For a desktop reached under `host`; `user` where one is known.
    pub fn new(
        desktop: &Desktop,
        host: &str,
        user: Option<&str>,
        shared_port: Option<u16>,
        certificate: Option<String>,
    ) -> Self {
        let (host, name) = (bracketed(host), &desktop.definition.name);
        let address = format!("{host}:{}", desktop.port);
        let shown = user.unwrap_or("USER");
        let quoted = quote(shown);
        let file = file_name(name);
        Self {
            mstsc: format!("mstsc {file}"),
            xfreerdp: format!("xfreerdp /v:{address} /u:{quoted} /sec:tls /cert:tofu"),
            remmina: format!("remmina -c rdp://{}@{address}", escape(shown)),
            user: shown.to_owned(),
            shared_address: shared_port.map(|port| format!("{host}:{port}")),
            shared_user: format!("{name}\\{shown}"),
            address,
            certificate,
        }
    }
}

/// The name of the file to download.
pub fn file_name(desktop: &str) -> String {
    format!("{desktop}.rdp")
}

/// The `.rdp` file of a desktop: what mstsc and most clients open. Network level authentication is
/// off, since the secret is looked at inside TLS.
pub fn rdp_file(desktop: &Desktop, host: &str, user: Option<&str>) -> String {
    let address = format!("{}:{}", bracketed(host), desktop.port);
    let definition = &desktop.definition;
    let mut lines = vec![
        format!("full address:s:{address}"),
        format!("desktopwidth:i:{}", definition.width),
        format!("desktopheight:i:{}", definition.height),
    ];
    // A line break would begin another setting.
    let user = user.filter(|user| !user.chars().any(char::is_control));
    lines.extend(user.map(|user| format!("username:s:{user}")));
    for fixed in [
        "screen mode id:i:1",
        "session bpp:i:32",
        "use multimon:i:0",
        "dynamic resolution:i:1",
        "smart sizing:i:1",
        "prompt for credentials:i:1",
        "enablecredsspsupport:i:0",
        "authentication level:i:2",
        "negotiate security layer:i:1",
        "redirectclipboard:i:1",
        "redirectprinters:i:0",
        "redirectsmartcards:i:0",
        "redirectcomports:i:0",
        "drivestoredirect:s:",
        "audiomode:i:0",
        "autoreconnection enabled:i:1",
        "compression:i:1",
    ] {
        lines.push(fixed.to_owned());
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// A word for a shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+=:,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A word for an address.
fn escape(word: &str) -> String {
    let mut out = String::new();
    for byte in word.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_or_a_file_becomes_a_command_or_a_setting() {
        assert_eq!(quote("ada"), "ada");
        assert_eq!(quote("a b'; rm"), r"'a b'\''; rm'");
        assert_eq!(escape("a b@c"), "a%20b%40c");
        assert_eq!(bracketed("::1"), "[::1]");
        assert_eq!(bracketed("[fe80::1]"), "[fe80::1]");
        assert_eq!(safe_host("lucid.local"), Some("lucid.local"));
        for host in ["", "a b", "a\r\nusername:s:x", "$(x)", &"a".repeat(256)] {
            assert_eq!(safe_host(host), None, "{host:?}");
        }
    }
}
