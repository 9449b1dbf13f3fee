//! `lucid desktop`: recorded desktops of the running daemon.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::ConfigOptions;
use super::console::{Console, part};
use crate::config::Flags;
use crate::exit::{Exit, Failure};

/// Longest policy read from a file, bytes.
const POLICY_BYTES_MAX: u64 = 64 << 10;

/// Options of `lucid desktop`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigOptions,
    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List desktops
    List,
    /// Show one desktop
    Show(Named),
    /// Set up a desktop; it starts when its first client comes
    Create(Create),
    /// Open a desktop's port and start it now
    Start(Named),
    /// Close a desktop's port, end its session and stop it
    Stop(Named),
    /// Delete a desktop; its recordings stay
    Delete(Named),
    /// Issue a credential for one session; prints its secret, once
    Credential(Credential),
    /// List the credentials of a desktop
    Credentials(Named),
    /// Take a credential back; ends its session
    Revoke {
        /// The desktop's name or id
        desktop: String,
        /// The credential's session
        session: String,
    },
    /// List who is on a desktop now
    Connections,
    /// End a session
    Terminate {
        /// The session, as `connections` lists it
        session: String,
    },
    /// Give a running session to another user; prints the new secret, once
    Transfer {
        /// The session, as `connections` lists it
        session: String,
        /// The new owner
        user: String,
    },
    /// Let somebody watch a session with an RDP client; prints the secret, once
    Observe {
        /// The session, as `connections` lists it
        session: String,
        /// Who may watch
        user: String,
    },
    /// List what workers asked for
    Approvals,
    /// Grant what a worker asked for, for the rest of the session
    Approve {
        /// The request, as `approvals` lists it
        request: String,
    },
    /// Deny what a worker asked for
    Deny {
        /// The request, as `approvals` lists it
        request: String,
    },
    /// Write the file that mstsc and most clients open
    RdpFile {
        /// The desktop's name or id
        desktop: String,
        /// The user to put into it
        #[arg(long)]
        user: Option<String>,
        /// Where to; standard output if not given
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Named {
    /// Its name or id
    desktop: String,
}

#[derive(Args)]
struct Create {
    /// 1 to 48 lower-case letters, digits, - or _, beginning with a letter
    name: String,
    /// Pixels, even [default: 1280]
    #[arg(long)]
    width: Option<u32>,
    /// Pixels, even [default: 800]
    #[arg(long)]
    height: Option<u32>,
    /// What /bin/sh -c runs in it [default: a window manager and a terminal]
    #[arg(long)]
    command: Option<String>,
    /// Start the command again when it ends
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    policy: PolicyOptions,
}

#[derive(Args)]
struct Credential {
    /// The desktop's name or id
    desktop: String,
    /// Who may come
    #[arg(long)]
    user: String,
    /// Seconds until it is used [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    expires_in_s: Option<u64>,
    #[command(flatten)]
    policy: PolicyOptions,
}

#[derive(Args)]
struct PolicyOptions {
    /// What is allowed, with the usual limits: keyboard, mouse, clipboard_in, clipboard_out,
    /// files_in, files_out, audio, resize, record_keys; nothing else is
    #[arg(long, value_delimiter = ',', value_name = "WHAT", conflicts_with = "policy")]
    allow: Vec<String>,
    /// A file with the whole policy as JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl PolicyOptions {
    fn read(&self) -> anyhow::Result<Option<Value>> {
        if let Some(path) = &self.policy {
            let mut text = String::new();
            let read = match path.as_os_str() == "-" {
                true => std::io::stdin().take(POLICY_BYTES_MAX).read_to_string(&mut text),
                false => std::fs::File::open(path)
                    .and_then(|file| file.take(POLICY_BYTES_MAX).read_to_string(&mut text)),
            };
            read.with_context(|| format!("cannot read {}", path.display()))?;
            let policy = serde_json::from_str(&text);
            return Ok(Some(policy.with_context(|| format!("{} is not JSON", path.display()))?));
        }
        let allowed = self.allow.iter().map(|what| (what.trim().to_owned(), json!(true)));
        let policy: Map<String, Value> = allowed.collect();
        Ok((!policy.is_empty()).then_some(Value::Object(policy)))
    }
}

/// Asks the daemon and prints its answer.
///
/// # Errors
/// When no daemon answers, or it refuses.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let loaded = options.config.load(Flags::new())?;
    let console = Console::of(&loaded.config.data_dir);
    let mut out = std::io::stdout();
    if let Command::RdpFile { desktop, user, output } = &options.command {
        let user = user.as_ref().map(|user| format!("?user={}", part(user)));
        let path = format!("/desktops/{}/rdp-file{}", part(desktop), user.unwrap_or_default());
        let file = console.fetch(Method::GET, &path, None)?;
        match output {
            Some(path) => std::fs::write(path, &file)
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => out.write_all(&file)?,
        }
        return Ok(Exit::Success);
    }
    let answer = ask(&console, &options.command)?;
    let text = match options.json {
        true => serde_json::to_string_pretty(&answer)? + "\n",
        false => words(&options.command, &answer),
    };
    out.write_all(text.as_bytes())?;
    Ok(Exit::Success)
}

fn ask(console: &Console, command: &Command) -> anyhow::Result<Value> {
    let get = |path: &str| console.ask(Method::GET, path, None);
    let post = |path: &str, body: Option<Value>| console.ask(Method::POST, path, body.as_ref());
    let desktop = |name: &str, rest: &str| format!("/desktops/{}{rest}", part(name));
    match command {
        Command::List => get("/desktops?limit=1000"),
        Command::Show(named) => get(&desktop(&named.desktop, "")),
        Command::Create(new) => {
            let body = json!({
                "name": new.name, "width": new.width, "height": new.height,
                "command": new.command, "restart": new.restart, "policy": new.policy.read()?,
            });
            post("/desktops", Some(body))
        }
        Command::Start(named) => post(&desktop(&named.desktop, "/start"), None),
        Command::Stop(named) => post(&desktop(&named.desktop, "/stop"), None),
        Command::Delete(named) => console.ask(Method::DELETE, &desktop(&named.desktop, ""), None),
        Command::Credential(new) => {
            let body = json!({
                "user": new.user, "expires_in_s": new.expires_in_s, "policy": new.policy.read()?,
            });
            post(&desktop(&new.desktop, "/credentials"), Some(body))
        }
        Command::Credentials(named) => get(&desktop(&named.desktop, "/credentials")),
        Command::Revoke { desktop: name, session } => {
            let path = desktop(name, &format!("/credentials/{}", part(session)));
            console.ask(Method::DELETE, &path, None)
        }
        Command::Connections => get("/connections"),
        Command::Terminate { session } => {
            console.ask(Method::DELETE, &format!("/connections/{}", part(session)), None)
        }
        Command::Transfer { session, user } => {
            let path = format!("/connections/{}/transfer", part(session));
            post(&path, Some(json!({"user": user})))
        }
        Command::Observe { session, user } => {
            let path = format!("/connections/{}/observers", part(session));
            post(&path, Some(json!({"user": user})))
        }
        Command::Approvals => get("/approvals"),
        Command::Approve { request } => {
            let path = format!("/approvals/{}", part(request));
            post(&path, Some(json!({"decision": "grant"})))
        }
        Command::Deny { request } => {
            let path = format!("/approvals/{}", part(request));
            post(&path, Some(json!({"decision": "deny"})))
        }
        // Answered before.
        Command::RdpFile { .. } => Ok(Value::Null),
    }
}

/// The answer for a person.
fn words(command: &Command, answer: &Value) -> String {
    let columns: &[&str] = match command {
        Command::List => &["name", "state", "port", "width", "height", "id", "session_id"],
        Command::Credentials(_) => &["user", "state", "expires_at", "issued_by", "session_id"],
        Command::Connections => &["session_id", "desktop_name", "owner", "state", "state_since"],
        Command::Approvals => &["id", "desktop_name", "user", "capability", "state", "asked_at"],
        Command::Delete(_) | Command::Terminate { .. } => return String::new(),
        Command::Credential(_) | Command::Transfer { .. } | Command::Observe { .. } => {
            return secret(answer);
        }
        _ => return one(answer),
    };
    let items: Vec<&Value> = answer["items"].as_array().into_iter().flatten().collect();
    let mut text = match answer["off"].as_str() {
        Some(why) => format!("{why}\n"),
        None => String::new(),
    };
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|name| name.to_uppercase()).collect()];
    rows.extend(items.iter().map(|item| columns.iter().map(|name| cell(&item[*name])).collect()));
    for row in &rows {
        let widths = (0..columns.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn secret(answer: &Value) -> String {
    let connect = &answer["connect"];
    format!(
        "user     {}\nsecret   {}  (shown this once)\nsession  {}\naddress  {}\n\n  {}\n",
        cell(&answer["user"]),
        cell(&answer["secret"]),
        cell(&answer["session_id"]),
        cell(&connect["address"]),
        cell(&connect["xfreerdp"]),
    )
}

fn one(answer: &Value) -> String {
    let mut text = String::new();
    for (name, value) in answer.as_object().into_iter().flatten() {
        text.push_str(&format!("{name:<16}{}\n", cell(value)));
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_in_columns_and_say_why_there_is_nothing() {
        let answer = json!({"items": [{"name": "a", "state": "ready", "port": 13389}],
            "off": "no X server"});
        let text = words(&Command::List, &answer);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("no X server"));
        assert_eq!(lines.next(), Some("NAME  STATE  PORT   WIDTH  HEIGHT  ID  SESSION_ID"));
        assert_eq!(lines.next(), Some("a     ready  13389  -      -       -   -"));
    }
}
