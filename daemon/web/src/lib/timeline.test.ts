import { describe, expect, it } from "vitest";
import {
  crossed,
  cut,
  fitted,
  holesOf,
  mediaOf,
  place,
  segmentsOf,
  segmentsOfSession,
  span,
  ticks,
  wallOf,
} from "./timeline";

const T0 = Date.parse("2026-11-21T12:00:00Z");
/** Ten one-second fragments, a 20 s hole, five more: the player sees 15 s, the wall clock 35 s. */
const fragments = [...Array(15).keys()].map((i) => ({
  start: i,
  duration: 1,
  programDateTime: T0 + i * 1000 + (i >= 10 ? 20_000 : 0),
}));
const gap = {
  at: "2026-11-21T12:00:10.000000Z",
  stream_time_s: 10,
  length_s: 20,
  reason: "the camera does not answer",
};
const session = { started_at: "2026-11-21T12:00:00.000000Z", ended_at: null, duration_s: 35, gaps: [gap] };

describe("stretches", () => {
  it("joins what follows on the wall clock and splits at a hole", () => {
    expect(segmentsOf(fragments)).toEqual([
      { mediaS: 0, wallMs: T0, lengthS: 10 },
      { mediaS: 10, wallMs: T0 + 30_000, lengthS: 5 },
    ]);
  });
  it("the session record alone gives the same", () => {
    expect(segmentsOfSession(session)).toEqual(segmentsOf(fragments));
  });
  it("takes jitter for jitter", () => {
    const jitter = fragments.slice(0, 10).map((f, i) => ({ ...f, programDateTime: T0 + i * 1000 + (i % 2) * 120 }));
    expect(segmentsOf(jitter)).toHaveLength(1);
  });
  it("fragments without a date follow the one before", () => {
    expect(segmentsOf([fragments[0]!, { start: 1, duration: 1, programDateTime: null }])).toEqual([
      { mediaS: 0, wallMs: T0, lengthS: 2 },
    ]);
    expect(segmentsOf([{ start: 0, duration: 1, programDateTime: null }])).toEqual([]);
  });
  it("survives a clock that jumps an hour back", () => {
    const back = fragments
      .slice(0, 4)
      .map((f, i) => ({ ...f, programDateTime: T0 + i * 1000 - (i >= 2 ? 3_600_000 : 0) }));
    expect(segmentsOf(back)).toHaveLength(2);
  });
});

describe("three clocks", () => {
  const segments = segmentsOf(fragments);
  it.each([
    [0, 0],
    [9.5, 9.5],
    [10, 30],
    [14, 34],
    [99, 35],
  ])("media %d s is wall +%d s", (media, wall) => expect(wallOf(segments, media)).toBe(T0 + wall * 1000));
  it.each([
    [-5, 0],
    [9.5, 9.5],
    [15, 10],
    [31, 11],
    [99, 15],
  ])("wall +%d s is media %d s", (wall, media) => expect(mediaOf(segments, T0 + wall * 1000)).toBe(media));
  it("nothing known is nothing told", () => expect(wallOf([], 3)).toBeNull());
});

describe("crossing a hole", () => {
  const segments = segmentsOf(fragments);
  it("is noticed once, when playback passes it", () => {
    expect(crossed(segments, 9.9, 10.1)).toEqual({ fromMs: T0 + 10_000, toMs: T0 + 30_000, mediaS: 10 });
    expect(crossed(segments, 10, 10.1)).toBeNull();
    expect(crossed(segments, 3, 4)).toBeNull();
  });
});

describe("span and axis", () => {
  it("covers a recording that still runs", () => {
    expect(span(session, segmentsOf(fragments), holesOf(session.gaps))).toEqual({ fromMs: T0, toMs: T0 + 35_000 });
  });
  it("is never empty", () => {
    const { fromMs, toMs } = span({ started_at: "x", ended_at: null, duration_s: 0 }, [], []);
    expect(toMs).toBeGreaterThan(fromMs);
  });
  it("gives round times, no more than asked for", () => {
    const got = ticks(T0 + 3_000, T0 + 63_000, 6);
    expect(got.map((t) => (t.atMs - T0) / 1000)).toEqual([10, 20, 30, 40, 50, 60]);
    expect(ticks(T0, T0 + 86_400_000, 6).length).toBeLessThanOrEqual(7);
    expect(ticks(T0, T0, 6)).toEqual([]);
  });
  it("whole hours are whole where the viewer is", () => {
    for (const one of ticks(T0, T0 + 86_400_000, 6)) expect(new Date(one.atMs).getHours() % 6).toBe(0);
  });
  it("places inside the edges", () => {
    expect(place(T0 + 500, T0, T0 + 1000)).toBe(50);
    expect(place(T0 - 1, T0, T0 + 1000)).toBe(0);
    expect(place(T0, T0, T0)).toBe(0);
  });
  it("cuts to a window", () => {
    expect(cut(segmentsOf(fragments), T0 + 5_000, T0 + 31_000)).toEqual([
      { fromMs: T0 + 5_000, toMs: T0 + 10_000 },
      { fromMs: T0 + 30_000, toMs: T0 + 31_000 },
    ]);
  });
  it("draws a gap over the whole stretch it stands for, and leaves others alone", () => {
    const segments = segmentsOf(fragments);
    const declared = holesOf([{ ...gap, length_s: 19.2 }]);
    expect(fitted(declared, segments)).toEqual([
      { fromMs: T0 + 10_000, toMs: T0 + 30_000, lengthS: 19.2, reason: gap.reason },
    ]);
    const elsewhere = holesOf([{ ...gap, at: "2026-11-21T12:00:03Z", length_s: 4 }]);
    expect(fitted(elsewhere, segments)).toEqual(elsewhere);
  });
  it("drops gap records that make no sense", () => {
    expect(holesOf([gap, { ...gap, at: "?" }, { ...gap, length_s: 0 }])).toHaveLength(1);
  });
});
