import { describe, expect, it } from "vitest";
import { href, parse, recordingHref } from "./route";

describe("parse", () => {
  it.each([
    ["", "home", null],
    ["#/", "home", null],
    ["#/sources", "sources", null],
    ["#/desktops", "desktops", null],
    ["#/recordings", "recordings", null],
    ["#/recordings/", "recordings", null],
    ["#/recordings/0192f0c1-aaaa", "recording", "0192f0c1-aaaa"],
    ["#/recordings/a%2Fb", "recording", "a/b"],
    ["#/recordings/%E0%A4%A", "recording", "%E0%A4%A"],
    ["#/recordings/a/b", "unknown", null],
    ["#/nothing", "unknown", null],
    ["#/device/x", "unknown", null],
  ])("%s", (hash, view, id) => {
    const got = parse(hash);
    expect([got.view, got.id]).toEqual([view, id]);
  });
  it("reads parameters", () => {
    expect(parse("#/recordings?source=src-1&state=stored").params).toEqual({ source: "src-1", state: "stored" });
  });
});

describe("href", () => {
  it("leaves empty parameters out", () =>
    expect(href("recordings", { source: "", state: "stored" })).toBe("#/recordings?state=stored"));
  it("goes round", () => {
    const got = parse(recordingHref("0192-x", 12.34));
    expect(got).toEqual({ view: "recording", id: "0192-x", params: { t: "12.3" } });
  });
});
