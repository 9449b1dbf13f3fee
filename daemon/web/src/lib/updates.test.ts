import { describe, expect, test } from "vitest";
import { OUTCOME, STATE, attemptWords, canHurry, slotTiles, updateName, type Attempt, type Updates } from "./updates";

const slot = (bootname: string, boot_status: string, version: string | null) => ({
  name: bootname === "A" ? "root.0" : "root.1",
  bootname,
  state: "inactive",
  boot_status,
  version,
  installed_at: null,
});
const attempt: Attempt = {
  id: "8",
  origin: "server",
  name: "lucid 0.3.0",
  version: "0.3.0",
  progress: null,
  bytes: null,
  note: null,
  asks: false,
  cancellable: true,
  no_way_back: false,
  began_at: "2026-11-21T01:02:03Z",
  sha256: null,
  statement: null,
};
const idle: Updates = {
  supported: true,
  problem: null,
  version: "0.2.0",
  state: "idle",
  slot: "A",
  default_slot: "A",
  on_trial: false,
  slots: [slot("A", "good", null), slot("B", "good", "0.1.0")],
  attempt: null,
  history: [],
  server: null,
};
const labels = (updates: Updates) => slotTiles(updates).map((tile) => [tile.label, tile.version]);

describe("what the page says of updates", () => {
  test("the slot that runs has the version that runs, the other what was installed there", () => {
    expect(labels(idle)).toEqual([
      ["Runs", "0.2.0"],
      ["Can be started", "0.1.0"],
    ]);
    expect(labels({ ...idle, slots: [] })[1]).toEqual(["Not known", null]);
    expect(labels({ ...idle, slots: [slot("B", "bad", "0.1.0")] })[1]?.[0]).toBe("Will not be started");
  });
  test("a slot that is being written or waits for its trial has the new version", () => {
    expect(labels({ ...idle, state: "installing", attempt })[1]).toEqual(["Being written", "0.3.0"]);
    expect(labels({ ...idle, state: "reboot_wanted", attempt })[1]).toEqual(["Waits for its trial", "0.3.0"]);
  });
  test("on trial the other slot is the way back", () => {
    const trial: Updates = { ...idle, slot: "B", version: "0.3.0", on_trial: true, state: "self_test", attempt };
    expect(labels(trial)).toEqual([
      ["Runs again if the trial fails", null],
      ["Runs, on trial", "0.3.0"],
    ]);
  });
  test("it says what is waited for, and what goes wrong", () => {
    const waiting = (note: string | null): Updates => ({ ...idle, state: "waiting", attempt: { ...attempt, note } });
    expect(attemptWords(waiting("until 2 recordings are over"))).toBe("Waits until 2 recordings are over.");
    expect(attemptWords(waiting(null))).toBe(STATE.waiting.plain);
    const broken: Updates = { ...waiting("the connection broke off"), state: "downloading" };
    expect(attemptWords(broken)).toContain("broke off. Tried again");
    expect(attemptWords({ ...waiting("no block"), state: "self_test" })).toBe("The test failed: no block");
  });
  test("what is being written or tried cannot be hurried", () => {
    expect(canHurry({ ...idle, state: "waiting", attempt })).toBe(true);
    for (const state of ["installing", "self_test", "idle"] as const) expect(canHurry({ ...idle, state })).toBe(false);
  });
  test("a version is not said twice", () => {
    expect(updateName(attempt)).toBe("lucid 0.3.0");
    expect(updateName({ name: "bundle abcd", version: "0.3.0" })).toBe("0.3.0 (bundle abcd)");
    expect(Object.keys(OUTCOME)).toHaveLength(5);
  });
});
