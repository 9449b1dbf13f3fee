// The verifier's report (`lucid verify --json`), read with care: a field that is missing or of another type is left out
// rather than shown wrong, and a report without a verdict is no report. Pure; tested in report.test.ts.
import type { Gap } from "./types";

export interface Finding {
  what: string;
  ok: boolean | null;
  detail: string;
}

export interface Report {
  verdict: string;
  summary: string;
  findings: Finding[];
  gaps: Gap[];
  says: string[];
  doesNotSay: string[];
  facts: { label: string; value: string }[];
  deviceFingerprint: string;
  chainGenesis: string;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {});
const text = (value: unknown): string => (typeof value === "string" ? value : typeof value === "number" ? String(value) : "");
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const lines = (value: unknown): string[] => (typeof value === "string" ? [value] : list(value).map(text)).filter((one) => one !== "");

/** The first of several names that is there: the page reads reports of older and newer verifiers alike. */
function first(from: Json, ...names: string[]): unknown {
  for (const name of names) if (from[name] !== undefined && from[name] !== null) return from[name];
  return undefined;
}

const GOOD = /^(ok|pass|passed|checked|proved|valid|info|note)$/i;
const BAD = /^(bad|fail|failed|error|tampered|incomplete|unverifiable)$/i;

function finding(value: unknown): Finding | null {
  if (typeof value === "string") return { what: value, ok: null, detail: "" };
  const from = object(value);
  const what = text(first(from, "what", "check", "name", "title", "text"));
  const detail = text(first(from, "detail", "message", "reason"));
  if (what === "" && detail === "") return null;
  const mark = first(from, "ok", "passed", "outcome", "status", "severity", "verdict", "class");
  const ok = typeof mark === "boolean" ? mark : GOOD.test(text(mark)) ? true : BAD.test(text(mark)) ? false : null;
  return { what: what || detail, ok, detail: what ? detail : "" };
}

export function readReport(value: unknown): Report | null {
  const from = object(value);
  const verdict = text(from["verdict"]);
  if (verdict === "") return null;
  const device = first(from, "device_fingerprint", "device");
  const chain = first(from, "chain_genesis", "genesis", "chain");
  const facts: { label: string; value: string }[] = [];
  const add = (label: string, shown: unknown) => {
    const one = text(shown);
    if (one !== "") facts.push({ label, value: one });
  };
  add("Session", first(from, "session_id", "session"));
  add("Source", object(from["source"])["name"] ?? from["source"]);
  add("Started", first(from, "started_at", "start"));
  add("Ended", first(from, "ended_at", "end"));
  add("Chunks in the file", first(from, "chunks_present", "chunks"));
  add("Chunks withheld", from["chunks_withheld"]);
  add("Witnesses", typeof from["witnesses"] === "object" ? undefined : from["witnesses"]);
  return {
    verdict,
    summary: text(first(from, "summary", "plain", "explanation")),
    findings: list(first(from, "findings", "checks", "checked")).map(finding).filter((one) => one !== null),
    gaps: list(from["gaps"]).map((gap) => {
      const one = object(gap);
      return { at: text(one["at"]), stream_time_s: Number(one["stream_time_s"]) || 0, length_s: Number(one["length_s"]) || 0, reason: text(one["reason"]) };
    }),
    says: lines(first(from, "says", "means")),
    doesNotSay: lines(first(from, "does_not_say", "limits")),
    facts,
    deviceFingerprint: typeof device === "string" ? device : text(object(device)["fingerprint"]),
    chainGenesis: typeof chain === "string" ? chain : text(object(chain)["genesis"]),
  };
}
