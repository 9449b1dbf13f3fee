//! Settling over the real payment process and the TRON simulator, each a process of its own: what
//! was asked twice is paid once, and the statement says from which credits.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lucid_pay_api::{PayoutState, Statement};
use lucid_store::memory_store;

use super::tests::{Chain, PAYEE, START_US, settings};
use super::*;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(80);

/// A process that ends with the test.
struct Process(Child);

impl Process {
    /// As a power cut does it.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the workspace beside this test's; built if only the daemon's tests were.
fn program(package: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().unwrap().parent().unwrap().join(package);
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-q", "-p", package]);
        assert!(build.status().unwrap().success(), "{package} does not build");
    }
    path
}

/// The simulator, and the URLs of its API and its controls.
fn simulator() -> (Process, String, String) {
    let mut child = Command::new(program("tron-node"))
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--seed", "9"])
        .args(["--block-interval-ms", "100"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = |key: &str| ready[key].as_str().unwrap().to_owned();
    (Process(child), url("node"), url("control"))
}

async fn wait_for<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        // Far below the requests a minute that the payment process takes.
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
}

#[tokio::test]
async fn the_real_payment_process_pays_a_reward_once_and_says_for_what() {
    let dir = tempfile::tempdir().unwrap();
    let (_simulator, node, control) = simulator();
    let data = dir.path().join("data");
    let serve = || {
        let mut command = Command::new(program("lucid-pay"));
        command
            .arg("--network=sandbox")
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--set=node.urls={node}"))
            .arg(format!("--set=sandbox.control={control}"))
            .args(["--set=node.poll_ms=40", "serve"])
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Process(command.spawn().unwrap())
    };
    let client = Client::new(data.join("pay.sock"));
    let chain = Chain::new().await;
    // 40 credits for half a USDT each: more than the 10 USDT up to which rewards are gathered.
    let settings = Settings { rate_micro: 500_000, ..settings(&chain) };
    let rewards = Arc::new(Rewards::new(Arc::new(memory_store("index"))));
    chain.blocks(START_US + 1_000_000, 41).await;
    chain.blocks(START_US + 24 * HOUR_US, 2).await;
    assert_eq!(rewards.note(&chain.node, &settings).unwrap(), 1);
    let waiting = rewards.waiting(&settings).unwrap();
    let said = hand_over(&rewards, &client, waiting.clone()).await.unwrap().unwrap();
    assert!(said.contains("pay.sock"), "nobody answers yet: {said}");

    let mut process = serve();
    let status = || client.get::<lucid_pay_api::Status>(route::STATUS);
    wait_for("an answer", async || status().await.ok()).await;
    assert_eq!(hand_over(&rewards, &client, waiting.clone()).await.unwrap(), None);
    let id = rewards.list(9).unwrap()[0].payout.clone().unwrap();
    // The payment process dies, and this device forgets that it was answered: it asks once more.
    process.kill();
    let _process = serve();
    wait_for("an answer", async || status().await.ok()).await;
    assert_eq!(hand_over(&rewards, &client, waiting).await.unwrap(), None);
    assert_eq!(rewards.list(9).unwrap()[0].payout.as_ref(), Some(&id));

    let path = format!("{}/{id}", route::PAYOUTS);
    let paid = wait_for("the transfer", async || {
        let found: Payout = client.get(&path).await.ok()?;
        (found.state == PayoutState::Confirmed).then_some(found)
    })
    .await;
    let reward = &rewards.list(9).unwrap()[0];
    assert_eq!(paid.amount_micro, reward.amount().unwrap());
    assert_eq!(paid.evidence_hash, Some(reward.evidence_hash()));
    let basis = paid.basis.unwrap();
    assert_eq!((basis.credits, basis.rate_micro), (reward.credits, MicroUsdt(500_000)));
    let now = status().await.unwrap();
    assert_eq!((now.paid_micro, now.open_payouts), (paid.amount_micro, 0));
    let statement: Statement =
        client.get(&format!("{}?month={}", route::STATEMENTS, month(now.now_ms))).await.unwrap();
    let [line] = &statement.lines[..] else { panic!("one line: {statement:?}") };
    assert_eq!((line.payee.as_str(), line.net_micro), (PAYEE, paid.amount_micro));
    assert_eq!(line.basis.as_ref().unwrap().credits, reward.credits);
    assert!(line.because.starts_with("paid: "), "{}", line.because);
}

/// The month of a moment, in UTC, such as 2026-11.
fn month(ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1000).unwrap()).unwrap();
    format!("{}-{:02}", at.year(), u8::from(at.month()))
}
