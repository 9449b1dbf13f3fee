//! A session whose stored policy changes below it ends as void.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionState;
use lucid_evidence::manifest::EndReason;
use lucid_rdp::controller::{Ending, State};
use lucid_rdp::desktop::Definition;
use lucid_rdp::policy::Capability;
use lucid_rdp::session::{Attempt, Endpoint, Gatekeeper, Order};

use super::door::Door;
use super::{Desktops, NewDesktop, policy};
use crate::components::Core;
use crate::config::{Config, Presence};
use crate::events::Events;
use crate::machine::Machine;
use crate::sources::{Retention, Sources};
use crate::supervisor::{Need, Plan, Supervisor};

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn plan(name: &'static str) -> Plan {
    Plan { name, need: Need::Optional, beat_within: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_stored_policy_is_not_the_anchored_one_is_void() {
    let directory = tempfile::tempdir().unwrap();
    let passable = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(directory.path(), passable).unwrap();
    let mut config = Config { data_dir: directory.path().join("data"), ..Config::default() };
    config.desktops.presence = Presence::On;
    config.desktops.listen = None;
    config.desktops.address = Ipv4Addr::LOCALHOST.into();
    config.desktops.home = directory.path().join("homes");
    config.desktops.runtime = directory.path().join("run");
    let (data, _) = crate::data_dir::open_with_report(&config.data_dir).unwrap();
    let archive = Arc::new(Archive::new(data).unwrap());
    let (sources, _) = Sources::open(archive.data().index(), archive.keys().device()).unwrap();
    let (sources, events) = (Arc::new(sources), Events::new());
    let core = Core::open(Arc::clone(&archive), &config, &sources, &events).await.unwrap();
    let desktops = core.open_desktops(&config, &events).unwrap();
    let supervisor = Supervisor::new(events);
    let recordings = Arc::clone(&core.recordings);
    supervisor.start(plan("recorder"), move |reporter, stop| {
        Arc::clone(&recordings).run(Machine::default(), reporter, stop)
    });
    let running = Arc::clone(&desktops);
    supervisor.start(plan("desktops"), move |reporter, stop| {
        Arc::clone(&running).run(vec!["localhost".into()], reporter, stop)
    });
    supervisor.whole().await;

    let definition = Definition {
        name: "bench".into(),
        width: 640,
        height: 480,
        command: Some("exec sleep 1000".into()),
        restart: false,
    };
    let (limits, retention) = (Default::default(), Retention::default());
    let new = NewDesktop { definition, limits, policy: policy::working(), retention };
    let desktop = desktops.create(new, "admin").unwrap();
    let issued = desktops.issue(&desktop, "anna".into(), 60_000_000, None, "admin").unwrap();
    let attempt = Attempt {
        endpoint: Endpoint::Desktop(desktop.id.to_string()),
        desktop: None,
        user: "anna".into(),
        secret: issued.secret,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
    };
    let admission = Door(Arc::clone(&desktops)).admit(attempt).await.unwrap();
    let session = desktops.session(admission.session).unwrap();
    let held = |desktops: &Desktops| {
        let stored = desktops.stored.credential(session.id).unwrap().unwrap();
        session.hold_to(&stored.policy);
        session.ending()
    };
    assert_eq!(held(&desktops), None, "as long as nothing is altered");

    let mut altered = desktops.stored.credential(session.id).unwrap().unwrap();
    altered.policy.grant(Capability::ClipboardOut);
    desktops.stored.put_credentials(&[&altered], &[]).unwrap();
    until("the session is closed", || desktops.session(session.id).is_none()).await;
    assert_eq!((session.ending(), session.state()), (Some(Ending::Void), State::Terminated));
    let reason = Ending::Void.as_str().to_owned();
    assert_eq!(*admission.orders.borrow(), Order::End { reason });
    let record = archive.session(session.id).unwrap();
    assert_eq!(record.ended.unwrap().reason, EndReason::Void);
    assert_eq!(record.state, SessionState::Terminated, "{:?}", record.transitions);
    let anchored = desktop.policy.hash();
    assert_eq!(record.policy, Some(anchored), "what was opened stays on record");
    supervisor.drain(PATIENCE).await.unwrap();
}
