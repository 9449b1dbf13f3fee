//! Pictures and sound for players: playlists and segments, opened for whoever may see the session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::catalogue::{ChunkMap, SessionState};
use lucid_evidence::chunk::MediaKind;
use lucid_evidence::seal::SessionSecret;
use lucid_evidence::{Hash, SessionId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::Path;
use super::problem::{Problem, ProblemDocument};
use super::sessions::{blocking, session_id};
use crate::auth::SignedIn;
use crate::playlist::{self, Kind, Part, Run};

/// Hashes of initialisation segments kept, so that a playlist need not open every chunk.
const INITS_KNOWN_MAX: usize = 8192;

/// The described endpoints: the playlists.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(recorded)).routes(routes!(live))
}

/// What the playlists point at.
pub fn segments() -> Router<App> {
    Router::new().route("/sessions/{id}/media/{name}", get(segment))
}

/// Which chunks have the same initialisation segment.
#[derive(Default)]
pub struct Inits(Mutex<HashMap<(SessionId, u64), Hash>>);

/// Whoever watches a worker while the session runs is named in what is recorded of the worker.
fn watched(app: &App, id: SessionId, who: &SignedIn) {
    if let Some(session) = app.desktops.session(id) {
        session.watched(&who.0.username);
    }
}

/// A playlist of all that is recorded: complete when the session has ended, growing before.
#[utoipa::path(get, path = "/sessions/{id}/media/playlist.m3u8", tag = "media",
    params(("id" = String, Path)),
    responses((status = 200, content_type = "application/vnd.apple.mpegurl", body = String),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json")))]
async fn recorded(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    watched(&app, id, &who);
    let text = blocking(&app, move |app| {
        let session = app.archive.session(id)?;
        let kind = if session.state.is_running() { Kind::Growing } else { Kind::Whole };
        Ok(playlist::write(&parts(app, id, session.state)?, kind, ""))
    });
    Ok(answer(text.await?))
}

/// A playlist of the last seconds of a session that records, or has ended since.
#[utoipa::path(get, path = "/sessions/{id}/live", tag = "media", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/vnd.apple.mpegurl", body = String),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json")))]
async fn live(
    State(app): State<App>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    watched(&app, id, &who);
    let text = blocking(&app, move |app| {
        let session = app.archive.session(id)?;
        let kind = if session.state.is_running() { Kind::Live } else { Kind::Over };
        Ok(playlist::write(&parts(app, id, session.state)?, kind, "media/"))
    });
    Ok(answer(text.await?))
}

/// `init-{n}.mp4`, or the fragments that a name in a playlist stands for.
async fn segment(
    State(app): State<App>,
    who: SignedIn,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    watched(&app, id, &who);
    let missing = || Problem::no_such("segment", &name);
    let wanted = Wanted::parse(&name).ok_or_else(missing)?;
    let found = blocking(&app, move |app| {
        let secret = app.archive.secret(id)?;
        let runs = match wanted {
            Wanted::Init(index) => {
                let Some(map) = chunk(app, id, index)? else { return Ok(None) };
                return Ok(Some(app.archive.init_segment(&secret, &map)?));
            }
            Wanted::Fragments(runs) => runs,
        };
        let mut bytes = Vec::new();
        for run in runs {
            let Some(map) = chunk(app, id, run.chunk)? else { return Ok(None) };
            let Some(fragments) = map.fragments.get(run.first..=run.last) else { return Ok(None) };
            for fragment in fragments {
                bytes.extend(app.archive.fragment(&secret, &map, fragment)?);
            }
        }
        Ok(Some(bytes))
    });
    let bytes = found.await?.ok_or_else(missing)?;
    let kind = if name.ends_with(".m4s") { "video/iso.segment" } else { "video/mp4" };
    let headers = [
        (header::CONTENT_TYPE, kind),
        // It never changes, and nobody between may keep it.
        (header::CACHE_CONTROL, "private, max-age=3600, immutable"),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Init(u64),
    Fragments(Vec<Run>),
}

impl Wanted {
    fn parse(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_prefix("init-").and_then(|n| n.strip_suffix(".mp4")) {
            return number.parse().ok().map(Self::Init);
        }
        playlist::runs(name.strip_suffix(".m4s")?).map(Self::Fragments)
    }
}

fn answer(playlist: String) -> Response {
    let kind = "application/vnd.apple.mpegurl";
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (headers, playlist).into_response()
}

/// A chunk, closed or open.
fn chunk(app: &App, id: SessionId, index: u64) -> Result<Option<ChunkMap>, Problem> {
    let open = app.recordings.live(id).and_then(|live| live.open);
    if let Some(open) = open.filter(|open| open.index == index) {
        return Ok(Some(open));
    }
    let closed = app.archive.catalogue().chunk(id, index).map_err(ArchiveError::from)?;
    Ok(closed.map(|record| record.map).filter(|map| map.kind == MediaKind::Video))
}

/// All chunks of a session with their initialisation segments, the open one last.
fn parts(app: &App, id: SessionId, state: SessionState) -> Result<Vec<Part>, Problem> {
    let secret = app.archive.secret(id)?;
    // Looked at first: should it be closed in between, it is found among the closed ones.
    let open = match state.is_running() {
        true => app.recordings.live(id).and_then(|live| live.open),
        false => None,
    };
    let closed = app.archive.catalogue().all_chunks(id).map_err(ArchiveError::from)?;
    let mut maps: Vec<ChunkMap> = closed.into_iter().map(|record| record.map).collect();
    maps.extend(open.filter(|open| open.index == maps.len() as u64));
    let mut parts: Vec<Part> = Vec::with_capacity(maps.len());
    let mut known: Option<(u64, Hash)> = None;
    let shown = |map: &ChunkMap| map.kind == MediaKind::Video && !map.fragments.is_empty();
    for map in maps.into_iter().filter(shown) {
        let hash = app.inits.hash(&app.archive, &secret, &map)?;
        let init = match known {
            Some((init, same)) if same == hash => init,
            _ => map.index,
        };
        known = Some((init, hash));
        parts.push(Part { map, init });
    }
    Ok(parts)
}

impl Inits {
    fn hash(
        &self,
        archive: &Archive,
        secret: &SessionSecret,
        map: &ChunkMap,
    ) -> Result<Hash, ArchiveError> {
        let key = (map.session, map.index);
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(hash) = found {
            return Ok(hash);
        }
        let hash = Hash::of(&archive.init_segment(secret, map)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= INITS_KNOWN_MAX {
            known.clear();
        }
        known.insert(key, hash);
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_are_exact() {
        assert_eq!(Wanted::parse("init-3.mp4"), Some(Wanted::Init(3)));
        let run = |chunk, first, last| Run { chunk, first, last };
        let fragments = |runs: &[Run]| Some(Wanted::Fragments(runs.to_vec()));
        assert_eq!(Wanted::parse("12-7.m4s"), fragments(&[run(12, 7, 7)]));
        let both = [run(12, 7, 9), run(14, 0, 0)];
        assert_eq!(Wanted::parse("12-7-9_14-0.m4s"), fragments(&both));
        for wrong in [
            "",
            "init-.mp4",
            "init-x.mp4",
            "1.m4s",
            "1-3-2.m4s",
            "1-2-3-4.m4s",
            "1-0-16.m4s",
            "1-0-9_2-0-9.m4s",
            "1-2_.m4s",
            "_1-2.m4s",
            "1-+2.m4s",
            "1--2.m4s",
            "-1-2.m4s",
            "../1-2.m4s",
        ] {
            assert_eq!(Wanted::parse(wrong), None, "{wrong}");
        }
    }
}
