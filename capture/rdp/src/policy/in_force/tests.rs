//! The chain of grants holds only if each change was granted and nothing else changed.

use super::*;

fn granted(capability: Capability) -> EventKind {
    EventKind::Approval { request: 1, capability, approval: Approval::Granted, by: "op".into() }
}

/// The events of a session in which clipboard and resize were granted.
fn session() -> (Hash, Vec<EventKind>) {
    let policy = Policy { keyboard: true, ..Policy::default() };
    let anchored = policy.hash();
    let encoding = policy.encode();
    let mut force = PolicyInForce::new(policy.clone(), anchored).unwrap();
    let mut events = vec![EventKind::Policy { hash: anchored, encoding }];
    for capability in [Capability::ClipboardIn, Capability::Resize] {
        events.push(granted(capability));
        events.push(force.grant(capability));
        events.push(EventKind::Redaction { on: true });
    }
    force.check(&policy).unwrap();
    (anchored, events)
}

fn follow(anchored: Hash, events: &[EventKind]) -> Result<Policy, BrokenChain> {
    let mut chain = GrantChain::new(anchored);
    events.iter().try_for_each(|event| chain.take(event))?;
    Ok(chain.in_force().unwrap().clone())
}

#[test]
fn grants_lead_from_the_anchored_policy_to_the_one_in_force() {
    let (anchored, events) = session();
    let last = follow(anchored, &events).unwrap();
    let allowed = [Capability::Keyboard, Capability::ClipboardIn, Capability::Resize];
    for capability in Capability::ALL {
        assert_eq!(last.allows(capability), allowed.contains(&capability), "{capability:?}");
    }
    // Asking and refusing changes nothing; granting twice changes nothing more.
    let mut chain = GrantChain::new(anchored);
    let denied = EventKind::Approval {
        request: 2,
        capability: Capability::Audio,
        approval: Approval::Denied,
        by: String::new(),
    };
    events.iter().chain([&denied]).for_each(|event| chain.take(event).unwrap());
    assert_eq!(chain.in_force(), Some(&last));
}

#[test]
fn an_event_that_is_missing_changed_or_invented_breaks_the_chain() {
    let (anchored, events) = session();
    let without = |at: usize| {
        let mut events = events.clone();
        events.remove(at);
        follow(anchored, &events)
    };
    assert_eq!(without(0), Err(BrokenChain::NoBeginning));
    assert!(matches!(without(1), Err(BrokenChain::NotGranted { .. })));
    assert!(matches!(without(2), Err(BrokenChain::Before { .. })));
    let other = Hash([9; 32]);
    assert!(matches!(follow(other, &events), Err(BrokenChain::NotAnchored { .. })));

    let mut twice = events.clone();
    twice.insert(1, events[0].clone());
    assert_eq!(follow(anchored, &twice), Err(BrokenChain::NoBeginning));

    // What was granted, and something besides.
    let mut wider = events.clone();
    let EventKind::PolicyChanged { before, encoding, .. } = events[2].clone() else { panic!() };
    let mut policy = Policy::decode(&encoding).unwrap();
    policy.grant(Capability::FilesOut);
    let (hash, encoding) = (policy.hash(), policy.encode());
    wider[2] = EventKind::PolicyChanged { before, hash, encoding: encoding.clone() };
    assert_eq!(follow(anchored, &wider), Err(BrokenChain::NotGranted { hash }));
    wider[2] = EventKind::PolicyChanged { before, hash: anchored, encoding };
    assert!(matches!(follow(anchored, &wider), Err(BrokenChain::Hash { .. })));
    wider[2] = EventKind::PolicyChanged { before, hash, encoding: vec![0xFF] };
    assert!(matches!(follow(anchored, &wider), Err(BrokenChain::Policy(_))));
}

#[test]
fn what_is_in_force_must_follow_from_what_was_granted() {
    let policy = Policy::default();
    let mut force = PolicyInForce::new(policy.clone(), policy.hash()).unwrap();
    force.effective.audio = true;
    assert!(force.check(&policy).is_err());
    let mut force = PolicyInForce::new(policy.clone(), policy.hash()).unwrap();
    let _ = force.grant(Capability::Audio);
    assert_eq!(force.check(&policy), Ok(()));
}
