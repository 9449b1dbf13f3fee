// Where a moment of a recording stands on three clocks: the player's (gaps cut out), the recording's (seconds since its
// start) and the wall's. Pure; tested in timeline.test.ts.
import type { Gap, Session } from "./types";

/** A stretch of recording without a hole: media second `mediaS` was captured at wall time `wallMs`. */
export interface Segment {
  mediaS: number;
  wallMs: number;
  lengthS: number;
}

/** A hole, in wall time, with the reason the device gave. */
export interface Hole {
  fromMs: number;
  toMs: number;
  /** The length the record declares, in seconds. */
  lengthS: number;
  reason: string;
}

/** What hls.js tells of one fragment; only the fields used here. */
export interface FragmentInfo {
  start: number;
  duration: number;
  programDateTime: number | null;
}

/** Fragments whose wall times disagree by less than this are one stretch: encoders and clocks jitter, gaps do not. */
const JITTER_MS = 500;

/** Joins fragments that follow each other on the wall clock into stretches. */
export function segmentsOf(fragments: readonly FragmentInfo[]): Segment[] {
  const out: Segment[] = [];
  for (const one of fragments) {
    const last = out.at(-1);
    const expected = last === undefined ? null : last.wallMs + last.lengthS * 1000;
    const wallMs = one.programDateTime ?? expected;
    if (wallMs === null) continue;
    if (last !== undefined && expected !== null && Math.abs(wallMs - expected) < JITTER_MS) {
      last.lengthS = one.start + one.duration - last.mediaS;
    } else {
      out.push({ mediaS: one.start, wallMs, lengthS: one.duration });
    }
  }
  return out;
}

/** The stretches as the session record tells them, for when no playlist has been read (yet). */
export function segmentsOfSession(session: Pick<Session, "started_at" | "duration_s" | "gaps">): Segment[] {
  const start = Date.parse(session.started_at);
  if (!Number.isFinite(start)) return [];
  const holes = holesOf(session.gaps);
  const end = start + session.duration_s * 1000;
  const out: Segment[] = [];
  let wall = start;
  let media = 0;
  for (const hole of [...holes, { fromMs: end, toMs: end }]) {
    const upTo = Math.min(hole.fromMs, end);
    if (upTo > wall) {
      out.push({ mediaS: media, wallMs: wall, lengthS: (upTo - wall) / 1000 });
      media += (upTo - wall) / 1000;
    }
    wall = Math.max(wall, hole.toMs);
  }
  return out;
}

/** Gap records in order of time, broken ones left out. */
export function holesOf(gaps: readonly Gap[]): Hole[] {
  return gaps
    .map((gap) => {
      const fromMs = Date.parse(gap.at);
      return { fromMs, toMs: fromMs + gap.length_s * 1000, lengthS: gap.length_s, reason: gap.reason };
    })
    .filter((hole) => Number.isFinite(hole.fromMs) && hole.toMs > hole.fromMs)
    .sort((a, b) => a.fromMs - b.fromMs);
}

/** Clocks of source and device disagree by less than this about where a gap ends. */
const SLACK_MS = 2000;

/** Draws each gap over the whole stretch without a picture that it stands for, so that no sliver is left unexplained. */
export function fitted(holes: readonly Hole[], segments: readonly Segment[]): Hole[] {
  return holes.map((hole) => {
    let { fromMs, toMs } = hole;
    for (let i = 1; i < segments.length; i += 1) {
      const before = segments[i - 1];
      const after = segments[i];
      if (before === undefined || after === undefined) continue;
      const end = before.wallMs + before.lengthS * 1000;
      const near = Math.abs(end - hole.fromMs) < SLACK_MS && Math.abs(after.wallMs - hole.toMs) < SLACK_MS;
      if (near && after.wallMs > end) [fromMs, toMs] = [end, after.wallMs];
    }
    return { ...hole, fromMs, toMs };
  });
}

/** Wall time of a player position; null when nothing is known. */
export function wallOf(segments: readonly Segment[], mediaS: number): number | null {
  let found = segments[0];
  for (const one of segments) if (one.mediaS <= mediaS + 1e-6) found = one;
  if (found === undefined) return null;
  const into = Math.max(0, mediaS - found.mediaS);
  return found.wallMs + Math.min(into, found.lengthS) * 1000;
}

/** Player position of a wall time; a time inside a hole goes to the first picture after it. */
export function mediaOf(segments: readonly Segment[], wallMs: number): number {
  let end = 0;
  for (const one of segments) {
    if (wallMs < one.wallMs) return one.mediaS;
    end = one.mediaS + one.lengthS;
    if (wallMs < one.wallMs + one.lengthS * 1000) return one.mediaS + (wallMs - one.wallMs) / 1000;
  }
  return end;
}

/** The hole a player position stands at the end of: playback just crossed from one stretch into the next. */
export function crossed(
  segments: readonly Segment[],
  fromMediaS: number,
  toMediaS: number,
): { fromMs: number; toMs: number; mediaS: number } | null {
  for (let i = 1; i < segments.length; i += 1) {
    const before = segments[i - 1];
    const after = segments[i];
    if (before === undefined || after === undefined) continue;
    if (fromMediaS < after.mediaS - 1e-3 && toMediaS >= after.mediaS - 1e-3) {
      const fromMs = before.wallMs + before.lengthS * 1000;
      if (after.wallMs - fromMs > 0) return { fromMs, toMs: after.wallMs, mediaS: after.mediaS };
    }
  }
  return null;
}

/** First and last wall time a session covers: its own times, widened by what stretches and holes say. */
export function span(
  session: Pick<Session, "started_at" | "ended_at" | "duration_s">,
  segments: readonly Segment[],
  holes: readonly Hole[],
): { fromMs: number; toMs: number } {
  let fromMs = Date.parse(session.started_at);
  let toMs = session.ended_at ? Date.parse(session.ended_at) : fromMs + session.duration_s * 1000;
  for (const one of segments) {
    fromMs = Number.isFinite(fromMs) ? Math.min(fromMs, one.wallMs) : one.wallMs;
    toMs = Number.isFinite(toMs) ? Math.max(toMs, one.wallMs + one.lengthS * 1000) : one.wallMs + one.lengthS * 1000;
  }
  for (const hole of holes) toMs = Math.max(toMs, hole.toMs);
  if (!Number.isFinite(fromMs)) return { fromMs: 0, toMs: 1000 };
  return { fromMs, toMs: Math.max(toMs, fromMs + 1000) };
}

/** Steps an axis may use, in seconds: what a clock face divides into. */
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/** Round wall times between two others, at most `most` of them; whole hours are whole in the viewer's zone. */
export function ticks(fromMs: number, toMs: number, most: number): { atMs: number; seconds: boolean }[] {
  const spanS = (toMs - fromMs) / 1000;
  if (!(spanS > 0) || most < 1) return [];
  const stepS = STEPS_S.find((step) => spanS / step <= most) ?? Math.ceil(spanS / most / 86_400) * 86_400;
  const zoneMs = new Date(fromMs).getTimezoneOffset() * 60_000;
  const stepMs = stepS * 1000;
  const out: { atMs: number; seconds: boolean }[] = [];
  for (let at = Math.ceil((fromMs - zoneMs) / stepMs) * stepMs + zoneMs; at <= toMs; at += stepMs) {
    out.push({ atMs: at, seconds: stepS < 60 });
  }
  return out;
}

/** Where a time stands between two others, as a percentage kept inside them. */
export function place(atMs: number, fromMs: number, toMs: number): number {
  if (!(toMs > fromMs)) return 0;
  return Math.min(100, Math.max(0, ((atMs - fromMs) / (toMs - fromMs)) * 100));
}

/** Recorded pieces cut to a window, for the 24-hour strips. */
export function cut(segments: readonly Segment[], fromMs: number, toMs: number): { fromMs: number; toMs: number }[] {
  return segments
    .map((one) => ({ fromMs: Math.max(one.wallMs, fromMs), toMs: Math.min(one.wallMs + one.lengthS * 1000, toMs) }))
    .filter((one) => one.toMs > one.fromMs);
}
