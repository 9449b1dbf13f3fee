//! Tests of the controller.

use super::*;
use proptest::prelude::*;

const A: ClientId = ClientId(1);
const B: ClientId = ClientId(2);
const S: u64 = 1_000_000;

fn signed_in(client: ClientId, user: &str) -> Input {
    Input::SignedIn { client, user: user.into() }
}

/// A session with client A attached for `ada` at time 0.
fn active() -> Controller {
    let mut controller = Controller::new(Timing::default(), 0);
    let effects = controller.step(signed_in(A, "ada"), 0);
    assert_eq!(effects, [Effect::Entered(State::Connected), Effect::ShowNotice(A)]);
    let effects = controller.step(Input::NoticeAccepted(A), 0);
    assert_eq!(effects, [Effect::Attach(A), Effect::Entered(State::Active)]);
    controller
}

#[test]
fn nothing_is_attached_before_the_notice_is_accepted() {
    let mut controller = Controller::new(Timing::default(), 0);
    controller.step(signed_in(A, "ada"), 0);
    assert!(!controller.is_attached(A));
    assert!(controller.step(Input::Activity(A), S).is_empty());
    assert_eq!(controller.state(), State::Connected);
    let effects = controller.step(Input::NoticeRefused(A), 2 * S);
    assert!(effects.contains(&Effect::End(Ending::NoticeRefused)));
    assert_eq!(controller.due_us(), None);
}

#[test]
fn the_notice_is_not_shown_for_ever() {
    let mut controller = Controller::new(Timing::default(), 0);
    controller.step(signed_in(A, "ada"), 0);
    controller.step(Input::Alive(A), 119 * S);
    assert!(!controller.step(Input::Tick, 119 * S).contains(&Effect::End(Ending::NoticeRefused)));
    controller.step(Input::Alive(A), 120 * S);
    assert!(controller.step(Input::Tick, 120 * S).contains(&Effect::End(Ending::NoticeRefused)));
}

#[test]
fn who_comes_back_in_time_finds_the_session_and_later_not() {
    let timing = Timing::default();
    let mut controller = active();
    let effects = controller.step(Input::Closed(A), 10 * S);
    assert_eq!(effects, [Effect::ReleaseInput, Effect::Entered(State::Disconnected)]);
    assert_eq!(controller.due_us(), Some(10 * S + timing.grace_us));
    let mut late = controller.clone();
    let just_in_time = 10 * S + timing.grace_us - 1;
    assert!(controller.step(Input::Tick, just_in_time).is_empty());
    let effects = controller.step(signed_in(B, "ada"), just_in_time);
    assert_eq!(
        effects,
        [Effect::Resumed(B), Effect::Entered(State::Connected), Effect::ShowNotice(B)]
    );
    assert!(!controller.is_attached(B), "the notice comes first, again");
    let effects = late.step(Input::Tick, just_in_time + 1);
    assert_eq!(effects, [Effect::Entered(State::Terminated), Effect::End(Ending::GraceOver)]);
    let effects = late.step(signed_in(B, "ada"), just_in_time + 2);
    assert!(matches!(effects[..], [Effect::Refuse(B, _)]));
}

#[test]
fn another_user_is_refused_and_the_owner_takes_over() {
    let mut controller = active();
    assert!(matches!(controller.step(signed_in(B, "eve"), S)[..], [Effect::Refuse(B, _)]));
    assert!(controller.is_attached(A));
    let effects = controller.step(signed_in(B, "ada"), S);
    assert_eq!(effects[..2], [Effect::ReleaseInput, Effect::TakenOver { from: A, by: B }]);
    assert!(matches!(effects[2], Effect::Close(A, _)));
    assert!(!controller.is_attached(A) && !controller.is_attached(B));
    // The old client's end comes late and must not end the new one.
    assert!(controller.step(Input::Closed(A), 2 * S).is_empty());
    assert_eq!(controller.client(), Some(B));
}

#[test]
fn a_transfer_goes_on_under_another_owner() {
    let mut controller = active();
    let effects = controller.step(Input::Transfer { to: "bob".into() }, S);
    assert_eq!(effects[0], Effect::Transferred { from: "ada".into(), to: "bob".into() });
    assert_eq!(controller.state(), State::Disconnected);
    assert!(matches!(controller.step(signed_in(A, "ada"), 2 * S)[..], [Effect::Refuse(A, _)]));
    assert!(controller.step(signed_in(B, "bob"), 2 * S).contains(&Effect::Resumed(B)));
}

#[test]
fn idle_is_left_by_input_and_a_dead_client_is_let_go() {
    let timing = Timing::default();
    let mut controller = active();
    let mut kept = 0;
    // It answers each keep-alive, and nobody types.
    let mut now = 0;
    while controller.state() == State::Active {
        now = controller.due_us().unwrap();
        if controller.step(Input::Tick, now).contains(&Effect::KeepAlive(A)) {
            kept += 1;
            controller.step(Input::Alive(A), now);
        }
    }
    assert_eq!((controller.state(), now, kept), (State::Idle, timing.idle_us, 30));
    assert_eq!(controller.step(Input::Activity(A), now), [Effect::Entered(State::Active)]);
    // Now it says nothing any more.
    let silent = now;
    while controller.state() == State::Active {
        now = controller.due_us().unwrap();
        controller.step(Input::Tick, now);
    }
    assert_eq!((controller.state(), now), (State::Disconnected, silent + timing.dead_us));
}

#[test]
fn every_end_is_final_and_said_once() {
    for ending in [Ending::LoggedOut, Ending::Operator, Ending::Void, Ending::DesktopLost] {
        let mut controller = active();
        let effects = controller.step(Input::End(ending), S);
        assert!(effects.contains(&Effect::Entered(State::Terminated)), "{ending:?}");
        assert_eq!(effects.last(), Some(&Effect::End(ending)));
        for input in [Input::Tick, Input::End(Ending::Operator), Input::Closed(A)] {
            assert!(controller.step(input, u64::MAX).is_empty(), "{ending:?}");
        }
    }
}

#[test]
fn who_never_signs_in_does_not_hold_a_session() {
    let timing = Timing::default();
    let mut controller = Controller::new(timing, 0);
    assert_eq!(controller.due_us(), Some(timing.sign_in_us));
    let effects = controller.step(Input::Tick, timing.sign_in_us);
    assert!(effects.contains(&Effect::End(Ending::SignInTimeout)));
}

fn input() -> impl Strategy<Value = Input> {
    let client = (0..3_u64).prop_map(ClientId);
    let user = prop_oneof![Just("ada".to_owned()), Just("bob".to_owned())];
    prop_oneof![
        (client.clone(), user.clone()).prop_map(|(client, user)| Input::SignedIn { client, user }),
        client.clone().prop_map(Input::NoticeAccepted),
        client.clone().prop_map(Input::NoticeRefused),
        client.clone().prop_map(Input::Activity),
        client.clone().prop_map(Input::Alive),
        client.prop_map(Input::Closed),
        user.prop_map(|to| Input::Transfer { to }),
        Just(Input::Tick),
    ]
}

proptest! {
    /// Whatever comes in whatever order: what is attached accepted the notice since it signed in,
    /// belongs to the owner, and there is one end, after which nothing happens.
    #[test]
    fn whatever_happens_the_rules_hold(
        inputs in proptest::collection::vec((input(), 0..400 * S), 1..60),
    ) {
        let mut controller = Controller::new(Timing::default(), 0);
        let (mut now, mut ends) = (0_u64, 0);
        let mut accepted: Option<ClientId> = None;
        for (input, after) in inputs {
            now += after;
            let said = input.clone();
            let effects = controller.step(input, now);
            match said {
                Input::SignedIn { client, user }
                    if effects.contains(&Effect::ShowNotice(client)) =>
                {
                    prop_assert_eq!(controller.owner(), Some(user.as_str()));
                    accepted = None;
                }
                Input::NoticeAccepted(client) if controller.client() == Some(client) => {
                    accepted = Some(client);
                }
                _ => {}
            }
            for client in (0..3).map(ClientId) {
                let rightly = !controller.is_attached(client) || accepted == Some(client);
                prop_assert!(rightly);
            }
            prop_assert!(ends == 0 || effects.iter().all(|e| matches!(e, Effect::Refuse(..))));
            ends += effects.iter().filter(|e| matches!(e, Effect::End(_))).count();
            prop_assert!(ends <= 1);
            prop_assert_eq!(ends == 1, controller.state() == State::Terminated);
            prop_assert_eq!(controller.due_us().is_none(), ends == 1);
        }
    }
}
