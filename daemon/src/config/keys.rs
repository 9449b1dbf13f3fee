//! The table of every configuration key: spelling, meaning, how it is read and how it is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lucid_hw::gpio::{GpioChoice, MAX_LINES};
use lucid_settings::{Value, quoted};

use super::update_keys;
use super::{Config, LogFormat, MIB, PlainHttp, Presence};

/// One key of the daemon's configuration.
pub type Key = lucid_settings::Key<Config>;

const FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("human", LogFormat::Human),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];

const PLAIN: [(&str, PlainHttp); 2] =
    [("loopback", PlainHttp::Loopback), ("everywhere", PlainHttp::Everywhere)];

const PRESENCE: [(&str, Presence); 3] =
    [("auto", Presence::Auto), ("on", Presence::On), ("off", Presence::Off)];

/// Every key, tables together, in the order `--print-config` shows.
pub const KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        help: "where recordings, chain, keys and settings live",
        set: |config, value| {
            config.data_dir = PathBuf::from(value.text()?);
            Ok(())
        },
        show: |config| quoted(&config.data_dir.to_string_lossy()),
    },
    Key {
        name: "name",
        help: "what the device is called on its page",
        set: |config, value| {
            let name = value.text()?;
            if name.chars().count() > 64 || name.chars().any(char::is_control) {
                return Err("expected at most 64 printable characters".into());
            }
            config.name = name;
            Ok(())
        },
        show: |config| quoted(&config.name),
    },
    Key {
        name: "drain_s",
        help: "seconds components get to finish after a stop signal",
        set: |config, value| {
            config.drain = value.seconds(0.1, 600.0)?;
            Ok(())
        },
        show: |config| config.drain.as_secs_f64().to_string(),
    },
    Key {
        name: "http.listen",
        help: "address of plain HTTP, or off",
        set: |config, value| {
            config.http.listen = value.listener()?;
            Ok(())
        },
        show: |config| address(config.http.listen),
    },
    Key {
        name: "http.listen_tls",
        help: "address of HTTPS, or off",
        set: |config, value| {
            config.http.listen_tls = value.listener()?;
            Ok(())
        },
        show: |config| address(config.http.listen_tls),
    },
    Key {
        name: "http.plain",
        help: "who is served over plain HTTP: loopback or everywhere; others are sent to HTTPS",
        set: |config, value| {
            config.http.plain = value.word(&PLAIN)?;
            Ok(())
        },
        show: |config| word(&PLAIN, config.http.plain),
    },
    Key {
        name: "http.host_names",
        help: "further names and addresses for a new certificate",
        set: |config, value| {
            config.http.host_names = value.list()?;
            Ok(())
        },
        show: |config| {
            let names: Vec<_> = config.http.host_names.iter().map(|name| quoted(name)).collect();
            format!("[{}]", names.join(", "))
        },
    },
    Key {
        name: "http.anonymous_per_minute",
        help: "API requests a minute per address without a sign-in; 0 is no limit",
        set: |config, value| {
            config.http.anonymous_per_minute = number(value)?;
            Ok(())
        },
        show: |config| config.http.anonymous_per_minute.to_string(),
    },
    Key {
        name: "http.signed_in_per_minute",
        help: "API requests a minute per signed-in session; 0 is no limit",
        set: |config, value| {
            config.http.signed_in_per_minute = number(value)?;
            Ok(())
        },
        show: |config| config.http.signed_in_per_minute.to_string(),
    },
    Key {
        name: "http.media_per_minute",
        help: "playlists and segments a minute per signed-in session; 0 is no limit",
        set: |config, value| {
            config.http.media_per_minute = number(value)?;
            Ok(())
        },
        show: |config| config.http.media_per_minute.to_string(),
    },
    Key {
        name: "http.burst",
        help: "API requests that may come at once before the rates bind",
        set: |config, value| {
            config.http.burst = u32::try_from(value.number(1, 1_000_000)?).unwrap_or(u32::MAX);
            Ok(())
        },
        show: |config| config.http.burst.to_string(),
    },
    Key {
        name: "auth.session_hours",
        help: "hours a sign-in lasts",
        set: |config, value| {
            let hours = value.number(1, 24 * 365)?;
            config.auth.session = std::time::Duration::from_secs(hours * 3600);
            Ok(())
        },
        show: |config| (config.auth.session.as_secs() / 3600).to_string(),
    },
    Key {
        name: "auth.attempts_per_minute",
        help: "failed claims or sign-ins a minute from one address; 0 is no limit",
        set: |config, value| {
            config.auth.attempts_per_minute = number(value)?;
            Ok(())
        },
        show: |config| config.auth.attempts_per_minute.to_string(),
    },
    Key {
        name: "metrics.loopback",
        help: "whether /metrics answers callers on this machine without a sign-in",
        set: |config, value| {
            config.metrics_loopback = value.boolean()?;
            Ok(())
        },
        show: |config| config.metrics_loopback.to_string(),
    },
    Key {
        name: "log.level",
        help: "error, warn, info, debug, trace, or a filter such as lucid=debug,info",
        set: |config, value| {
            let level = value.text()?;
            tracing_subscriber::EnvFilter::try_new(&level)
                .map_err(|error| format!("not a log filter: {error}"))?;
            // A word alone would be taken for the name of a part that never says anything.
            if let Some(word) = level.split(',').map(str::trim).find(|word| !is_filter(word)) {
                return Err(format!(
                    "{word:?} is no level: error, warn, info, debug, trace, off, or PART=LEVEL"
                ));
            }
            config.log.level = level;
            Ok(())
        },
        show: |config| quoted(&config.log.level),
    },
    Key {
        name: "log.format",
        help: "auto, human, json or journald",
        set: |config, value| {
            config.log.format = value.word(&FORMATS)?;
            Ok(())
        },
        show: |config| word(&FORMATS, config.log.format),
    },
    Key {
        name: "record.demo",
        help: "whether a device without a camera shows a marked demo source after the claim",
        set: |config, value| {
            config.record.demo = value.boolean()?;
            Ok(())
        },
        show: |config| config.record.demo.to_string(),
    },
    Key {
        name: "record.keep_free_mib",
        help: "MiB of the disk kept free for what is being recorded",
        set: |config, value| {
            config.record.keep_free_bytes = value.number(128, 1 << 24)? * MIB;
            Ok(())
        },
        show: |config| (config.record.keep_free_bytes / MIB).to_string(),
    },
    Key {
        name: "exports.keep_hours",
        help: "hours a finished export is kept",
        set: |config, value| {
            let hours = value.number(1, 24 * 365)?;
            config.exports.keep = std::time::Duration::from_secs(hours * 3600);
            Ok(())
        },
        show: |config| (config.exports.keep.as_secs() / 3600).to_string(),
    },
    Key {
        name: "exports.max_mib",
        help: "MiB all exports may take together; beyond it the oldest go",
        set: |config, value| {
            config.exports.bytes_max = value.number(1, 1 << 24)? * MIB;
            Ok(())
        },
        show: |config| (config.exports.bytes_max / MIB).to_string(),
    },
    Key {
        name: "panel.gpio",
        help: "pins of light and button: auto, rppal, gpiocdev, gpiocdev:LABEL, sim or off",
        set: |config, value| {
            let choice = value.text()?.parse::<GpioChoice>();
            config.panel.gpio = choice.map_err(|error| error.to_string())?;
            Ok(())
        },
        show: |config| quoted(&gpio(&config.panel.gpio)),
    },
    Key {
        name: "panel.led_line",
        help: "GPIO line of the light, lit when high",
        set: |config, value| {
            config.panel.lines.led = gpio_line(value)?;
            Ok(())
        },
        show: |config| config.panel.lines.led.to_string(),
    },
    Key {
        name: "panel.button_line",
        help: "GPIO line of the button, pressed when low",
        set: |config, value| {
            config.panel.lines.button = gpio_line(value)?;
            Ok(())
        },
        show: |config| config.panel.lines.button.to_string(),
    },
    Key {
        name: "payments.socket",
        help: "socket of lucid-pay, an absolute path, or off",
        set: |config, value| {
            let text = value.text()?;
            config.payments_socket = match PathBuf::from(&text) {
                _ if text == "off" => None,
                path if path.is_absolute() => Some(path),
                _ => return Err("expected an absolute path or off".into()),
            };
            Ok(())
        },
        show: |config| {
            let path = config.payments_socket.as_ref().map(|path| path.to_string_lossy());
            quoted(path.as_deref().unwrap_or("off"))
        },
    },
    Key {
        name: "system.power_requests",
        help: "directory where requests to restart or shut down the machine are heard",
        set: |config, value| {
            config.power_requests = match PathBuf::from(value.text()?) {
                path if path.is_absolute() => path,
                _ => return Err("expected an absolute path".into()),
            };
            Ok(())
        },
        show: |config| quoted(&config.power_requests.to_string_lossy()),
    },
    Key {
        name: "desktops.enabled",
        help: "recorded desktops: auto (where Xvfb is installed), on or off",
        set: |config, value| {
            config.desktops.presence = value.word(&PRESENCE)?;
            Ok(())
        },
        show: |config| word(&PRESENCE, config.desktops.presence),
    },
    Key {
        name: "desktops.listen",
        help: "address of the RDP endpoint that all desktops share, or off",
        set: |config, value| {
            config.desktops.listen = value.listener()?;
            Ok(())
        },
        show: |config| address(config.desktops.listen),
    },
    Key {
        name: "desktops.address",
        help: "address on which the desktops' own ports listen",
        set: |config, value| {
            let address = value.text()?.parse();
            config.desktops.address =
                address.map_err(|_| "expected an address, such as 0.0.0.0, :: or 127.0.0.1")?;
            Ok(())
        },
        show: |config| quoted(&config.desktops.address.to_string()),
    },
    Key {
        name: "desktops.ports",
        help: "first and last of the desktops' own ports",
        set: |config, value| {
            config.desktops.ports = ports(&value.text()?)?;
            Ok(())
        },
        show: |config| {
            let (first, last) = config.desktops.ports;
            quoted(&format!("{first}-{last}"))
        },
    },
    Key {
        name: "desktops.clients_max",
        help: "RDP clients served at once, over all desktops",
        set: |config, value| {
            config.desktops.clients_max = usize::try_from(value.number(1, 1000)?).unwrap_or(64);
            Ok(())
        },
        show: |config| config.desktops.clients_max.to_string(),
    },
    Key {
        name: "desktops.session",
        help: "session of desktops that name none; default is a window manager and a terminal",
        set: |config, value| {
            let text = value.text()?;
            config.desktops.session = (text != "default").then_some(text);
            Ok(())
        },
        show: |config| quoted(config.desktops.session.as_deref().unwrap_or("default")),
    },
    Key {
        name: "desktops.home",
        help: "directory of the workers' files, which the desktops' users can reach",
        set: |config, value| {
            config.desktops.home = absolute(value)?;
            Ok(())
        },
        show: |config| quoted(&config.desktops.home.to_string_lossy()),
    },
    Key {
        name: "desktops.runtime",
        help: "directory of sockets and cookies of running desktops",
        set: |config, value| {
            config.desktops.runtime = absolute(value)?;
            Ok(())
        },
        show: |config| quoted(&config.desktops.runtime.to_string_lossy()),
    },
    Key {
        name: "desktops.keeper",
        help: "socket of the keeper that starts desktops where lucid is not root, or off",
        set: |config, value| {
            let off = value.text()? == "off";
            config.desktops.keeper = if off { None } else { Some(absolute(value)?) };
            Ok(())
        },
        show: |config| {
            let socket = config.desktops.keeper.as_ref().map(|path| path.to_string_lossy());
            quoted(socket.as_deref().unwrap_or("off"))
        },
    },
    Key {
        name: "desktops.recorded_by",
        help: "who records, as the notice tells the worker; device is the device's name",
        set: |config, value| {
            let text = value.text()?;
            if text.chars().count() > 64 || text.chars().any(char::is_control) {
                return Err("expected at most 64 printable characters".into());
            }
            config.desktops.recorded_by = (text != "device").then_some(text);
            Ok(())
        },
        show: |config| quoted(config.desktops.recorded_by.as_deref().unwrap_or("device")),
    },
    Key {
        name: "desktops.memory_mib",
        help: "MiB of main memory of a desktop that names none",
        set: |config, value| {
            config.desktops.memory_bytes = value.number(64, 1 << 20)? * MIB;
            Ok(())
        },
        show: |config| (config.desktops.memory_bytes / MIB).to_string(),
    },
    Key {
        name: "desktops.cpu_percent",
        help: "processor time of a desktop that names none, percent of one core",
        set: |config, value| {
            config.desktops.cpu_percent = u32::try_from(value.number(5, 6400)?).unwrap_or(100);
            Ok(())
        },
        show: |config| config.desktops.cpu_percent.to_string(),
    },
    Key {
        name: "desktops.tasks",
        help: "processes and threads of a desktop that names none",
        set: |config, value| {
            config.desktops.tasks = u32::try_from(value.number(16, 65_536)?).unwrap_or(512);
            Ok(())
        },
        show: |config| config.desktops.tasks.to_string(),
    },
    Key {
        name: "desktops.notice_s",
        help: "seconds the recording notice waits to be accepted",
        set: |config, value| {
            config.desktops.notice = value.seconds(5.0, 300.0)?;
            Ok(())
        },
        show: |config| config.desktops.notice.as_secs_f64().to_string(),
    },
    Key {
        name: "desktops.idle_s",
        help: "seconds without input after which a session counts as idle",
        set: |config, value| {
            config.desktops.idle = value.seconds(1.0, 86_400.0)?;
            Ok(())
        },
        show: |config| config.desktops.idle.as_secs_f64().to_string(),
    },
    Key {
        name: "desktops.grace_s",
        help: "seconds within which a worker who lost the connection finds the same session",
        set: |config, value| {
            config.desktops.grace = value.seconds(1.0, 86_400.0)?;
            Ok(())
        },
        show: |config| config.desktops.grace.as_secs_f64().to_string(),
    },
    Key {
        name: "desktops.longest_s",
        help: "seconds after which a session is ended",
        set: |config, value| {
            config.desktops.longest = value.seconds(60.0, 604_800.0)?;
            Ok(())
        },
        show: |config| config.desktops.longest.as_secs_f64().to_string(),
    },
    Key {
        name: "settle.rate_micro",
        help: "micro-USDT paid to a node for one credit; 0 settles nothing here",
        set: |config, value| {
            config.settle.rate_micro = value.number(0, 1_000_000_000)?;
            Ok(())
        },
        show: |config| config.settle.rate_micro.to_string(),
    },
    Key {
        name: "settle.span_hours",
        help: "hours of chain time that are settled at once",
        set: |config, value| {
            config.settle.span_hours = value.number(1, 24)?;
            Ok(())
        },
        show: |config| config.settle.span_hours.to_string(),
    },
    Key {
        name: "settle.payees",
        help: "who is paid for which node: a list of NODE_KEY=ADDRESS, the key in 64 hex digits",
        set: |config, value| {
            config.settle.payees = payees(&value.list()?)?;
            Ok(())
        },
        show: |config| {
            let all = config.settle.payees.iter();
            let all: Vec<_> = all.map(|(node, to)| quoted(&format!("{node}={to}"))).collect();
            format!("[{}]", all.join(", "))
        },
    },
    update_keys::SERVER,
    update_keys::TENANT,
    update_keys::DEVICE,
    update_keys::TOKEN_FILE,
    update_keys::GATEWAY_TOKEN,
    update_keys::AUTHORITIES,
    update_keys::ASK,
    update_keys::ALLOW_OLDER,
    update_keys::WINDOW,
    update_keys::BOOT_CONFIG,
    update_keys::SLOT,
];

fn absolute(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(value.text()?);
    path.is_absolute().then_some(path).ok_or_else(|| "expected an absolute path".into())
}

/// `13389-14389`.
fn ports(text: &str) -> Result<(u16, u16), String> {
    let pair = text.split_once('-').map(|(first, last)| (first.trim(), last.trim()));
    let pair = pair.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    pair.filter(|(first, last)| (1..=*last).contains(first))
        .ok_or_else(|| "expected two ports, such as 13389-14389".into())
}

/// Payees by their nodes' keys. Whether an address is one is for the payment process to say.
fn payees(list: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut payees = BTreeMap::new();
    for one in list {
        let (node, payee) = one.split_once('=').unwrap_or((one, ""));
        let is_key = node.len() == 64 && node.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = |byte: u8| byte.is_ascii_alphanumeric();
        if !is_key || !(1..=64).contains(&payee.len()) || !payee.bytes().all(fits) {
            return Err(format!(
                "expected NODE_KEY=ADDRESS, the key in 64 hex digits, not {one:?}"
            ));
        }
        if payees.insert(node.to_lowercase(), payee.to_owned()).is_some() {
            return Err(format!("node {node} is named twice"));
        }
    }
    Ok(payees)
}

/// Whether it is a directive of a log filter: a level, or one for a part.
fn is_filter(word: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    word.contains(['=', '[']) || levels.iter().any(|level| word.eq_ignore_ascii_case(level))
}

fn gpio_line(value: &Value) -> Result<u8, String> {
    let number = value.number(0, u64::from(MAX_LINES) - 1)?;
    u8::try_from(number).map_err(|error| error.to_string())
}

fn gpio(choice: &GpioChoice) -> String {
    match choice {
        GpioChoice::Auto => "auto".into(),
        GpioChoice::Rppal => "rppal".into(),
        GpioChoice::Cdev { label: None } => "gpiocdev".into(),
        GpioChoice::Cdev { label: Some(label) } => format!("gpiocdev:{label}"),
        GpioChoice::Sim => "sim".into(),
        GpioChoice::Off => "off".into(),
    }
}

fn number(value: &Value) -> Result<u32, String> {
    Ok(u32::try_from(value.number(0, 1_000_000)?).unwrap_or(u32::MAX))
}

fn address(address: Option<std::net::SocketAddr>) -> String {
    quoted(&address.map_or_else(|| "off".to_owned(), |address| address.to_string()))
}

fn word<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    let found = words.iter().find(|(_, known)| *known == value);
    quoted(found.map_or("", |(word, _)| word))
}
