import { describe, expect, it } from "vitest";
import * as f from "./format";

const plain = (text: string) => text.replaceAll("\u00a0", " ");
const check = (got: string, want: string) => expect(plain(got)).toBe(want);

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1 kB"],
    [1536, "1.54 kB"],
    [999_499, "999 kB"],
    [999_500, "1 MB"],
    [10_485_760, "10.5 MB"],
    [412_000_000_000, "412 GB"],
    [-2048, "-2.05 kB"],
  ])("%d", (value, want) => check(f.bytes(value), want));
  it("says nothing rather than NaN", () => {
    check(f.bytes(NaN), "–");
    check(f.bytes(null), "–");
  });
});

describe("rate", () => {
  it("turns bytes and seconds into bits per second", () => {
    check(f.rate(500_000, 1), "4 Mbit/s");
    check(f.rate(5_125_000, 10), "4.1 Mbit/s");
    check(f.rate(10, 1), "80 bit/s");
  });
  it("has no rate without time", () => check(f.rate(100, 0), "–"));
});

describe("duration", () => {
  it.each([
    [0, "0 s"],
    [0.04, "< 0.1 s"],
    [0.42, "0.4 s"],
    [9.94, "9.9 s"],
    [9.96, "10 s"],
    [59.4, "59 s"],
    [59.6, "1 min 00 s"],
    [125, "2 min 05 s"],
    [3599.7, "1 h 00 min"],
    [11_520, "3 h 12 min"],
    [86_399, "1 d"],
    [446_400, "5 d 4 h"],
    [-3, "-3 s"],
  ])("%d", (value, want) => check(f.duration(value), want));
});

describe("clock", () => {
  it.each([
    [0, "0:00"],
    [7.9, "0:07"],
    [760, "12:40"],
    [10_929, "3:02:09"],
    [-1, "0:00"],
    [NaN, "0:00"],
  ])("%d", (value, want) => check(f.clock(value), want));
});

describe("relative", () => {
  const now = Date.parse("2026-11-21T12:00:00Z");
  it.each([
    ["2026-11-21T11:59:59.5Z", "just now"],
    ["2026-11-21T11:59:54Z", "6 s ago"],
    ["2026-11-21T11:57:00Z", "3 min ago"],
    ["2026-11-21T09:00:00Z", "3 h ago"],
    ["2026-11-16T12:00:00Z", "5 days ago"],
    ["2026-11-21T12:03:00Z", "in 3 min"],
    ["", "never"],
    ["nonsense", "never"],
  ])("%s", (at, want) => check(f.relative(at, now), want));
});

describe("times carry their zone", () => {
  // The test runs in Europe/Berlin: one hour ahead in winter, two in summer.
  it("winter and summer", () => {
    check(f.dateTime("2026-11-21T13:02:31.250000Z"), "21 Nov 2026, 14:02:31 UTC+1");
    check(f.time("2026-07-01T10:00:00Z"), "12:00:00 UTC+2");
  });
  it("no time is no time", () => check(f.dateTime(null), "–"));
  it("goes to a form field and back", () => {
    expect(f.utcToLocal("2026-11-21T13:02:00Z")).toBe("2026-11-21T14:02");
    expect(f.localToUtc("2026-11-21T14:02")).toBe("2026-11-21T13:02:00.000Z");
    expect(f.localToUtc("")).toBe("");
  });
});

describe("small words", () => {
  it("counts witnesses honestly", () => {
    check(f.witnesses(1, 1), "1 of 1 witness");
    check(f.witnesses(3, 4), "3 of 4 witnesses");
  });
  it("never shows 100 % before the end", () => {
    check(f.percent(0.9999), "99 %");
    check(f.percent(1), "100 %");
    check(f.percent(-1), "0 %");
  });
  it("days left", () => {
    check(f.daysLeft(null), "not known");
    check(f.daysLeft(0.4), "less than 1 day");
    check(f.daysLeft(1.9), "1 day");
    check(f.daysLeft(18.2), "18 days");
    check(f.daysLeft(9999), "over 10 years");
  });
  it("sentences", () => {
    check(f.sentence("the disk is full"), "The disk is full.");
    check(f.sentence("Done."), "Done.");
    check(f.sentence(null), "");
  });
  it("plurals", () => {
    check(f.plural(1, "gap"), "1 gap");
    check(f.plural(1200, "gap"), "1,200 gaps");
  });
  it("groups a fingerprint for copying by hand", () => {
    expect(f.grouped("AABBCCDD11223344")).toEqual(["aabbccdd", "11223344"]);
    expect(f.grouped("aa:bb:cc:dd:11:22:33:44")).toEqual(["aabbccdd", "11223344"]);
    expect(f.grouped("not a hash")).toEqual(["not", "a", "hash"]);
  });
});
