import { describe, expect, test } from "vitest";
import { LINES_SHOWN, destroyed, diskWords, upWords, withLine, type LogLine, type System } from "./system";

const line = (number: number): LogLine => ({ number, at: "2026-11-21T01:02:03Z", level: "info", part: "x", text: "y" });

describe("what the page says about the machine", () => {
  test("a disk says what is free, and that nothing can be written", () => {
    const disk = { holds: "recordings", path: "/", total_bytes: 4e9, free_bytes: 1e9, read_only: true } as const;
    expect(diskWords(disk)).toMatch(/free of .*25.*%.*read-only/);
    expect(diskWords({ ...disk, total_bytes: 0, free_bytes: 0, read_only: false })).not.toContain("NaN");
  });
  test("a machine that does not say since when it runs is not guessed", () => {
    const system = { recorder_up_s: 60, machine_up_s: null } as System;
    expect(upWords(system)).not.toContain("machine");
    expect(upWords({ ...system, machine_up_s: 120 })).toContain("machine");
  });
  test("lines come once and in order, and the oldest leave", () => {
    let lines: LogLine[] = [];
    for (let n = 1; n <= LINES_SHOWN + 5; n++) lines = withLine(lines, line(n));
    lines = withLine(lines, line(3));
    expect([lines.length, lines[0]?.number]).toEqual([LINES_SHOWN, 6]);
  });
  test("a reset names what there is and nothing that is not there", () => {
    const preview = {
      confirm: "Gate",
      recordings: 1,
      held: 0,
      recording_bytes: 5e6,
      sources: 2,
      desktops: 0,
      also: ["the key"],
      stays: [],
      restarts: true,
    };
    const said = destroyed(preview);
    expect(said[0]).toMatch(/^1 recording, /);
    expect(said).toContain("2 sources");
    expect(said.at(-1)).toBe("the key");
    expect(said.join()).not.toContain("desktop");
  });
});
