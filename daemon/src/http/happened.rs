//! What happened in a session beside its pictures: its events, searched, and when there was
//! anything to see.

use axum::Json;
use axum::extract::State;
use lucid_capture::archive::ArchiveError;
use lucid_capture::catalogue::{ChunkMap, FragmentEntry};
use lucid_evidence::SessionId;
use lucid_evidence::chunk::MediaKind;
use lucid_evidence::event::{Event, Events, NAME_MAX_BYTES, Value};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{Path, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::sessions::{blocking, session_id};
use super::time::Rfc3339;
use crate::auth::SignedIn;

/// Events of a page when `limit` is not given, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Longest text to search for, characters.
const SEARCH_CHARS_MAX: usize = 128;
/// Bytes of events opened for one page; a search that needs more goes on at its cursor.
const OPENED_BYTES_MAX: u64 = 8 << 20;
/// Stretches without events up to this long do not interrupt activity, microseconds.
const QUIET_US: u64 = 5_000_000;
/// Stretches of activity in one answer; with more, those closest together are joined.
const STRETCHES_MAX: usize = 2000;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(activity))
}

/// Which events are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// Text that the event says somewhere, in any case; 1 to 128 characters.
    q: Option<String>,
    /// The kind of event, such as `window`.
    kind: Option<String>,
    /// Not before so many seconds of the recording.
    from: Option<f64>,
    /// Before so many seconds of the recording.
    to: Option<f64>,
    /// Events of a page, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// An event.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct EventView {
    /// When, by the device's clock.
    time: Rfc3339,
    /// When, seconds of the recording.
    stream_time_s: f64,
    /// What kind of event it is.
    kind: String,
    /// What it says; bytes in hexadecimal.
    #[schema(value_type = Object)]
    fields: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, ToSchema)]
struct EventList {
    /// In the order in which they happened.
    items: Vec<EventView>,
    /// Where the list goes on. A page may be short, even empty, and still go on.
    next_cursor: Option<String>,
}

/// When something happened.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Stretch {
    /// Its start, seconds of the recording.
    from_s: f64,
    /// Its end, seconds of the recording.
    to_s: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Activity {
    /// Whether the session has events at all; without them nothing can be said.
    known: bool,
    /// When something happened, ascending; between them the session was idle.
    active: Vec<Stretch>,
}

/// Events of a session, first to last. Those of a session that records are there once they are
/// durable.
#[utoipa::path(get, path = "/sessions/{id}/events", tag = "sessions",
    params(("id" = String, Path), EventQuery),
    responses((status = 200, body = EventList),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let id = session_id(&id)?;
    let wanted = Wanted::of(query)?;
    let found = blocking(&app, move |app| {
        let maps = maps(app, id)?;
        let secret = app.archive.secret(id)?;
        page(&maps, &wanted, |map, batch| Ok(app.archive.fragment(&secret, map, batch)?))
    });
    Ok(Json(found.await?))
}

/// When something happened in a session, so that the rest can be skipped. Known without opening
/// anything: from when batches of events were stored.
#[utoipa::path(get, path = "/sessions/{id}/activity", tag = "sessions",
    params(("id" = String, Path)),
    responses((status = 200, body = Activity),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json")))]
async fn activity(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Activity>, Problem> {
    let id = session_id(&id)?;
    let found = blocking(&app, move |app| {
        let maps = maps(app, id)?;
        app.archive.secret(id)?;
        Ok(stretches(&maps))
    });
    Ok(Json(found.await?))
}

/// The chunks of events of a session, the open one last.
fn maps(app: &App, id: SessionId) -> Result<Vec<ChunkMap>, Problem> {
    let session = app.archive.session(id)?;
    // Looked at first: should it be closed in between, it is found among the closed ones.
    let open = match session.state.is_running() {
        true => app.recordings.live(id).and_then(|live| live.events),
        false => None,
    };
    let closed = app.archive.catalogue().all_chunks(id).map_err(ArchiveError::from)?;
    let count = closed.len() as u64;
    let mut maps: Vec<ChunkMap> = closed
        .into_iter()
        .map(|record| record.map)
        .filter(|map| map.kind == MediaKind::Events)
        .collect();
    maps.extend(open.filter(|open| open.index >= count));
    Ok(maps)
}

/// A place in the list: the first event that is not given out yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    chunk: u64,
    batch: u64,
    event: u64,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
        let place = Place { chunk: parts.next()??, batch: parts.next()??, event: parts.next()?? };
        parts.next().is_none().then_some(place)
    }

    fn text(self) -> String {
        format!("{}.{}.{}", self.chunk, self.batch, self.event)
    }
}

#[derive(Debug)]
struct Wanted {
    /// In lower case.
    text: Option<String>,
    kind: Option<String>,
    from_us: u64,
    to_us: u64,
    limit: usize,
    from: Place,
}

impl Wanted {
    fn of(query: EventQuery) -> Result<Self, Problem> {
        let unfit = |text: &str| Problem::new(Kind::InvalidQuery, text);
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(unfit("`limit` is 1 to 1000"));
        }
        let chars = query.q.as_ref().map_or(1, |q| q.chars().count());
        if !(1..=SEARCH_CHARS_MAX).contains(&chars) {
            return Err(unfit("`q` has 1 to 128 characters"));
        }
        if query.kind.as_ref().is_some_and(|kind| kind.len() > NAME_MAX_BYTES) {
            return Err(unfit("`kind` has at most 32 characters"));
        }
        let us = |seconds: Option<f64>, else_, name: &str| match seconds {
            None => Ok(else_),
            Some(s) if s.is_finite() && s >= 0.0 => Ok((s * 1e6).round() as u64),
            Some(_) => Err(unfit(&format!("`{name}` is seconds of the recording, 0 or more"))),
        };
        let from = query.cursor.as_deref().map(Place::parse);
        Ok(Wanted {
            text: query.q.map(|q| q.to_lowercase()),
            kind: query.kind,
            from_us: us(query.from, 0, "from")?,
            to_us: us(query.to, u64::MAX, "to")?,
            limit,
            from: match from {
                None => Place::default(),
                Some(place) => place.ok_or_else(|| unfit("`cursor` is not one of this list"))?,
            },
        })
    }

    fn fits(&self, event: &Event<'_>) -> bool {
        (self.from_us..self.to_us).contains(&event.stream_us)
            && self.kind.as_ref().is_none_or(|kind| kind == event.kind)
            && self.text.as_ref().is_none_or(|text| {
                event.kind.contains(text) || event.fields.iter().any(|(_, one)| says(one, text))
            })
    }

    /// Whether a batch may hold what is wanted.
    fn overlaps(&self, batch: &FragmentEntry) -> bool {
        batch.start_us < self.to_us
            && batch.start_us.saturating_add(batch.duration_us) >= self.from_us
    }
}

fn says(value: &Value<'_>, text: &str) -> bool {
    match value {
        Value::Text(found) => found.to_lowercase().contains(text),
        Value::Array(values) => values.iter().any(|value| says(value, text)),
        Value::Null | Value::Bool(_) | Value::Uint(_) | Value::Bytes(_) => false,
    }
}

/// A page of events; `open` opens a batch.
fn page(
    maps: &[ChunkMap],
    wanted: &Wanted,
    mut open: impl FnMut(&ChunkMap, &FragmentEntry) -> Result<Vec<u8>, Problem>,
) -> Result<EventList, Problem> {
    let mut items = Vec::new();
    let mut opened = 0;
    for map in maps.iter().filter(|map| map.index >= wanted.from.chunk) {
        for (batch, entry) in (0..).zip(&map.fragments) {
            let begin = Place { chunk: map.index, batch, event: 0 };
            let is_before = map.index == wanted.from.chunk && batch < wanted.from.batch;
            if is_before || !wanted.overlaps(entry) {
                continue;
            }
            let begin = begin.max(wanted.from);
            if opened > 0 && opened + entry.bytes > OPENED_BYTES_MAX {
                return Ok(EventList { items, next_cursor: Some(begin.text()) });
            }
            opened += entry.bytes;
            let bytes = open(map, entry)?;
            for (event, read) in (0..).zip(Events::new(&bytes)) {
                let place = Place { event, ..begin };
                let read = read.map_err(|error| {
                    let text = format!("events of chunk {} cannot be read: {error}", map.index);
                    Problem::new(Kind::Damaged, text)
                })?;
                if place < begin || !wanted.fits(&read) {
                    continue;
                }
                if items.len() == wanted.limit {
                    return Ok(EventList { items, next_cursor: Some(place.text()) });
                }
                items.push(view(&read));
            }
        }
    }
    Ok(EventList { items, next_cursor: None })
}

fn view(event: &Event<'_>) -> EventView {
    let fields = event.fields.iter().map(|(name, value)| ((*name).to_owned(), json(value)));
    EventView {
        time: Rfc3339::from_us(event.wall_us),
        stream_time_s: event.stream_us as f64 / 1e6,
        kind: event.kind.to_owned(),
        fields: fields.collect(),
    }
}

fn json(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Text(value) => (*value).into(),
        Value::Bytes(value) => {
            value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        Value::Array(values) => values.iter().map(json).collect(),
    }
}

fn stretches(maps: &[ChunkMap]) -> Activity {
    let mut active: Vec<(u64, u64)> = Vec::new();
    for batch in maps.iter().flat_map(|map| &map.fragments) {
        let end = batch.start_us.saturating_add(batch.duration_us);
        match active.last_mut() {
            Some(last) if batch.start_us <= last.1.saturating_add(QUIET_US) => {
                last.1 = last.1.max(end);
            }
            _ => active.push((batch.start_us, end)),
        }
    }
    let mut quiet = QUIET_US;
    while active.len() > STRETCHES_MAX {
        quiet = quiet.saturating_mul(2);
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, end) in active {
            match joined.last_mut() {
                Some(last) if start <= last.1.saturating_add(quiet) => last.1 = end,
                _ => joined.push((start, end)),
            }
        }
        active = joined;
    }
    let seconds = |us: u64| us as f64 / 1e6;
    let stretch = |(from, to)| Stretch { from_s: seconds(from), to_s: seconds(to) };
    Activity { known: !maps.is_empty(), active: active.into_iter().map(stretch).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// One chunk of events for each list of batches; each batch the seconds of its events.
    fn chunks(of: &[&[&[u64]]]) -> Vec<ChunkMap> {
        let batch = |seconds: &&[u64]| FragmentEntry {
            first_piece: 0,
            pieces: 1,
            bytes: bytes(seconds).len() as u64,
            start_us: seconds[0] * SECOND,
            duration_us: (seconds[seconds.len() - 1] - seconds[0]) * SECOND,
            keyframe: true,
        };
        // Between two chunks of events there is one of video.
        (0..)
            .zip(of)
            .map(|(at, batches)| ChunkMap {
                session: SessionId::new(0, [0; 10]),
                index: 2 * at + 1,
                kind: MediaKind::Events,
                nonce: [0; 16],
                init_bytes: 0,
                init_pieces: 0,
                runs: Vec::new(),
                fragments: batches.iter().map(batch).collect(),
                wall_start_us: 0,
                wall_end_us: 0,
                stream_start_us: 0,
                stream_end_us: 0,
                gap_before: None,
                clock_jump_us: 0,
            })
            .collect()
    }

    fn bytes(seconds: &[u64]) -> Vec<u8> {
        let event = |second: &u64| {
            let (kind, title) = match second % 2 {
                0 => ("window", format!("Ledger {second}")),
                _ => ("keys", format!("{second}")),
            };
            let fields = vec![("title", Value::Text(&title))];
            let stream_us = second * SECOND;
            Event { stream_us, wall_us: stream_us, kind, fields }.encode()
        };
        seconds.iter().flat_map(event).collect()
    }

    const DAY: &[&[&[u64]]] = &[&[&[0, 1, 2], &[3]], &[&[60, 61]]];

    fn ask(query: EventQuery) -> Vec<Vec<u64>> {
        let maps = chunks(DAY);
        let mut wanted = Wanted::of(query).unwrap();
        let mut pages = Vec::new();
        loop {
            let found = page(&maps, &wanted, |map, entry| {
                let of = DAY[(map.index / 2) as usize];
                let seconds = of.iter().find(|batch| batch[0] * SECOND == entry.start_us).unwrap();
                Ok(bytes(seconds))
            });
            let found = found.unwrap();
            pages.push(found.items.iter().map(|one| one.stream_time_s as u64).collect());
            match found.next_cursor {
                Some(cursor) => wanted.from = Place::parse(&cursor).unwrap(),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_hold_everything_once_in_order() {
        assert_eq!(ask(EventQuery::default()), [vec![0, 1, 2, 3, 60, 61]]);
        let limit = |n| EventQuery { limit: Some(n), ..EventQuery::default() };
        assert_eq!(ask(limit(2)), [vec![0, 1], vec![2, 3], vec![60, 61]]);
        assert_eq!(ask(limit(5)), [vec![0, 1, 2, 3, 60], vec![61]]);
    }

    #[test]
    fn a_search_finds_by_text_kind_and_time() {
        let text = |q: &str| EventQuery { q: Some(q.into()), ..EventQuery::default() };
        assert_eq!(ask(text("LEDGER 6")), [vec![60]]);
        assert_eq!(ask(text("window")), [vec![0, 2, 60]]);
        assert_eq!(ask(text("nothing")), [Vec::<u64>::new()]);
        let kind = EventQuery { kind: Some("keys".into()), ..EventQuery::default() };
        assert_eq!(ask(kind), [vec![1, 3, 61]]);
        let time = EventQuery { from: Some(1.5), to: Some(60.5), ..EventQuery::default() };
        assert_eq!(ask(time), [vec![2, 3, 60]]);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let wrong = |query: EventQuery| format!("{:?}", Wanted::of(query).unwrap_err());
        let long = "x".repeat(SEARCH_CHARS_MAX + 1);
        for (query, name) in [
            (EventQuery { q: Some(String::new()), ..EventQuery::default() }, "`q`"),
            (EventQuery { q: Some(long.clone()), ..EventQuery::default() }, "`q`"),
            (EventQuery { kind: Some(long), ..EventQuery::default() }, "`kind`"),
            (EventQuery { from: Some(-1.0), ..EventQuery::default() }, "`from`"),
            (EventQuery { to: Some(f64::NAN), ..EventQuery::default() }, "`to`"),
            (EventQuery { limit: Some(0), ..EventQuery::default() }, "`limit`"),
            (EventQuery { limit: Some(1001), ..EventQuery::default() }, "`limit`"),
            (EventQuery { cursor: Some("1.2".into()), ..EventQuery::default() }, "`cursor`"),
            (EventQuery { cursor: Some("1.2.3.4".into()), ..EventQuery::default() }, "`cursor`"),
        ] {
            assert!(wrong(query).contains(name));
        }
    }

    #[test]
    fn activity_joins_what_is_close_and_stays_bounded() {
        let found = stretches(&chunks(DAY));
        let stretch = |from_s, to_s| Stretch { from_s, to_s };
        assert!(found.known);
        assert_eq!(found.active, [stretch(0.0, 3.0), stretch(60.0, 61.0)]);
        assert!(!stretches(&[]).known);
        let seconds: Vec<[u64; 1]> = (0..9000).map(|n| [n * 10]).collect();
        let batches: Vec<&[u64]> = seconds.iter().map(|one| &one[..]).collect();
        let found = stretches(&chunks(&[&batches]));
        assert!((1..=STRETCHES_MAX).contains(&found.active.len()));
    }
}
