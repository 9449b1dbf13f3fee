//! The claim and sign-in over a store in memory, and how they fail closed.

use std::net::IpAddr;
use std::sync::Arc;

use lucid_store::{Batch, Store, memory_store};

use super::records::CLAIM;
use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "a long enough one";

struct Device {
    store: Arc<dyn Store>,
    keys: tempfile::TempDir,
    auth: Arc<Auth>,
}

fn device() -> Device {
    let keys = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(memory_store("index"));
    let auth = on(&store, &keys);
    Device { store, keys, auth }
}

fn on(store: &Arc<dyn Store>, keys: &tempfile::TempDir) -> Arc<Auth> {
    let config = crate::config::Config::default().auth;
    Arc::new(Auth::new(Arc::clone(store), keys.path(), &config))
}

fn put(store: &Arc<dyn Store>, key: &[u8], value: &str) {
    let mut batch = Batch::new();
    batch.put(key, value);
    store.apply(batch).unwrap();
}

impl Device {
    async fn claim(&self) -> (Token, Identity) {
        let (_, code) = self.auth.renew_code().unwrap();
        let code = code.unwrap().to_string();
        self.auth.take_claim(HERE, &code, "Admin", PASSWORD.into()).await.unwrap()
    }
}

#[tokio::test]
async fn the_claim_is_taken_once_and_signs_in() {
    let device = device();
    let (_, first) = device.auth.renew_code().unwrap();
    let (_, second) = device.auth.renew_code().unwrap();
    let claim = |code: &ClaimCode| {
        let (auth, code) = (Arc::clone(&device.auth), code.to_string());
        async move { auth.take_claim(HERE, &code, "Admin", PASSWORD.into()).await }
    };
    let void = claim(&first.unwrap()).await;
    assert!(matches!(void, Err(AuthError::WrongCode)), "a renewed code voids the older");
    let second = second.unwrap();
    let (token, identity) = claim(&second).await.unwrap();
    assert_eq!(identity.username, "admin");
    let now = crate::http::time::now_us();
    assert_eq!(device.auth.identify(&token, now).unwrap().role, Role::Admin);
    assert!(device.auth.identify(&token, identity.expires_us).is_none(), "expired");
    assert!(matches!(claim(&second).await, Err(AuthError::AlreadyClaimed)));
    let (state, code) = device.auth.renew_code().unwrap();
    assert!(state == ClaimState::Claimed && code.is_none());
    // The account outlives a restart.
    let restarted = on(&device.store, &device.keys);
    assert_eq!(restarted.claim_state(), ClaimState::Claimed);
    let (token, _) = restarted.sign_in(HERE, " ADMIN ", PASSWORD.into()).await.unwrap();
    restarted.sign_out(token.id()).await.unwrap();
    assert!(restarted.identify(&token, now).is_none());
}

#[tokio::test]
async fn two_claims_at_once_make_one_owner() {
    let device = device();
    let (_, code) = device.auth.renew_code().unwrap();
    let code = code.unwrap().to_string();
    let claim = |name: &'static str| device.auth.take_claim(HERE, &code, name, PASSWORD.into());
    let (one, two) = tokio::join!(claim("one"), claim("two"));
    assert!(one.is_ok() != two.is_ok());
    assert!(device.auth.records.user("one").unwrap().is_some() == one.is_ok());
    assert!(device.auth.records.user("two").unwrap().is_some() == two.is_ok());
}

#[tokio::test]
async fn unfit_names_and_passwords_leave_the_claim_open() {
    let device = device();
    let (_, code) = device.auth.renew_code().unwrap();
    let code = code.unwrap().to_string();
    for (name, password) in [("admin", "short"), ("", PASSWORD), ("a b", PASSWORD), ("é", PASSWORD)]
    {
        let refused = device.auth.take_claim(HERE, &code, name, password.into()).await;
        assert!(matches!(refused, Err(AuthError::Field { .. })), "{name:?}");
    }
    assert_eq!(device.auth.claim_state(), ClaimState::Open);
}

#[tokio::test]
async fn tries_are_limited_and_right_ones_do_not_count() {
    let device = device();
    device.claim().await;
    let sign_in = |password: &str| device.auth.sign_in(HERE, "admin", password.to_owned());
    for _ in 0..6 {
        sign_in(PASSWORD).await.unwrap();
    }
    for _ in 0..5 {
        assert!(matches!(sign_in("wrong password").await, Err(AuthError::WrongCredentials)));
    }
    assert!(matches!(sign_in(PASSWORD).await, Err(AuthError::TooManyTries(_))));
}

#[tokio::test]
async fn damaged_and_lost_records_fail_closed() {
    for damage in [
        "",
        "{}",
        "{\"v\":2,\"state\":{}}",
        "{\"v\":1,\"state\":{\"open\":{\"code_hash\":\"00\"}}}",
    ] {
        let device = device();
        put(&device.store, CLAIM, damage);
        let closed = device.auth.claim_state();
        assert!(matches!(closed, ClaimState::Closed(_)), "{damage}: {closed:?}");
        assert!(device.auth.renew_code().unwrap().1.is_none());
        let refused = device.auth.take_claim(HERE, "0000", "x", PASSWORD.into()).await;
        assert!(matches!(refused, Err(AuthError::ClaimClosed(_) | AuthError::Damaged { .. })));
    }
    // The index is lost, the marker beside the keys stays.
    let device = device();
    device.claim().await;
    let fresh: Arc<dyn Store> = Arc::new(memory_store("index"));
    let auth = on(&fresh, &device.keys);
    assert!(matches!(auth.claim_state(), ClaimState::Closed(_)));
    // Only the claim record is lost.
    let mut batch = Batch::new();
    batch.delete(CLAIM);
    device.store.apply(batch).unwrap();
    assert!(matches!(device.auth.claim_state(), ClaimState::Closed(_)));
}

#[tokio::test]
async fn a_damaged_account_or_session_lets_nobody_in() {
    let device = device();
    let (token, _) = device.claim().await;
    let now = crate::http::time::now_us();
    let account = device.store.get(b"auth/user/admin").unwrap().unwrap();
    let newer = String::from_utf8(account.clone()).unwrap().replace("\"none\"", "\"totp\"");
    put(&device.store, b"auth/user/admin", &newer);
    let refused = device.auth.sign_in(HERE, "admin", PASSWORD.into()).await;
    assert!(matches!(refused, Err(AuthError::WrongCredentials)));
    // Another account's record under this name.
    put(&device.store, b"auth/user/eve", std::str::from_utf8(&account).unwrap());
    let refused = device.auth.sign_in(HERE, "eve", PASSWORD.into()).await;
    assert!(matches!(refused, Err(AuthError::WrongCredentials)));
    let key = [b"auth/session/".as_slice(), &token.id().0].concat();
    put(&device.store, &key, "{\"v\":1");
    assert!(device.auth.identify(&token, now).is_none());
}

#[tokio::test]
async fn a_released_claim_forgets_the_owner_and_opens_again() {
    let device = device();
    let (token, _) = device.claim().await;
    device.auth.release_claim("console").unwrap();
    assert!(device.auth.identify(&token, crate::http::time::now_us()).is_none());
    let refused = device.auth.sign_in(HERE, "admin", PASSWORD.into()).await;
    assert!(matches!(refused, Err(AuthError::WrongCredentials)));
    device.claim().await;
}

#[tokio::test]
async fn sessions_are_bounded_and_expired_ones_are_purged() {
    let device = device();
    let (first, _) = device.claim().await;
    let identity = |number: u32, expires_us: u64| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let username = "admin".to_owned();
        Identity { username, role: Role::Admin, session: TokenId(id), expires_us }
    };
    let most = u32::try_from(records::SESSIONS_MAX).unwrap();
    for number in 0..most {
        let identity = identity(number, 1_000 + u64::from(number));
        device.auth.records.begin_session(&identity, 0).unwrap();
    }
    // 1 + SESSIONS_MAX were opened: the one that would have ended first gave way.
    assert!(device.auth.identity(&identity(0, 0).session, 0).is_none());
    assert!(device.auth.identity(&identity(1, 0).session, 0).is_some());
    assert_eq!(device.auth.purge().await.unwrap(), records::SESSIONS_MAX - 1);
    assert!(device.auth.identify(&first, crate::http::time::now_us()).is_some());
}

#[tokio::test]
async fn the_audit_is_a_chain_of_hashes() {
    let device = device();
    device.claim().await;
    device.auth.records.append_audit("admin", "source.create", "src-1").unwrap();
    let entries = device.store.scan(b"auth/audit/", b"auth/audit0", 10).unwrap();
    assert_eq!(entries.len(), 2);
    let second: serde_json::Value = serde_json::from_slice(&entries[1].1).unwrap();
    assert_eq!(second["previous"], blake3::hash(&entries[0].1).to_hex().as_str());
    assert_eq!(second["actor"], "admin");
}
