//! Settling over a chain of one node whose clock the test sets, and a gateway that keeps what it is
//! asked by idempotency key, loses answers and refuses as it is told.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use lucid_chain_node::{Config, Production, found};
use lucid_evidence::SigningKey;
use lucid_pay_api::{PayoutState, Problem};
use lucid_store::memory_store;

use super::*;

/// Hour 498,672 since 1970, which a span of 24 begins with.
pub(super) const START_US: u64 = 498_672 * HOUR_US;
pub(super) const PAYEE: &str = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

/// A chain whose clock the test moves.
pub(super) struct Chain {
    pub(super) node: Node,
    clock: Arc<AtomicU64>,
    _stop: tokio_util::sync::DropGuard,
}

impl Chain {
    pub(super) async fn new() -> Self {
        let key = SigningKey::from_seed(&[1; 32]);
        let genesis = found("test", &key.public(), START_US).unwrap();
        let clock = Arc::new(AtomicU64::new(START_US));
        let read = Arc::clone(&clock);
        let config = Config {
            production: Production::OnDemand,
            clock: Arc::new(move || read.fetch_add(1_000_000, Ordering::SeqCst)),
            ..Config::default()
        };
        let stop = CancellationToken::new();
        let store = Arc::new(memory_store("chain"));
        let (node, _) = Node::start(store, genesis, key, config, stop.clone()).await.unwrap();
        Self { node, clock, _stop: stop.drop_guard() }
    }

    /// So many blocks from a moment on.
    pub(super) async fn blocks(&self, at_us: u64, count: u64) {
        self.clock.store(at_us, Ordering::SeqCst);
        for _ in 0..count {
            self.node.produce_now().await.unwrap();
        }
    }
}

pub(super) fn settings(chain: &Chain) -> Settings {
    let payees = [(chain.node.key().to_string(), PAYEE.to_owned())].into();
    Settings { rate_micro: 1_000, span_hours: 24, payees }
}

/// What the gateway does with the next request.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Takes,
    /// Takes it, and the word that it did is lost.
    IsLost,
    Refuses,
    /// Refuses whoever asks, whatever it is.
    Forbids,
}

#[derive(Default)]
struct Kept {
    payouts: BTreeMap<String, PayoutRequest>,
    asked: usize,
}

type Gateway = Arc<(Mutex<Kept>, Mutex<Answer>)>;

/// A gateway on a socket; ends with the returned token.
fn gateway(path: &Path) -> (Gateway, CancellationToken) {
    let gateway: Gateway = Arc::new((Mutex::default(), Mutex::new(Answer::Takes)));
    let stop = CancellationToken::new();
    let app = Router::new()
        .route(route::PAYOUTS, axum::routing::post(take))
        .with_state(Arc::clone(&gateway));
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let ended = stop.clone().cancelled_owned();
    tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(ended).into_future());
    (gateway, stop)
}

async fn take(State(gateway): State<Gateway>, Json(request): Json<PayoutRequest>) -> Response {
    let mut kept = gateway.0.lock().unwrap();
    kept.asked += 1;
    let answer = *gateway.1.lock().unwrap();
    if answer == Answer::Refuses {
        let problem = Problem::new(422, "invalid-address", "the payee is no address");
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response();
    }
    if answer == Answer::Forbids {
        let problem = Problem::new(403, "wrong-user", "the user may not use payments");
        return (StatusCode::FORBIDDEN, Json(problem)).into_response();
    }
    let key = request.idempotency_key.clone();
    if let Some(before) = kept.payouts.get(&key) {
        assert_eq!(*before, request, "the same key with other words");
    }
    kept.payouts.insert(key.clone(), request.clone());
    if answer == Answer::IsLost {
        return (StatusCode::BAD_GATEWAY, "").into_response();
    }
    Json(Payout {
        id: format!("p-{key}"),
        idempotency_key: key,
        payee: request.payee,
        amount_micro: request.amount_micro,
        reason: request.reason,
        evidence_hash: request.evidence_hash,
        route: request.route,
        kind: request.kind,
        basis: request.basis,
        wallet: None,
        batch: None,
        state: PayoutState::Held,
        since_ms: 1,
        cause: "gathered".into(),
        txid: None,
        fee_estimate_sun: None,
        fee_sun: None,
        used: None,
        steps: Vec::new(),
    })
    .into_response()
}

/// One round as the component does it.
async fn round(
    rewards: &Arc<Rewards>,
    chain: &Chain,
    settings: &Settings,
    client: &Client,
) -> Option<String> {
    rewards.note(&chain.node, settings).unwrap();
    let waiting = rewards.waiting(settings).unwrap();
    hand_over(rewards, client, waiting).await.unwrap()
}

#[tokio::test]
async fn a_span_is_settled_once_it_is_over_and_paid_once_whatever_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("pay.sock");
    let client = Client::new(&socket);
    let chain = Chain::new().await;
    let settings = settings(&chain);
    let index: Arc<dyn Store> = Arc::new(memory_store("index"));
    let rewards = Arc::new(Rewards::new(Arc::clone(&index)));
    // A certificate counts in the hour of the block that carries it, so the first block has none.
    chain.blocks(START_US + 1_000_000, 31).await;
    chain.blocks(START_US + 5 * HOUR_US, 10).await;
    assert_eq!(round(&rewards, &chain, &settings, &client).await, None, "the span is not over");
    chain.blocks(START_US + 24 * HOUR_US, 7).await;

    // Nobody answers: the reward is written down and waits.
    let said = round(&rewards, &chain, &settings, &client).await.unwrap();
    assert!(said.starts_with("1 rewards wait: ") && said.contains("pay.sock"), "{said}");
    let [reward] = &rewards.list(9).unwrap()[..] else { panic!("one reward") };
    assert_eq!((reward.credits, reward.signed, reward.missed), (40, 40, 0));
    assert_eq!((reward.from_hour, reward.to_hour), (498_672, 498_696));
    assert_eq!((reward.from_height, reward.to_height), (1, 41));
    assert_eq!(reward.amount(), Some(MicroUsdt(40_000)));
    let request = reward.request.clone().unwrap();
    assert_eq!((request.kind, request.payee.as_str()), (PayoutKind::NodeReward, PAYEE));
    let hash = blake3::hash(reward.statement().as_bytes()).to_string();
    assert_eq!(request.evidence_hash, Some(hash));

    // It is taken, and the answer is lost; asked again in the same words it is the same payout.
    let (gateway, stop) = gateway(&socket);
    *gateway.1.lock().unwrap() = Answer::IsLost;
    assert!(round(&rewards, &chain, &settings, &client).await.is_some());
    let rewards = Arc::new(Rewards::new(index));
    // Nor are they worded anew because somebody may not ask at present.
    *gateway.1.lock().unwrap() = Answer::Forbids;
    let said = round(&rewards, &chain, &settings, &client).await.unwrap();
    assert!(said.contains("may not use payments"), "{said}");
    let other = Settings { rate_micro: 9_999, payees: BTreeMap::new(), ..settings.clone() };
    *gateway.1.lock().unwrap() = Answer::Takes;
    assert_eq!(round(&rewards, &chain, &other, &client).await, None);
    {
        let kept = gateway.0.lock().unwrap();
        assert_eq!((kept.asked, kept.payouts.len()), (3, 1));
    }
    let [reward] = &rewards.list(9).unwrap()[..] else { panic!("one reward") };
    assert!(reward.payout.is_some() && reward.waits.is_none());

    // Nothing more is asked, also when the spans are cut in another way.
    for span_hours in [24, 12, 8] {
        let settings = Settings { span_hours, ..settings.clone() };
        assert_eq!(round(&rewards, &chain, &settings, &client).await, None);
    }
    assert_eq!(gateway.0.lock().unwrap().asked, 3);
    stop.cancel();
}

#[tokio::test]
async fn a_refused_reward_waits_with_the_reason_and_may_be_worded_anew() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("pay.sock");
    let client = Client::new(&socket);
    let (gateway, stop) = gateway(&socket);
    let chain = Chain::new().await;
    let rewards = Arc::new(Rewards::new(Arc::new(memory_store("index"))));
    chain.blocks(START_US, 5).await;
    chain.blocks(START_US + 24 * HOUR_US, 2).await;

    let nobody = Settings { payees: BTreeMap::new(), ..settings(&chain) };
    let said = round(&rewards, &chain, &nobody, &client).await.unwrap();
    assert!(said.contains("`settle.payees` names no address"), "{said}");
    assert_eq!(gateway.0.lock().unwrap().asked, 0);

    *gateway.1.lock().unwrap() = Answer::Refuses;
    let mut wrong = settings(&chain);
    wrong.payees.values_mut().for_each(|payee| *payee = "no address".into());
    let said = round(&rewards, &chain, &wrong, &client).await.unwrap();
    assert!(said.contains("the payee is no address"), "{said}");

    *gateway.1.lock().unwrap() = Answer::Takes;
    assert_eq!(round(&rewards, &chain, &settings(&chain), &client).await, None);
    let kept = gateway.0.lock().unwrap();
    assert_eq!(kept.payouts.values().next().unwrap().payee, PAYEE);
    stop.cancel();
}

#[test]
fn the_key_follows_from_chain_node_and_span_alone() {
    let (chain, node) = (Hash::of(b"chain"), SigningKey::from_seed(&[1; 32]).public());
    let span = Span { from_hour: 24, to_hour: 48 };
    let counts = Counts { expected: 9, signed: 9, ..Counts::default() };
    let key = |chain: &Hash, span, heights, rate| {
        Reward::new(chain, &node, span, heights, &counts, rate).idempotency_key()
    };
    let first = key(&chain, span, (1, 9), 5);
    assert_eq!(first, key(&chain, span, (2, 9), 6));
    assert!(first.len() <= 128, "{first}");
    assert_ne!(first, key(&Hash::of(b"other"), span, (1, 9), 5));
    assert_ne!(first, key(&chain, Span { from_hour: 48, to_hour: 72 }, (1, 9), 5));
    let large = Reward::new(&chain, &node, span, (1, 9), &counts, u64::MAX / 2);
    assert_eq!(large.amount(), None);
}
