import { describe, expect, it } from "vitest";
import sample from "../../e2e/fixture/report.json";
import { readReport } from "./report";

const plain = (text: string | undefined) => text?.replaceAll("\u00a0", " ");

describe("readReport", () => {
  it("reads what the verifier says", () => {
    const got = readReport(sample);
    expect(got?.verdict).toBe("valid");
    expect(got?.checks.map((one) => one.name)).toEqual(["manifest", "chunks", "anchor"]);
    expect(plain(got?.recording?.chunks)).toBe("all 5 chunks");
    expect(got?.anchor).toMatchObject({ witnesses: 1, validators: 1 });
    expect(got?.gaps[0]).toMatchObject({ length_s: 20, reason: "network" });
    expect(got?.doesNotSay).toHaveLength(2);
  });
  it("says what is withheld", () => {
    const got = readReport({ ...sample, recording: { ...sample.recording, included_chunks: 2, disclosed: false } });
    expect(plain(got?.recording?.chunks)).toBe("2 of 5 chunks; the others are withheld and counted");
    expect(got?.recording?.form).toMatch(/sealed/);
  });
  it("a report of a file that could not even be opened has little, and that is shown", () => {
    const got = readReport({
      verdict: "tampered",
      session: null,
      device: null,
      chain: null,
      recording: null,
      anchor: null,
      checks: [{ check: "container", verdict: "tampered", text: "no ZIP" }],
      says: ["x"],
    });
    expect(got).toMatchObject({ device: null, chain: null, recording: null, anchor: null, gaps: [], says: ["x"] });
    expect(got?.checks[0]?.verdict).toBe("tampered");
  });
  it.each([null, [], "valid", {}, { verdict: 3 }, { verdict: "" }])("%j is no report", (value) =>
    expect(readReport(value)).toBeNull(),
  );
  it("wrong types are left out, not shown wrong", () => {
    const got = readReport({
      verdict: "valid",
      checks: [1, null, { check: 3 }],
      gaps: "no",
      says: [1, "a"],
      anchor: { witnesses: 4 },
    });
    expect(got).toMatchObject({ checks: [], gaps: [], says: ["a"], anchor: { witnesses: 0 } });
  });
});
