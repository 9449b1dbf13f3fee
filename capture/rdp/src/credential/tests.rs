//! Tests of credentials.

use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_793_000_000_000_000;
const MINUTE: u64 = 60_000_000;

fn issue() -> Issue {
    Issue {
        session: SessionId::new(NOW / 1000, [5; 10]),
        user: "ada".into(),
        desktop: "accounts".into(),
        life_us: MINUTE,
        issued_by: "operator".into(),
        policy: Policy { keyboard: true, ..Policy::default() },
    }
}

fn issued() -> (Credential, Secret) {
    Credential::issue(issue(), &[0xA7; SECRET_BYTES], NOW).unwrap()
}

#[test]
fn a_credential_opens_once_comes_back_while_it_runs_and_is_then_used_up() {
    let (mut credential, secret) = issued();
    assert_eq!(credential.admit("ada", &secret, "accounts", NOW), Ok(Admission::Open));
    credential.used = Use::Running;
    // The expiry is for opening; who works may come back after it.
    let later = NOW + 10 * MINUTE;
    assert_eq!(credential.admit("ada", &secret, "accounts", later), Ok(Admission::Resume));
    credential.used = Use::Used;
    assert_eq!(credential.admit("ada", &secret, "accounts", NOW), Err(Refusal::Used));
    credential.used = Use::Revoked;
    assert_eq!(credential.admit("ada", &secret, "accounts", NOW), Err(Refusal::Revoked));
}

#[test]
fn expired_at_the_microsecond() {
    let (credential, secret) = issued();
    let at = |now| credential.admit("ada", &secret, "accounts", now);
    assert_eq!(at(NOW + MINUTE - 1), Ok(Admission::Open));
    assert_eq!(at(NOW + MINUTE), Err(Refusal::Expired));
}

#[test]
fn every_part_must_be_right_and_nothing_else_is_learnt() {
    let (mut credential, secret) = issued();
    let other = Secret::from_random(&[1; SECRET_BYTES]);
    for used in Use::ALL {
        credential.used = used;
        for (user, secret, desktop) in
            [("eve", &secret, "accounts"), ("ada", &other, "accounts"), ("ada", &secret, "vault")]
        {
            let refused = credential.admit(user, secret, desktop, NOW);
            assert_eq!(refused, Err(Refusal::Wrong), "{used:?} {user} {desktop}");
        }
    }
}

#[test]
fn a_secret_is_recognised_however_it_is_typed_and_never_shown_by_debug() {
    let (credential, secret) = issued();
    let shown = secret.reveal().to_string();
    assert_eq!(shown.len(), 30);
    for text in [shown.clone(), shown.to_lowercase(), shown.replace('-', " ")] {
        assert_eq!(Secret::typed(&text).unwrap().hash(), credential.secret_hash);
    }
    for text in ["", &shown[1..], &format!("{shown}0"), "é"] {
        assert!(Secret::typed(text).is_none(), "{text}");
    }
    let debug = format!("{secret:?} {credential:?}");
    assert!(!debug.contains(&shown[..GROUP]), "{debug}");
    let bytes = credential.encode();
    let plain: String = shown.split('-').collect();
    assert!(!bytes.windows(plain.len()).any(|window| window == plain.as_bytes()));
}

#[test]
fn a_stored_credential_goes_both_ways() {
    let (credential, _) = issued();
    for used in Use::ALL {
        let credential = Credential { used, ..credential.clone() };
        let bytes = credential.encode();
        assert_eq!(Credential::decode(&bytes).unwrap(), credential);
        for at in 0..bytes.len() {
            assert!(Credential::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn what_cannot_be_issued_is_refused() {
    let random = [0; SECRET_BYTES];
    for user in ["", " ", "a\\b", "a@b", "a/b", "a\n", &"x".repeat(USER_MAX_BYTES + 1)] {
        let issue = Issue { user: user.to_owned(), ..issue() };
        let error = Credential::issue(issue, &random, NOW).unwrap_err();
        assert!(matches!(error, CredentialError::User { .. }), "{user:?}");
    }
    for life_us in [0, 999_999, LIFE_MAX_US + 1, u64::MAX] {
        let error = Credential::issue(Issue { life_us, ..issue() }, &random, NOW).unwrap_err();
        assert!(matches!(error, CredentialError::Life { .. }), "{life_us}");
    }
    let policy = Policy { mouse_per_s: Some(0), ..Policy::default() };
    let error = Credential::issue(Issue { policy, ..issue() }, &random, NOW).unwrap_err();
    assert!(matches!(error, CredentialError::Policy(_)));
}

#[test]
fn logins_on_the_shared_endpoint_name_a_desktop() {
    assert_eq!(split_login("accounts\\ada"), Some(("accounts", "ada")));
    assert_eq!(split_login("accounts/ada"), Some(("accounts", "ada")));
    assert_eq!(split_login("ada@accounts"), Some(("accounts", "ada")));
    for login in ["ada", "", "\\ada", "accounts\\", "@", "ada@"] {
        assert_eq!(split_login(login), None, "{login:?}");
    }
}

proptest! {
    #[test]
    fn different_random_bytes_make_different_secrets(a: [u8; 16], b: [u8; 16]) {
        let (one, other) = (Secret::from_random(&a), Secret::from_random(&b));
        prop_assert_eq!(a == b, one.hash() == other.hash());
        prop_assert_eq!(Secret::typed(&one.reveal()).map(|s| s.hash()), Some(one.hash()));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Credential::decode(&bytes);
    }
}
