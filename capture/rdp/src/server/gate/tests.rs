//! Nothing passes that the policy does not name, and nothing is dropped without being counted.

use super::*;

fn refused(gate: &mut Gate, capability: Capability) -> u64 {
    let events = gate.report();
    let counts = events.iter().filter_map(|event| match event {
        EventKind::Refused { capability: of, count, .. } if *of == capability => Some(*count),
        _ => None,
    });
    counts.sum()
}

#[test]
fn by_default_nothing_passes_and_all_is_counted() {
    let mut gate = Gate::new(Arc::default(), false, 0);
    assert!(!gate.key() && !gate.key());
    assert!(!gate.pointer(PointerUse::Move, 1));
    assert!(!gate.pointer(PointerUse::Release, 1));
    assert!(!gate.other(Capability::Resize));
    let events = gate.report();
    let denial = Denial::NotAllowed;
    let told = |capability, count| EventKind::Refused { capability, denial, count };
    assert_eq!(
        events,
        [told(Capability::Keyboard, 2), told(Capability::Mouse, 2), told(Capability::Resize, 1)]
    );
    assert!(gate.report().is_empty());
}

#[test]
fn an_observer_touches_nothing_whatever_the_policy_says() {
    let policy = Policy { keyboard: true, mouse_per_s: Some(100), ..Policy::default() };
    let mut gate = Gate::new(Arc::new(policy), true, 0);
    assert!(!gate.key() && !gate.pointer(PointerUse::Move, 0));
    assert_eq!(refused(&mut gate, Capability::Keyboard), 1);
}

#[test]
fn the_pointer_keeps_to_its_rate_and_buttons_come_up() {
    let policy = Policy { mouse_per_s: Some(10), ..Policy::default() };
    let mut gate = Gate::new(Arc::new(policy), false, 0);
    let passed = (0..1000).filter(|_| gate.pointer(PointerUse::Move, 0)).count();
    assert_eq!(passed, 10);
    assert!(gate.pointer(PointerUse::Release, 0));
    assert_eq!(refused(&mut gate, Capability::Mouse), 990);
    // A tenth of a second earns one more; an hour earns a second's worth, not an hour's.
    assert!(gate.pointer(PointerUse::Press, 100_000));
    assert!(!gate.pointer(PointerUse::Press, 100_000));
    let passed = (0..1000).filter(|_| gate.pointer(PointerUse::Wheel, 3_600_000_000)).count();
    assert_eq!(passed, 10);
    let told = gate.report();
    assert!(told.contains(&EventKind::Pointer { moves: 0, clicks: 1, wheel: 10 }), "{told:?}");
}

#[test]
fn a_grant_counts_from_when_it_is_given() {
    let mut gate = Gate::new(Arc::default(), false, 0);
    assert!(!gate.key());
    let mut policy = Policy::default();
    policy.grant(Capability::Keyboard);
    policy.grant(Capability::Mouse);
    gate.replace(Arc::new(policy));
    assert!(gate.key() && gate.pointer(PointerUse::Move, 5));
    let told = gate.report();
    let moved = EventKind::Pointer { moves: 1, clicks: 0, wheel: 0 };
    let (capability, denial) = (Capability::Keyboard, Denial::NotAllowed);
    assert_eq!(told, [moved, EventKind::Refused { capability, denial, count: 1 }]);
}
