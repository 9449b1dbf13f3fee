//! Recording into an archive without a chain, and judging what came of it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::SessionRecord;
use lucid_capture::export::{ExportSpec, export};
use lucid_capture::recorder::{Anchor, Limits, Observer, Persistence, RecorderConfig, SessionSpec};
use lucid_capture::{HardwareEncoder, SourceUri, StreamOptions, probe_encoders};
use lucid_evidence::bundle::{Content, read};
use lucid_evidence::manifest::{SignedManifest, SourceInfo};
use lucid_evidence::{SessionId, SignedCheckpoint};
use lucid_store::{DataDir, Options};

/// Nothing is anchored: the test is about the recording alone.
pub struct Nobody;

impl Anchor for Nobody {
    fn knows(&self, _: SessionId) -> bool {
        false
    }
    fn opened(&self, _: &SessionRecord) {}
    fn checkpoint(&self, _: SessionId, _: &SignedCheckpoint) {}
    fn closed(&self, _: &SignedManifest) {}
    fn deleted(&self, _: &SessionRecord) {}
}

/// Tells nobody.
pub fn quiet() -> Observer {
    Arc::new(|_| {})
}

pub fn archive(path: &Path) -> Arc<Archive> {
    let (data, _) = DataDir::open(path, Options::default()).unwrap();
    Arc::new(Archive::new(data).unwrap())
}

/// Records a source without an end, once, with an encoder in software.
pub fn config(uri: &str) -> RecorderConfig {
    let uri: SourceUri = uri.parse().unwrap();
    let none = HardwareEncoder::None { reason: "this test asks for software".into() };
    let (kind, address) = (uri.scheme().into(), uri.to_string());
    RecorderConfig {
        spec: SessionSpec {
            id: None,
            source_id: "src-test".into(),
            source: SourceInfo { kind, name: "Test".into(), address },
            device_name: "bench".into(),
            software: "lucid test".into(),
            policy: None,
            participants: vec![],
            note: String::new(),
        },
        uri,
        options: StreamOptions::new(probe_encoders(&none, None).unwrap()),
        limits: Limits::default(),
        stop_after_us: None,
        roll_after_us: None,
        stall_after: Duration::from_secs(10),
        persistence: Persistence::Never,
        events: None,
    }
}

/// A bundle of a session.
pub fn bundle(archive: &Archive, id: SessionId, spec: &ExportSpec) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    export(archive, id, spec, None, &mut out, |_, _| {}).unwrap();
    out.into_inner()
}

/// What the verifier says to a bundle of the whole session.
pub fn judged(archive: &Archive, id: SessionId) -> Content {
    read(&bundle(archive, id, &ExportSpec::default()), &|_, _| {})
}
