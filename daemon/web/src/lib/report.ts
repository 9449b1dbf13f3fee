// The verifier's report, as `lucid verify --json` and POST verify give it, read with care: a field that is missing or of
// another type is left out rather than shown wrong, and a report without a verdict is no report. Pure; tested beside.
import { count, plural } from "./format";
import type { Gap } from "./types";

export interface Check {
  /** The stable name of what was checked. */
  name: string;
  /** `valid` is a pass; anything else is what it makes of the whole. */
  verdict: string;
  text: string;
}

export interface Report {
  verdict: string;
  session: string;
  recording: {
    source: string;
    address: string;
    start: string;
    end: string;
    durationS: number;
    endReason: string;
    chunks: string;
    form: string;
  } | null;
  device: { name: string; fingerprint: string; software: string } | null;
  chain: { name: string; genesis: string } | null;
  anchor: { statement: string; witnesses: number; validators: number; time: string } | null;
  checks: Check[];
  gaps: Gap[];
  clockJumps: { streamTimeS: number; byS: number }[];
  says: string[];
  doesNotSay: string[];
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : null;
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
const list = (value: unknown): Json[] => (Array.isArray(value) ? value.map(object).filter((one) => one !== null) : []);
const lines = (value: unknown): string[] => (Array.isArray(value) ? value.map(text).filter((one) => one !== "") : []);

function recording(from: Json): Report["recording"] {
  const all = number(from["chunks"]);
  const here = number(from["included_chunks"]);
  return {
    source: text(from["source"]),
    address: text(from["address"]),
    start: text(from["start"]),
    end: text(from["end"]),
    durationS: number(from["duration_s"]),
    endReason: text(from["end_reason"]),
    chunks:
      here === all
        ? all === 1
          ? "its one chunk"
          : `all ${plural(all, "chunk")}`
        : `${count(here)} of ${plural(all, "chunk")}; the others are withheld and counted`,
    form:
      from["disclosed"] === true
        ? number(from["videos"]) > 0
          ? "can be watched, playable video inside"
          : "can be watched"
        : "sealed: nobody can watch it",
  };
}

export function readReport(value: unknown): Report | null {
  const from = object(value);
  if (!from || text(from["verdict"]) === "") return null;
  const device = object(from["device"]);
  const chain = object(from["chain"]);
  const anchor = object(from["anchor"]);
  const recorded = object(from["recording"]);
  return {
    verdict: text(from["verdict"]),
    session: text(from["session"]),
    recording: recorded ? recording(recorded) : null,
    device: device
      ? { name: text(device["name"]), fingerprint: text(device["fingerprint"]), software: text(device["software"]) }
      : null,
    chain: chain ? { name: text(chain["name"]), genesis: text(chain["genesis"]) } : null,
    anchor: anchor
      ? {
          statement: text(anchor["statement"]),
          witnesses: Array.isArray(anchor["witnesses"]) ? anchor["witnesses"].length : 0,
          validators: number(anchor["validators"]),
          time: text(object(anchor["certified"])?.["time"]),
        }
      : null,
    checks: list(from["checks"])
      .map((one) => ({ name: text(one["check"]), verdict: text(one["verdict"]), text: text(one["text"]) }))
      .filter((one) => one.name !== "" || one.text !== ""),
    gaps: list(from["gaps"]).map((one) => ({
      at: text(one["at"]),
      stream_time_s: number(one["stream_time_s"]),
      length_s: number(one["length_s"]),
      reason: text(one["reason"]),
    })),
    clockJumps: list(from["clock_jumps"]).map((one) => ({
      streamTimeS: number(one["stream_time_s"]),
      byS: number(one["by_s"]),
    })),
    says: lines(from["says"]),
    doesNotSay: lines(from["does_not_say"]),
  };
}
