//! The client and the download against a small server that speaks hawkBit's device API, drops
//! connections, and writes down what it was told.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lucid_fleet::download::{BUNDLE_BYTES_MAX, DownloadError, Wanted, download, present};
use lucid_fleet::hawkbit::{Client, HawkbitError, Progress, Server, Token};
use lucid_fleet::update::{Origin, Source};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "0123456789abcdef";
const BUNDLE_BYTES: usize = 300_000;

/// What the server is made to do.
#[derive(Default)]
struct State {
    address: String,
    /// Waits for agreement, is to be installed, or is to be called off.
    action: Option<(&'static str, &'static str)>,
    update: &'static str,
    bundle: Vec<u8>,
    /// Connections are dropped after so many bytes of the bundle, one entry each.
    drops: Vec<usize>,
    ignores_ranges: bool,
    told: Vec<(String, Value)>,
    ranges: Vec<Option<String>>,
    status: Option<u16>,
}

struct Fleet {
    state: Arc<Mutex<State>>,
}

fn bundle() -> Vec<u8> {
    (0..BUNDLE_BYTES).map(|at| (at * 7 % 251) as u8).collect()
}

impl Fleet {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State { address, bundle: bundle(), update: "forced", ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { state }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn client(&self, token: &str) -> Client {
        let server = Server {
            url: self.with(|state| state.address.clone()) + "/",
            tenant: "DEFAULT".into(),
            device: "lucid-7".into(),
            token: Token::Target(token.into()),
        };
        Client::new(lucid_fleet::http::client(b"").unwrap(), &server).unwrap()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (answer, cut) = {
        let mut state = state.lock().unwrap();
        respond(&mut state, method, path, header("authorization"), header("range"), &body)
    };
    let end = cut.unwrap_or(answer.len());
    let _gone = stream.write_all(&answer[..end]).await;
    let _gone = stream.shutdown().await;
}

fn plain(status: &str, body: &[u8], more: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The answer, and after how many bytes of it the connection is dropped.
fn respond(
    state: &mut State,
    method: &str,
    path: &str,
    authorization: Option<String>,
    range: Option<String>,
    body: &[u8],
) -> (Vec<u8>, Option<usize>) {
    if authorization.as_deref() != Some(&format!("TargetToken {TOKEN}")) {
        return (plain("401 Unauthorized", b"", ""), None);
    }
    if let Some(status) = state.status {
        return (plain(&format!("{status} As Told"), b"", ""), None);
    }
    let base = "/DEFAULT/controller/v1/lucid-7";
    let href = |path: &str| json!({"href": format!("{}{base}/{path}", state.address)});
    let ok = |value: Value| (plain("200 OK", value.to_string().as_bytes(), ""), None);
    if path == "/bundle" {
        return send_bundle(state, range);
    }
    let path = path.strip_prefix(base).unwrap();
    if method != "GET" {
        state.told.push((path.to_owned(), serde_json::from_slice(body).unwrap()));
        return (plain("200 OK", b"", ""), None);
    }
    let content = json!({
        "download": state.update, "update": state.update, "maintenanceWindow": "available",
        "chunks": [{"part": "os", "version": "2.0.0", "name": "lucid", "artifacts": [
            {"filename": "notes.txt", "size": 1, "_links": {}},
            {"filename": "lucid.raucb", "size": state.bundle.len(),
             "hashes": {"sha256": "ab".repeat(32), "md5": "x"},
             "_links": {"download-http": {"href": format!("{}/bundle", state.address)}}}]}]});
    match (path, state.action) {
        ("", None) => ok(json!({"config": {"polling": {"sleep": "00:01:30"}},
                                "_links": {"configData": href("configData")}})),
        ("", Some((what, id))) => {
            let link = match what {
                "confirmationBase" => href("confirmationBase"),
                what => href(&format!("{what}/{id}?c=-1234")),
            };
            ok(json!({"_links": {what: link}}))
        }
        ("/confirmationBase", Some((_, id))) => {
            let link = href(&format!("confirmationBase/{id}"));
            ok(json!({"autoConfirm": {"active": false}, "_links": {"confirmationBase": link}}))
        }
        (_, Some(("confirmationBase", id))) => ok(json!({"id": id, "confirmation": content})),
        (_, Some(("deploymentBase", id))) => ok(json!({"id": id, "deployment": content})),
        (_, Some(("cancelAction", id))) => ok(json!({"id": id, "cancelAction": {"stopId": "8"}})),
        _ => (plain("404 Not Found", b"", ""), None),
    }
}

fn send_bundle(state: &mut State, range: Option<String>) -> (Vec<u8>, Option<usize>) {
    let from = range.as_deref().map(|range| range.strip_prefix("bytes=").unwrap());
    let from: usize = from.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    state.ranges.push(range);
    let total = state.bundle.len();
    let answer = if from == 0 || state.ignores_ranges {
        plain("200 OK", &state.bundle, "")
    } else if from >= total {
        plain("416 Range Not Satisfiable", b"", "")
    } else {
        let place = format!("content-range: bytes {from}-{}/{total}\r\n", total - 1);
        plain("206 Partial Content", &state.bundle[from..], &place)
    };
    let cut = (!state.drops.is_empty()).then(|| state.drops.remove(0));
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (answer, cut.map(|bytes| head + bytes))
}

#[tokio::test]
async fn an_action_is_found_agreed_to_and_reported() {
    let fleet = Fleet::start().await;
    let client = fleet.client(TOKEN);
    let poll = client.poll().await.unwrap();
    assert_eq!((poll.sleep.as_secs(), poll.offer, poll.cancel), (90, None, None));
    assert!(poll.wants_attributes);
    let data = BTreeMap::from([("version", "1.0.0".to_owned())]);
    client.describe(&data).await.unwrap();

    fleet.with(|state| state.action = Some(("confirmationBase", "8")));
    let offer = client.poll().await.unwrap().offer.unwrap();
    assert_eq!((offer.id.as_str(), offer.ask, &offer.source), ("8", true, &Source::AfterAgreement));
    client.agree("8", "agreed on the device").await.unwrap();

    fleet.with(|state| state.action = Some(("deploymentBase", "8")));
    let poll = client.poll().await.unwrap();
    assert_eq!(poll.sleep.as_secs(), 300, "of our own where the server says nothing");
    let offer = poll.offer.unwrap();
    let address = fleet.with(|state| state.address.clone());
    assert_eq!(offer.source, Source::Url(format!("{address}/bundle")));
    assert_eq!((offer.origin, offer.name.as_str()), (Origin::Server, "lucid 2.0.0"));
    assert_eq!(offer.bytes, BUNDLE_BYTES as u64);
    assert!(offer.install && !offer.ask);
    fleet.with(|state| state.update = "skip");
    assert!(!client.poll().await.unwrap().offer.unwrap().install, "only to be downloaded");
    client.feedback("8", Progress::Failed, "fell back: no camera", 1_700).await.unwrap();

    fleet.with(|state| state.action = Some(("cancelAction", "11")));
    let cancel = client.poll().await.unwrap().cancel.unwrap();
    assert_eq!((cancel.id.as_str(), cancel.action.as_str()), ("11", "8"));
    client.answer_cancel(&cancel, false, "it is being installed", 1_800).await.unwrap();

    let told = fleet.with(|state| std::mem::take(&mut state.told));
    let places: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        places,
        [
            "/configData",
            "/confirmationBase/8/feedback",
            "/deploymentBase/8/feedback",
            "/cancelAction/11/feedback",
        ]
    );
    assert_eq!(told[0].1["data"]["version"], "1.0.0");
    assert_eq!(told[1].1["confirmation"], "confirmed");
    assert_eq!(told[2].1["status"]["execution"], "closed");
    assert_eq!(told[2].1["status"]["result"]["finished"], "failure");
    assert_eq!(told[2].1["status"]["details"][0], "fell back: no camera");
    assert_eq!(told[3].1["status"]["execution"], "rejected");
}

#[tokio::test]
async fn a_wrong_token_and_strange_answers_are_said_without_the_token() {
    let fleet = Fleet::start().await;
    let error = fleet.client("ffffffffffffffff").poll().await.unwrap_err();
    assert!(matches!(error, HawkbitError::Forbidden(_)), "{error}");
    assert!(!format!("{error:?}{error}").contains("ffff"), "{error:?}");
    fleet.with(|state| state.status = Some(503));
    let error = fleet.client(TOKEN).poll().await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    fleet.with(|state| {
        (state.status, state.action) = (None, Some(("deploymentBase", "..%2F..")));
    });
    let error = fleet.client(TOKEN).poll().await.unwrap_err();
    assert!(error.to_string().contains("plain id"), "{error}");
    let server = |url: &str| Server {
        url: url.into(),
        tenant: "DEFAULT".into(),
        device: "x".into(),
        token: Token::Gateway("t".into()),
    };
    for wrong in ["ftp://fleet", "fleet.example", "https://user@fleet.example"] {
        let http = lucid_fleet::http::client(b"").unwrap();
        assert!(Client::new(http, &server(wrong)).is_err(), "{wrong}");
    }
    let http = lucid_fleet::http::client(b"").unwrap();
    let client = Client::new(http, &server("https://fleet.example")).unwrap();
    assert!(client.authorization_for("https://fleet.example/a").is_some());
    assert!(client.authorization_for("https://cdn.example/a").is_none(), "nobody else sees it");
    assert!(client.authorization_for("http://fleet.example/a").is_none());
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let fleet = Fleet::start().await;
    let client = fleet.client(TOKEN);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle");
    let url = fleet.with(|state| {
        state.drops = vec![100_000, 0, 50_000];
        format!("{}/bundle", state.address)
    });
    let http = lucid_fleet::http::client(b"").unwrap();
    let authorization = client.authorization_for(&url);
    let wanted = Wanted { url: &url, authorization, bytes: BUNDLE_BYTES as u64 };
    let mut tries = 0;
    let sha256 = loop {
        tries += 1;
        match download(&http, &wanted, &path, |_| {}).await {
            Ok(sha256) => break sha256,
            Err(error) => assert!(error.again(), "{error}"),
        }
    };
    assert_eq!(tries, 4);
    assert_eq!(std::fs::read(&path).unwrap(), bundle());
    assert_eq!(sha256, lucid_fleet::download::sha256(&path).unwrap());
    let ranges = fleet.with(|state| std::mem::take(&mut state.ranges));
    let starts: Vec<&str> = ranges.iter().flatten().map(String::as_str).collect();
    assert_eq!(starts, ["bytes=100000-", "bytes=100000-", "bytes=150000-"]);
    // All of it is here: the server is not asked again.
    assert_eq!(download(&http, &wanted, &path, |_| {}).await.unwrap(), sha256);
    assert!(fleet.with(|state| state.ranges.is_empty()));
    // A server that cannot do ranges sends all of it, and all of it is taken.
    std::fs::write(&path, &bundle()[..1_000]).unwrap();
    fleet.with(|state| state.ignores_ranges = true);
    assert_eq!(download(&http, &wanted, &path, |_| {}).await.unwrap(), sha256);
    assert_eq!(present(&path), BUNDLE_BYTES as u64);
}

#[tokio::test]
async fn a_download_takes_no_more_than_was_said_and_than_fits() {
    let fleet = Fleet::start().await;
    let client = fleet.client(TOKEN);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle");
    let http = lucid_fleet::http::client(b"").unwrap();
    let url = fleet.with(|state| format!("{}/bundle", state.address));
    let authorization = client.authorization_for(&url);
    let short = Wanted { url: &url, authorization, bytes: 1_000 };
    let error = download(&http, &short, &path, |_| {}).await.unwrap_err();
    assert!(matches!(error, DownloadError::TooLong(1_000)) && !error.again(), "{error}");
    assert_eq!(present(&path), 0);
    // More than any bundle: said before the first byte.
    let beyond = Wanted { url: &url, authorization, bytes: BUNDLE_BYTES_MAX + 1 };
    let error = download(&http, &beyond, &path, |_| {}).await.unwrap_err();
    assert!(matches!(error, DownloadError::TooLong(BUNDLE_BYTES_MAX)), "{error}");
    assert_eq!(present(&path), 0);
    // More than a small disk has: said before the first byte, too.
    let huge = Wanted { url: &url, authorization, bytes: BUNDLE_BYTES_MAX };
    let disk_is_smaller = download(&http, &huge, &path, |_| {}).await;
    match disk_is_smaller.unwrap_err() {
        DownloadError::Full { needed, free } => assert!(needed > free),
        // On a disk with more room the connection ends early instead.
        error => assert!(matches!(error, DownloadError::Network(_)), "{error}"),
    }
    // Without the token there is nothing.
    let stranger = Wanted { url: &url, authorization: None, bytes: 5 };
    let error = download(&http, &stranger, &dir.path().join("x"), |_| {}).await.unwrap_err();
    assert!(matches!(error, DownloadError::Status(_)) && !error.again(), "{error}");
}
