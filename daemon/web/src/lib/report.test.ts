import { describe, expect, it } from "vitest";
import { readReport } from "./report";

describe("readReport", () => {
  it("reads verdict, findings, gaps and limits", () => {
    const got = readReport({
      verdict: "valid",
      summary: "Everything is proved.",
      findings: [{ what: "manifest signature", ok: true, detail: "ed25519" }, { what: "chunk 3", ok: false }, "a line"],
      gaps: [{ at: "2026-11-21T12:00:00Z", length_s: 20, reason: "no network" }],
      says: ["a"],
      does_not_say: ["whose device it is"],
      device_fingerprint: "ab",
      chain: { genesis: "cd" },
      session_id: "0192",
    });
    expect(got?.findings).toEqual([
      { what: "manifest signature", ok: true, detail: "ed25519" },
      { what: "chunk 3", ok: false, detail: "" },
      { what: "a line", ok: null, detail: "" },
    ]);
    expect(got?.gaps[0]?.length_s).toBe(20);
    expect(got).toMatchObject({ deviceFingerprint: "ab", chainGenesis: "cd", doesNotSay: ["whose device it is"], facts: [{ label: "Session", value: "0192" }] });
  });
  it("a finding without an outcome is not called passed", () => {
    expect(readReport({ verdict: "valid", findings: [{ what: "x", outcome: "who knows" }] })?.findings[0]?.ok).toBeNull();
  });
  it.each([null, [], "valid", {}, { verdict: 3.5, x: 1 }.x])("%j is no report", (value) => expect(readReport(value)).toBeNull());
});
