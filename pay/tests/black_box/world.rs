//! The real programs: a simulator process, `lucid-pay` processes, and what they leave behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lucid_pay::client::{Endpoint, HttpNode, Network, Timeouts, Transport};
use lucid_pay::node::TronNode;
use lucid_pay::tron::{Address, Usdt};
use serde_json::{Value, json};

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(80);

/// Tries until something is there.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The simulator's program: built when only this package's tests were.
pub fn simulator_program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_lucid-pay")).with_file_name("tron-node");
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-q", "-p", "tron-node"]);
        assert!(build.status().unwrap().success(), "the simulator does not build");
    }
    path
}

/// The node, a process of its own that outlives those that are killed.
pub struct Simulator {
    child: Child,
    pub node: String,
    pub control: String,
    pub token: Address,
    transport: Transport,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    pub fn start(block_ms: u64) -> Self {
        Self::since(block_ms, None)
    }

    /// With the time of its first block: two that begin alike are one chain until money comes in.
    pub fn since(block_ms: u64, start_ms: Option<u64>) -> Self {
        let mut command = Command::new(simulator_program());
        if let Some(start_ms) = start_ms {
            command.args(["--start-ms", &start_ms.to_string()]);
        }
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--seed", "7"])
            .args(["--block-interval-ms", &block_ms.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            child,
            node: text("node"),
            control: text("control"),
            token: text("token").parse().unwrap(),
            transport: Transport::new(Timeouts::default(), b"").unwrap(),
            runtime,
        }
    }

    /// Turns one of its controls.
    pub fn control(&self, call: &str, body: &Value) -> Value {
        let url = format!("{}/sim/{call}", self.control);
        self.runtime.block_on(self.transport.control(&url, body)).unwrap()
    }

    /// Asks the node itself.
    pub fn asked(&self, call: &str, body: &Value) -> Value {
        let url = format!("{}/{call}", self.node);
        self.runtime.block_on(self.transport.control(&url, body)).unwrap()
    }

    /// Money from nowhere.
    pub fn give(&self, to: &str, sun: u64, usdt_micro: u64) {
        let gift = json!({"address": to, "sun": sun, "usdt_micro": usdt_micro});
        self.control("faucet", &gift);
    }

    fn client(&self) -> HttpNode {
        let endpoint = Endpoint::new("test", &self.node, None, None).unwrap();
        HttpNode::new(endpoint, Network::Private, self.transport.clone())
    }

    /// Solidified USDT of an address.
    pub fn usdt(&self, of: Address) -> Usdt {
        let node = self.client();
        self.runtime.block_on(node.balance(of, self.token)).unwrap()
    }
}

/// A directory with everything one installation has, and every word its processes said.
pub struct Installation {
    pub dir: tempfile::TempDir,
    pub said: Vec<u8>,
    options: Vec<String>,
    credentials: bool,
    /// A program that runs the commands, and its arguments.
    within: Vec<String>,
}

impl Installation {
    /// With a key from a credential, or a passphrase from a file.
    pub fn new(simulator: &Simulator, credentials: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = [
            "--network=sandbox".to_owned(),
            format!("--data-dir={}", dir.path().join("data").display()),
            format!("--set=node.urls={}", simulator.node),
            format!("--set=sandbox.control={}", simulator.control),
            "--set=node.poll_ms=40".to_owned(),
        ];
        let (said, within) = (Vec::new(), Vec::new());
        let this = Self { dir, said, options: options.to_vec(), credentials, within };
        this.secret("lucid-pay.key", &[0x5a; 32]);
        this
    }

    /// Writes a file that only its owner reads.
    pub fn secret(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn option(&mut self, option: &str) {
        self.options.push(option.to_owned());
    }

    /// Other nodes than the simulator's own address.
    pub fn nodes(&mut self, urls: &[&str]) {
        self.option(&format!("--set=node.urls={}", urls.join(",")));
    }

    /// Runs all commands by this program.
    pub fn within(&mut self, program: &[&str]) {
        self.within = program.iter().map(|&part| part.to_owned()).collect();
    }

    /// A command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let lucid_pay = env!("CARGO_BIN_EXE_lucid-pay");
        let mut command = match self.within.split_first() {
            None => Command::new(lucid_pay),
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(lucid_pay);
                command
            }
        };
        command.args(&self.options).args(arguments).stdin(Stdio::null());
        command.env_remove("CREDENTIALS_DIRECTORY");
        if self.credentials {
            command.env("CREDENTIALS_DIRECTORY", self.dir.path());
        }
        command
    }

    /// Starts a command and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs a command to its end.
    pub fn run(&mut self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        self.said.extend_from_slice(&output.stdout);
        self.said.extend_from_slice(&output.stderr);
        output
    }

    /// Runs a command that must work, and reads its JSON.
    pub fn ok(&mut self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let output = self.run(&all);
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
    }

    /// Starts the process; its log goes to a file.
    pub fn serve(&self) -> Child {
        let log = self.dir.path().join("serve.log");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    /// A wallet with money in the newest final block; its address.
    pub fn funded(&mut self, simulator: &Simulator, sun: u64, usdt: u32) -> Address {
        let wallet = self.ok(&["wallet", "create", "main"]);
        let account: Address = wallet["address"].as_str().unwrap().parse().unwrap();
        simulator.give(&account.to_string(), sun, Usdt::whole(usdt).units());
        wait_for("the money", || (simulator.usdt(account) == Usdt::whole(usdt)).then_some(()));
        account
    }

    /// Asks for a payout; its id.
    pub fn ask(&mut self, payee: &str, amount: &str, key: &str) -> String {
        let request = ["payout", "request", "--payee", payee, "--amount", amount];
        let asked = self.ok(&[&request[..], &["--reason", key, "--key", key]].concat());
        asked["id"].as_str().unwrap().to_owned()
    }

    fn client(&self) -> (lucid_pay_api::Client, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (lucid_pay_api::Client::new(self.dir.path().join("data/pay.sock")), runtime)
    }

    /// Asks on the socket; of a refusal the code.
    pub fn get(&self, route: &str) -> Result<Value, String> {
        let (client, runtime) = self.client();
        runtime.block_on(client.get(route)).map_err(code)
    }

    /// Sends to the socket; of a refusal the code.
    pub fn post(&self, route: &str, body: &Value) -> Result<Value, String> {
        let (client, runtime) = self.client();
        runtime.block_on(client.post(route, body)).map_err(code)
    }

    /// Waits until a payout is as it should be.
    pub fn until(&mut self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait_for(what, || {
            // Far below the gateway's limit of requests.
            std::thread::sleep(Duration::from_millis(700));
            last = self.ok(&["payout", "show", id]);
            fits(&last).then(|| last.clone())
        })
    }

    /// The process answers and its nodes are healthy.
    pub fn wait_until_ready(&mut self) {
        let mut last = Value::Null;
        wait_for("a ready process", || {
            if self.within.is_empty() {
                let socket = self.dir.path().join("data/pay.sock");
                std::os::unix::net::UnixStream::connect(socket).ok()?;
            }
            let output = self.command(&["--json", "doctor"]).output().ok()?;
            last = serde_json::from_slice(&output.stdout).ok()?;
            let process = last.as_array()?.iter().find(|f| f["what"] == "payment process")?;
            (process["state"] == "well").then_some(())
        });
    }

    /// Bytes of the journal.
    pub fn journal_len(&self) -> u64 {
        let path = self.dir.path().join("data/sandbox/journal");
        fs::metadata(path).map_or(0, |found| found.len())
    }
}

fn code(error: lucid_pay_api::ClientError) -> String {
    match error {
        lucid_pay_api::ClientError::Refused(problem) => problem.code,
        error => error.to_string(),
    }
}

/// Asks a process to end and waits until it has.
pub fn terminate(mut child: Child) -> Option<i32> {
    let id = i32::try_from(child.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap().code()
}
