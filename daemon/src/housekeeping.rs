//! Keeps recordings within what their sources keep and the disk holds, and counts what they take.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lucid_capture::retention::{Policy, enforce};
use tokio_util::sync::CancellationToken;

use crate::http::App;
use crate::http::evidence::used_bytes;
use crate::recordings::quota;
use crate::supervisor::Reporter;

/// How often.
const EVERY: Duration = Duration::from_secs(30);

/// Enforces quotas until asked to stop.
///
/// # Errors
/// When the archive cannot be read or written.
pub async fn run(app: App, reporter: Reporter, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        let round = Arc::clone(&app);
        let report = tokio::task::spawn_blocking(move || {
            // Copies go before recordings do, and with their recording.
            round.exports.sweep(0);
            let report = enforce(&round.archive, &*round.anchoring, &policy(&round))?;
            for session in &report.deleted {
                round.exports.forget(*session);
            }
            let used = used_bytes(&round)?;
            *round.used.lock().unwrap_or_else(PoisonError::into_inner) = used;
            anyhow::Ok(report)
        })
        .await??;
        if !report.deleted.is_empty() {
            tracing::info!(
                sessions = report.deleted.len(),
                volumes = report.volumes.len(),
                "recordings beyond their retention are deleted"
            );
            app.pulse.changed();
        }
        match (report.full, report.held.is_empty()) {
            (false, true) => reporter.healthy(),
            (false, false) => reporter.degraded(format!(
                "{} recordings beyond their retention are on legal hold",
                report.held.len()
            )),
            (true, _) => reporter.degraded(
                "the disk is full and nothing more may be deleted: new recordings are refused",
            ),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn policy(app: &App) -> Policy {
    let sources = app.sources.list();
    let mut quotas: HashMap<String, _> =
        sources.iter().map(|source| (source.id.to_string(), quota(&source.retention))).collect();
    let desktops = app.desktops.retentions();
    quotas.extend(desktops.into_iter().map(|(id, retention)| (id, quota(&retention))));
    Policy { quotas, keep_free_bytes: app.config.record.keep_free_bytes }
}
