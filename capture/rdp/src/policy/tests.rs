//! Tests of policies.

use super::*;
use proptest::prelude::*;

fn full() -> Policy {
    Policy {
        keyboard: true,
        mouse_per_s: Some(120),
        clipboard_in_bytes: Some(4096),
        clipboard_out_bytes: Some(1),
        files_in: Some(FileRule { max_bytes: 1000, extensions: vec!["pdf".into(), "txt".into()] }),
        files_out: Some(FileRule { max_bytes: FILE_MAX_BYTES, extensions: vec!["*".into()] }),
        audio: true,
        resize: true,
        observers: 2,
        record_keys: KeyRecording::Strokes,
    }
}

#[test]
fn the_default_denies_everything() {
    let policy = Policy::default();
    assert!(policy.validate().is_ok());
    for capability in Capability::ALL {
        assert!(!policy.allows(capability), "{capability:?}");
    }
    assert_eq!(policy.clipboard(Direction::In, 0), Err(Denial::NotAllowed));
    assert_eq!(policy.file(Direction::Out, "a.txt", 0), Err(Denial::NotAllowed));
}

#[test]
fn a_grant_allows_exactly_its_capability() {
    for granted in Capability::ALL {
        let mut policy = Policy::default();
        policy.grant(granted);
        assert!(policy.validate().is_ok(), "{granted:?}");
        for other in Capability::ALL {
            assert_eq!(policy.allows(other), other == granted, "{granted:?} {other:?}");
        }
    }
    // What was allowed with a limit keeps its limit.
    let mut policy = full();
    for granted in Capability::ALL {
        policy.grant(granted);
    }
    assert_eq!(policy, full());
}

#[test]
fn sizes_extensions_and_names_are_kept() {
    let policy = full();
    assert_eq!(policy.clipboard(Direction::In, 4096), Ok(()));
    assert_eq!(policy.clipboard(Direction::In, 4097), Err(Denial::OverLimit));
    assert_eq!(policy.file(Direction::In, "Report.PDF", 1000), Ok(()));
    assert_eq!(policy.file(Direction::In, "report.pdf", 1001), Err(Denial::OverLimit));
    assert_eq!(policy.file(Direction::In, "run.exe", 1), Err(Denial::Extension));
    assert_eq!(policy.file(Direction::In, "pdf", 1), Err(Denial::Extension));
    assert_eq!(policy.file(Direction::Out, "Makefile", 1), Ok(()));
    for climbing in ["../a.txt", "a/b.txt", "..\\a.txt", "C:a.txt", ".ssh", "", "a\n.txt", " a.txt"]
    {
        assert_eq!(policy.file(Direction::Out, climbing, 1), Err(Denial::Name), "{climbing:?}");
    }
}

#[test]
fn no_byte_of_the_encoding_is_free_and_every_field_counts() {
    let bytes = full().encode();
    assert_eq!(Policy::decode(&bytes), Ok(full()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = Policy::decode(&changed) {
                assert_ne!(other.hash(), full().hash(), "byte {at} bit {bit}");
                assert_eq!(other.encode(), changed, "byte {at} bit {bit}");
            }
        }
        assert!(Policy::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn the_hash_has_a_domain_of_its_own() {
    assert_ne!(full().hash(), Hash::of(&full().encode()));
}

#[test]
fn what_is_out_of_range_is_named() {
    let cases: [(Policy, &str); 6] = [
        (Policy { mouse_per_s: Some(0), ..full() }, "mouse"),
        (Policy { mouse_per_s: Some(MOUSE_RATE_MAX + 1), ..full() }, "mouse"),
        (Policy { clipboard_out_bytes: Some(CLIPBOARD_MAX_BYTES + 1), ..full() }, "clipboard_out"),
        (Policy { observers: OBSERVERS_MAX + 1, ..full() }, "observers"),
        (
            Policy { files_in: Some(FileRule { max_bytes: 1, extensions: vec![] }), ..full() },
            "files_in",
        ),
        (
            Policy {
                files_out: Some(FileRule { max_bytes: 1, extensions: vec![".Exe".into()] }),
                ..full()
            },
            "files_out",
        ),
    ];
    for (policy, field) in cases {
        let error = policy.validate().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
        assert!(Policy::decode(&policy.encode()).is_err(), "{field}");
    }
}

#[test]
fn a_changed_policy_voids_the_session_and_a_grant_does_not() {
    let mut force = PolicyInForce::new(full(), full().hash()).unwrap();
    let _ = force.grant(Capability::Audio);
    assert_eq!(force.check(&full()), Ok(()));
    let changed = Policy { observers: 3, ..full() };
    let void = force.check(&changed).unwrap_err();
    assert_eq!((void.anchored, void.found), (full().hash(), changed.hash()));
    assert!(PolicyInForce::new(changed, full().hash()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(policy) = Policy::decode(&bytes) {
            prop_assert_eq!(policy.encode(), bytes);
        }
    }
}
