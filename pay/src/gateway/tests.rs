//! The gateway over real sockets. The desk keeps requests in memory; everything before it is real.

use super::*;
use lucid_pay_api::*;
use std::sync::Mutex;

type NotHere<T> = Result<T, Problem>;

fn absent<T>() -> NotHere<T> {
    Err(Problem::new(404, "not-found", "not in this test"))
}

#[derive(Default)]
struct Notes {
    requests: Mutex<Vec<PayoutRequest>>,
    slow: bool,
}

impl Desk for Notes {
    async fn status(&self) -> NotHere<Status> {
        if self.slow {
            std::future::pending::<()>().await;
        }
        absent()
    }
    async fn wallets(&self) -> NotHere<Vec<Wallet>> {
        Ok(Vec::new())
    }
    async fn create_wallet(&self, _: NewWallet) -> NotHere<Wallet> {
        absent()
    }
    async fn change_wallet(&self, _: String, _: WalletChange) -> NotHere<Wallet> {
        absent()
    }
    async fn balance(&self, _: String) -> NotHere<Balance> {
        absent()
    }
    async fn history(&self, _: String) -> NotHere<Vec<HistoryEntry>> {
        absent()
    }
    async fn signers(&self, _: String) -> NotHere<Signers> {
        absent()
    }
    async fn allowances(&self, _: String, _: AllowanceQuery) -> NotHere<Allowances> {
        absent()
    }
    async fn allow(&self, _: String, _: AllowanceOrder) -> NotHere<StakingReceipt> {
        absent()
    }
    async fn propose(&self, _: NewProposal) -> NotHere<Proposal> {
        absent()
    }
    async fn show(&self, _: ProposalTexts) -> NotHere<Proposal> {
        absent()
    }
    async fn sign(&self, _: ProposalSignature) -> NotHere<Proposal> {
        absent()
    }
    async fn send(&self, _: ProposalTexts) -> NotHere<StakingReceipt> {
        absent()
    }
    async fn ledger(&self) -> NotHere<LedgerState> {
        absent()
    }
    async fn estimate(&self, _: PayoutRequest) -> NotHere<Estimate> {
        absent()
    }
    async fn request(&self, request: PayoutRequest) -> NotHere<Payout> {
        self.requests.lock().unwrap().push(request);
        absent()
    }
    async fn payouts(&self, query: PayoutQuery) -> NotHere<PayoutPage> {
        Ok(PayoutPage { payouts: Vec::new(), next: query.after })
    }
    async fn payout(&self, _: String) -> NotHere<Payout> {
        absent()
    }
    async fn why(&self, _: String) -> NotHere<Why> {
        absent()
    }
    async fn approve(&self, _: String, _: Approval) -> NotHere<Payout> {
        absent()
    }
    async fn retry(&self, _: String, _: Approval) -> NotHere<Payout> {
        absent()
    }
    async fn refuse(&self, _: String, _: Refusal) -> NotHere<Payout> {
        absent()
    }
    async fn request_batch(&self, _: BatchRequest) -> NotHere<Batch> {
        absent()
    }
    async fn batches(&self) -> NotHere<Vec<BatchSummary>> {
        Ok(Vec::new())
    }
    async fn batch(&self, _: String) -> NotHere<Batch> {
        absent()
    }
    async fn staking(&self, _: String) -> NotHere<Staking> {
        absent()
    }
    async fn stake(&self, _: StakingOrder) -> NotHere<StakingReceipt> {
        absent()
    }
    async fn statement(&self, query: StatementQuery) -> NotHere<(&'static str, String)> {
        Ok(("text/csv", format!("month\r\n{}\r\n", query.month)))
    }
}

struct Served {
    client: Client,
    desk: Arc<Notes>,
    _dir: tempfile::TempDir,
}

/// Serves with the given users; `None` is whoever runs the test.
fn served(users: Option<Vec<u32>>, slow: bool) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pay.sock");
    let listener = bind(&path).unwrap();
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap());
    let timeout = if slow { Duration::from_millis(20) } else { REQUEST_TIMEOUT };
    let limits = Limits { users: users.unwrap_or(vec![own]), timeout };
    let desk = Arc::new(Notes { slow, ..Notes::default() });
    tokio::spawn(serve(listener, Arc::clone(&desk), limits, std::future::pending()));
    Served { client: Client::new(path), desk, _dir: dir }
}

#[track_caller]
fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Problem {
    match answer {
        Err(ClientError::Refused(problem)) => problem,
        other => panic!("expected a problem, got {other:?}"),
    }
}

#[tokio::test]
async fn a_user_who_is_not_named_is_refused_and_told_who_it_is() {
    let served = served(Some(vec![u32::MAX]), false);
    let found = problem(served.client.get::<Vec<Wallet>>(route::WALLETS).await);
    assert_eq!((found.status, found.code.as_str()), (403, "wrong-user"));
    assert!(found.detail.contains("gateway.users"), "{found}");
}

#[tokio::test]
async fn a_hundred_a_minute_are_answered_and_the_next_one_is_told_to_wait() {
    let served = served(None, false);
    for _ in 0..REQUESTS_PER_MINUTE {
        served.client.get::<Vec<Wallet>>(route::WALLETS).await.unwrap();
    }
    let mut last = served.client.get::<Vec<Wallet>>(route::WALLETS).await;
    // A slow machine has earned some more meanwhile.
    while last.is_ok() {
        last = served.client.get::<Vec<Wallet>>(route::WALLETS).await;
    }
    assert_eq!(problem(last).status, 429);
}

#[test]
fn the_rate_fills_evenly_and_each_user_has_an_own() {
    let mut rate = Rate::default();
    let start = std::time::Instant::now();
    for _ in 0..REQUESTS_PER_MINUTE {
        rate.take(1, start).unwrap();
    }
    let wait = rate.take(1, start).unwrap_err();
    assert_eq!(wait.as_millis(), 600);
    rate.take(2, start).unwrap();
    rate.take(1, start + Duration::from_millis(601)).unwrap();
    rate.take(1, start + Duration::from_millis(601)).unwrap_err();
}

#[tokio::test]
async fn a_body_of_100_mb_is_answered_with_413_and_nothing_is_kept() {
    let served = served(None, false);
    let huge = "x".repeat(100 * 1000 * 1000);
    let found = problem(served.client.post::<_, Payout>(route::PAYOUTS, &huge).await);
    assert_eq!((found.status, found.code.as_str()), (413, "body-too-large"));
    assert!(found.detail.contains("4194304 bytes"), "{found}");
    assert!(served.desk.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_never_quoted() {
    let served = served(None, false);
    let body = serde_json::json!({"idempotency_key": "k", "payee": "T", "amount_micro": -5,
                                  "reason": "r"});
    let found = problem(served.client.post::<_, Payout>(route::PAYOUTS, &body).await);
    assert_eq!(found.status, 422);
    assert!(found.detail.contains("negative"), "{found}");
    let body = serde_json::json!({"idempotency_key": ["secret words"], "payee": "T"});
    let found = problem(served.client.post::<_, Payout>(route::PAYOUTS, &body).await);
    assert!(!found.detail.contains("secret"), "{found}");
    let found = problem(served.client.get::<PayoutPage>("/v1/payouts?state=paid").await);
    assert_eq!((found.status, found.code.as_str()), (422, "invalid-query"));
    assert_eq!(problem(served.client.get::<u8>("/v1/nothing").await).status, 404);
    assert_eq!(problem(served.client.post::<_, u8>(route::STATUS, &1).await).status, 405);
    let body = BatchRequest { idempotency_key: "b".into(), payouts: Vec::new() };
    let found = problem(served.client.post::<_, Batch>(route::BATCHES, &body).await);
    assert_eq!(found.code, "empty-batch");
}

#[tokio::test]
async fn queries_and_text_arrive_and_an_answer_has_a_limit() {
    let served = served(None, false);
    let page: PayoutPage = served.client.get("/v1/payouts?after=p7&state=held").await.unwrap();
    assert_eq!(page.next.as_deref(), Some("p7"));
    let path = "/v1/statements?month=2026-11&format=csv";
    let (kind, text) = served.client.get_raw(path).await.unwrap();
    assert_eq!((kind.as_str(), &text[..]), ("text/csv", &b"month\r\n2026-11\r\n"[..]));
    let slow = super::tests::served(None, true);
    let found = problem(slow.client.get::<Status>(route::STATUS).await);
    assert_eq!((found.status, found.code.as_str()), (504, "timeout"));
}

#[tokio::test]
async fn a_dead_socket_is_replaced_a_living_one_and_a_file_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pay.sock");
    let first = bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(SocketError::InUse(_))));
    drop(first);
    drop(bind(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "x").unwrap();
    assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}
