//! Server-sent events: what moves, as it moves, for a bounded number of listeners.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::{Kind, Problem, ProblemDocument};
use super::time::now_us;
use crate::auth::{SignedIn, TokenId};
use crate::events::Event;

/// Listeners at once; further ones are answered with `too-many-listeners`.
pub const LISTENERS_MAX: usize = 256;
/// A comment is sent after this much silence, so that a broken connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a listener's session is looked up again: a sign-out ends the stream within this.
const SESSION_CHECK: Duration = Duration::from_secs(10);
/// When a refused listener may try again, in seconds.
const RETRY_AFTER_S: u64 = 30;

/// The endpoint.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(listen))
}

struct Listener {
    app: App,
    events: Receiver<Event>,
    session: TokenId,
    check: Interval,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

/// Everything that moves, as server-sent events.
///
/// Events are named `component` and so on and carry the changed object as JSON. A listener that
/// falls behind loses the oldest events and gets `lagged` with their number.
#[utoipa::path(get, path = "/events", tag = "device",
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json")))]
async fn listen(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
) -> Result<Sse<impl Stream<Item = Result<Line, Infallible>>>, Problem> {
    let place = std::sync::Arc::clone(&app.listeners).try_acquire_owned().map_err(|_| {
        let detail = format!("all {LISTENERS_MAX} places for listeners are taken");
        Problem::new(Kind::TooManyListeners, detail).retry_after(RETRY_AFTER_S)
    })?;
    let mut check = tokio::time::interval(SESSION_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        events: app.events.subscribe(),
        session: identity.session,
        app,
        check,
        greeted: false,
        _place: place,
    };
    let lines = unfold(listener, |mut listener| async move {
        listener.next().await.map(|line| (Ok(line), listener))
    });
    Ok(Sse::new(lines).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Listener {
    /// The next line, or `None` when the stream ends.
    async fn next(&mut self) -> Option<Line> {
        if !self.greeted {
            self.greeted = true;
            // Something to read at once, so that a listener knows it is one.
            return Some(Line::default().comment("listening"));
        }
        loop {
            tokio::select! {
                () = self.app.stop.cancelled() => return None,
                _ = self.check.tick() => {
                    self.app.auth.identity(&self.session, now_us())?;
                }
                received = self.events.recv() => return match received {
                    Ok(event) => Some(Line::default().event(event.topic.name()).data(&*event.data)),
                    Err(RecvError::Lagged(lost)) => {
                        Some(Line::default().event("lagged").data(format!("{{\"lost\":{lost}}}")))
                    }
                    Err(RecvError::Closed) => None,
                },
            }
        }
    }
}
