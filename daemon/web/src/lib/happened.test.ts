import { describe, expect, it } from "vitest";
import { idleS, kindName, says, skipTo } from "./happened";
import type { SessionEvent } from "./types";

const event = (kind: string, fields: Record<string, unknown>): SessionEvent => ({
  time: "2026-11-21T12:00:00.000000Z",
  stream_time_s: 0,
  kind,
  fields,
});

describe("an event in words", () => {
  it.each([
    ["window", { title: "Ledger", application: "xterm" }, "Ledger – xterm"],
    ["window", { title: "", application: "xterm" }, "xterm"],
    ["keys", { count: 1, hidden: 0, strokes: [] }, "1 key pressed"],
    ["keys", { count: 1200, hidden: 3 }, "1,200 keys pressed, 3 of them not recorded at the worker's wish"],
    ["pointer", { moves: 12, clicks: 1, wheel: 0 }, "1 click, 12 movements"],
    ["pointer", { moves: 0, clicks: 0, wheel: 2 }, "2 turns of the wheel"],
    ["connection", { change: "opened", user: "ada", peer: "192.0.2.7:5000", reason: "" }, "ada opened, 192.0.2.7:5000"],
    ["clipboard", { direction: "in", content: "text", bytes: 12, hash: "00" }, "text, 12 bytes into the desktop"],
    ["file", { direction: "out", name: "a.pdf", bytes: 1_250_000 }, "a.pdf, 1.3 MB out of the desktop"],
    ["refused", { capability: "clipboard_in", denial: "not allowed", count: 2 }, "clipboard in: not allowed, 2 times"],
    ["approval", { capability: "files_out", approval: "granted", by: "op" }, "files out granted by op"],
    ["policy", { hash: "b669".repeat(16), encoding: "a1" }, "what this session may, with the hash b669b669…b669"],
    ["policy_changed", { before: "aa".repeat(32), hash: "bb".repeat(32) }, "from aaaaaaaa…aaaa to bbbbbbbb…bbbb"],
    ["offered", { direction: "out", content: "image" }, "image to go out of the desktop"],
    ["window", { title: "", application: "" }, "none has the focus"],
    ["lost", { count: 5 }, "5 events came too fast to be kept"],
  ])("%s %j", (kind, fields, words) => expect(says(event(kind, fields))).toBe(words));
  it("a kind this page does not know still says what it says", () => {
    expect(kindName("door_opened")).toBe("door opened");
    expect(says(event("door_opened", { which: 3, by: "key", list: [1] }))).toBe("which 3, by key");
  });
  it("fields of another type do not break it", () => {
    expect(says(event("window", { title: 7, application: null }))).toBe("none has the focus");
    expect(says(event("keys", { count: "many" }))).toBe("0 keys pressed");
  });
});

describe("skipping idle time", () => {
  const active = [
    { from_s: 10, to_s: 20 },
    { from_s: 100, to_s: 101 },
    { from_s: 108, to_s: 108 },
  ];
  it.each([
    [0, 8],
    [3, null],
    [15, null],
    [21.9, null],
    [23, 98],
    [97, null],
    [104, null],
    [111, 299],
    [295, null],
  ])("from %d s goes to %s", (at, to) => expect(skipTo(active, at, 300)).toBe(to));
  it("counts what would be skipped", () => expect(idleS(active, 300)).toBe(8 + 76 + 188));
  it("a session in which nothing happens is idle to its end", () => {
    expect(skipTo([], 0, 60)).toBe(59);
    expect(idleS([], 60)).toBe(58);
  });
});
