import { describe, expect, it } from "vitest";
import { allowed, capability, line, tidyName, type Policy } from "./desktops";

const NOTHING: Policy = {
  keyboard: false,
  mouse: false,
  clipboard_in: false,
  clipboard_out: false,
  files_in: false,
  files_out: false,
  audio: false,
  resize: false,
  observers: 0,
  record_keys: false,
};

describe("a policy in words", () => {
  it("says nothing when nothing is allowed", () => expect(allowed(NOTHING)).toEqual([]));
  it("takes true, numbers and rules as allowed", () =>
    expect(
      allowed({ ...NOTHING, mouse: 250, audio: true, files_out: { max_bytes: 1, extensions: ["pdf"] }, observers: 2 }),
    ).toEqual(["use the mouse", "take files out", "hear its sound", "be watched by a second client"]));
  it("shows what it does not know", () => expect(capability("teleport")).toBe("teleport"));
});

describe("a line of figures", () => {
  it("is scaled to its largest value", () => expect(line([0, 5, 10], 100, 20)).toBe("0.0,20.0 50.0,10.0 100.0,0.0"));
  it("keeps a fixed scale", () => expect(line([50, 50], 10, 10, 100)).toBe("0.0,5.0 10.0,5.0"));
  it("survives nothing and zero", () => {
    expect(line([], 10, 10)).toBe("");
    expect(line([0], 10, 10)).toBe("0.0,10.0");
  });
});

it("makes a name of what is typed", () => {
  expect(tidyName("  3rd Floor: Accounts! ")).toBe("rd-floor-accounts");
  expect(tidyName("Bench_1")).toBe("bench_1");
});
