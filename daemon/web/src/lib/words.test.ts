import { describe, expect, it } from "vitest";
import type { EvidenceHealth } from "./types";
import { SESSION, answer, codecName, encoderWords, known, lengthS, witnessWords } from "./words";

const plain = (text: string) => text.replaceAll("\u00a0", " ");
const health: EvidenceHealth = {
  safe: true,
  summary: "All is stored.",
  last_durable_piece_at: null,
  last_anchor: null,
  witnesses: 1,
  validators: 1,
  open_gaps: 0,
  gaps_24h: [],
  disk: { free_bytes: 1, total_bytes: 2, days_left: null },
  quarantined: [],
  recording_sources: 1,
  problems: [],
};

describe("is my evidence safe?", () => {
  it("yes only when the device says so and is heard", () => {
    expect(answer(health, true).tone).toBe("good");
    expect(answer(health, false).tone).toBe("bad");
    expect(answer(health, false).headline).toMatch(/not known/i);
    expect(answer(null, true).tone).toBe("idle");
    expect(answer({ ...health, safe: false }, true).tone).toBe("bad");
  });
  it("an open gap or a warning lowers the yes, a note does not", () => {
    expect(answer({ ...health, open_gaps: 1 }, true).tone).toBe("warn");
    expect(answer({ ...health, problems: [{ severity: "warning", text: "disk" }] }, true).tone).toBe("warn");
    expect(answer({ ...health, problems: [{ severity: "info", text: "one witness" }] }, true).tone).toBe("good");
  });
});

describe("honest words", () => {
  it("one witness is called one witness", () => {
    const one = witnessWords(1, 1);
    expect(plain(one.figure)).toBe("1 of 1 witness");
    expect(one.meaning).toBe("only this device vouches, and one node is no quorum");
    expect(witnessWords(1, 4).meaning).toMatch(/no other/);
    expect(witnessWords(3, 4).meaning).toBe("this device and 2 others vouch");
  });
  it("software encoding is called software encoding", () => {
    expect(encoderWords({ name: "x264enc", hardware: false, reason: "no V4L2 encoder" }).label).toBe(
      "Software encoding (x264enc)",
    );
    expect(encoderWords({ name: "camera", hardware: false, reason: "" }).label).toMatch(/passed through/i);
  });
  it("a running recording is as long as the clock says, a closed one as its record says", () => {
    const now = Date.parse("2026-11-21T12:00:30Z");
    const session = { state: "recording" as const, started_at: "2026-11-21T12:00:00Z", duration_s: 0 };
    expect(lengthS(session, now)).toBe(30);
    expect(lengthS({ ...session, state: "completed", duration_s: 12 }, now)).toBe(12);
  });
  it("codecs by the names people know", () => {
    expect(["avc1.640028", "hvc1.1.6", "mp4a.40.2", "xyz", null].map(codecName)).toEqual([
      "H.264",
      "H.265",
      "AAC",
      "xyz",
      "none",
    ]);
  });
  it("an unknown state is shown, not hidden", () => {
    expect(known(SESSION, "archived").label).toBe("archived");
    expect(known(SESSION, "stored").label).toBe("Stored");
  });
});
