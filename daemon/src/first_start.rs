//! What happens right after the claim: a device that has nothing to record begins with the first
//! camera it finds, or with a marked demo picture, so that its page shows something that moves.

use std::sync::Arc;

use lucid_capture::SourceUri;

use crate::http::App;
use crate::http::time::now_us;
use crate::sources::{Retention, Source};

/// The demo picture: small, so that software encoding leaves a Pi its processor.
const DEMO_URI: &str = "test://?width=640&height=360&fps=15";
/// What of the demo is kept: an hour, and 512 MiB at most.
const DEMO_RETENTION: Retention =
    Retention { max_age_s: Some(3600), max_bytes: Some(512 * 1024 * 1024) };

/// Sets up the first source of a device that has none.
pub async fn first_source(app: App) {
    if !app.sources.list().is_empty() {
        return;
    }
    match find(&app).await {
        Ok(Some(source)) => {
            tracing::info!(source = %source.id, name = source.name, "the first source is set up");
            app.recordings.wake();
        }
        Ok(None) => tracing::info!("no camera is attached; nothing is recorded"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "no first source"),
    }
}

async fn find(app: &App) -> anyhow::Result<Option<Source>> {
    let found = app.machine.discover().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cameras cannot be looked for");
        Vec::new()
    });
    let camera = found.into_iter().find(|found| found.kind != "demo");
    let source = match camera {
        Some(camera) => {
            let uri = SourceUri::parse(&camera.uri)?;
            Source::new(&camera.name, uri, true, true, Retention::default(), now_us())?
        }
        None if app.config.record.demo => {
            let uri = SourceUri::parse(DEMO_URI)?;
            Source::new("Demo picture", uri, false, true, DEMO_RETENTION, now_us())?
        }
        None => return Ok(None),
    };
    let (app, added) = (Arc::clone(app), source.clone());
    tokio::task::spawn_blocking(move || app.sources.add(&added)).await??;
    Ok(Some(source))
}
