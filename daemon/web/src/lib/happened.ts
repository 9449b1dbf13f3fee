// What happened in a recorded session beside its picture, in words; and where it was idle. Pure; tested in
// happened.test.ts.
import type { SessionEvent, Stretch } from "./types";

/** Idle time shorter than this is not worth a jump, in seconds. */
const WORTH_SKIPPING_S = 8;
/** What is shown before something happens, and after it, when idle time is skipped, in seconds. */
const AROUND_S = 2;

/** Kinds of events as the filter offers them. */
export const KINDS: Record<string, string> = {
  window: "Windows",
  keys: "Keys",
  pointer: "Pointer",
  clipboard: "Clipboard",
  file: "Files",
  connection: "Connections",
  approval: "Approvals",
  refused: "Refusals",
  state: "States",
  notice_accepted: "Notice accepted",
  alert: "Alerts",
  lost: "Lost events",
};

const OTHERS: Record<string, string> = {
  policy: "Policy",
  policy_changed: "Policy changed",
  notice_shown: "Notice shown",
  offered: "Offered",
  redaction: "Key recording",
  resized: "Size",
};

/** The name of a kind; a kind this page does not know keeps its own. */
export function kindName(kind: string): string {
  return KINDS[kind] ?? OTHERS[kind] ?? kind.replaceAll("_", " ");
}

function text(event: SessionEvent, field: string): string {
  const value = event.fields[field];
  return typeof value === "string" ? value : "";
}

function number(event: SessionEvent, field: string): number {
  const value = event.fields[field];
  return typeof value === "number" ? value : 0;
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

function size(bytes: number): string {
  if (bytes < 1000) return plural(bytes, "byte");
  const unit = bytes < 1e6 ? ([1e3, "kB"] as const) : ([1e6, "MB"] as const);
  return `${(bytes / unit[0]).toFixed(1)} ${unit[1]}`;
}

/** A hash, short enough to be compared at a glance; an export has it whole. */
function hash(event: SessionEvent, field: string): string {
  const whole = text(event, field);
  return whole.length > 16 ? `${whole.slice(0, 8)}…${whole.slice(-4)}` : whole;
}

/** What an event says, in a line. Everything in it may come from a stranger and is shown as text. */
export function says(event: SessionEvent): string {
  const way = text(event, "direction") === "out" ? "out of the desktop" : "into the desktop";
  switch (event.kind) {
    case "connection":
      return [`${text(event, "user")} ${text(event, "change")}`, text(event, "peer"), text(event, "reason")]
        .filter((part) => part !== "")
        .join(", ");
    case "state":
      return text(event, "state");
    case "policy":
      return `what this session may, with the hash ${hash(event, "hash")}`;
    case "policy_changed":
      return `from ${hash(event, "before")} to ${hash(event, "hash")}`;
    case "notice_shown":
      return `that the session is recorded, its words with the hash ${hash(event, "text")}`;
    case "offered":
      return `${text(event, "content")} to go ${way}`;
    case "window":
      return (
        [text(event, "title"), text(event, "application")].filter((part) => part !== "").join(" – ") ||
        "none has the focus"
      );
    case "keys": {
      const hidden = number(event, "hidden");
      const keys = `${plural(number(event, "count"), "key")} pressed`;
      return hidden > 0 ? `${keys}, ${hidden.toLocaleString("en")} of them not recorded at the worker's wish` : keys;
    }
    case "pointer": {
      const parts = [
        [number(event, "clicks"), "click"],
        [number(event, "moves"), "movement"],
        [number(event, "wheel"), "turn of the wheel", "turns of the wheel"],
      ] as const;
      const said = parts.filter(([count]) => count > 0).map(([count, one, many]) => plural(count, one, many));
      return said.join(", ") || "no movement";
    }
    case "clipboard":
      return `${text(event, "content")}, ${size(number(event, "bytes"))} ${way}`;
    case "file":
      return `${text(event, "name")}, ${size(number(event, "bytes"))} ${way}`;
    case "refused":
      return `${text(event, "capability").replaceAll("_", " ")}: ${text(event, "denial")}, ${plural(number(event, "count"), "time")}`;
    case "approval":
      return `${text(event, "capability").replaceAll("_", " ")} ${text(event, "approval")} by ${text(event, "by")}`;
    case "notice_accepted":
      return `by ${text(event, "user")}`;
    case "redaction":
      return event.fields["on"] === true ? "keys are not recorded from here" : "keys are recorded again";
    case "resized":
      return `${number(event, "width")} × ${number(event, "height")} px`;
    case "alert":
      return text(event, "what");
    case "lost":
      return `${plural(number(event, "count"), "event")} came too fast to be kept`;
    default: {
      const of = Object.entries(event.fields).filter(([, value]) => typeof value !== "object");
      return of.map(([name, value]) => `${name} ${String(value)}`).join(", ");
    }
  }
}

/** Where to go on from `atS` when idle time is skipped: shortly before something happens next. Null where something
 * happens now or soon. Seconds of the recording. */
export function skipTo(active: readonly Stretch[], atS: number, lengthS: number): number | null {
  let nextS = lengthS;
  for (const one of active) {
    if (atS < one.from_s - AROUND_S) {
      nextS = one.from_s;
      break;
    }
    if (atS < one.to_s + AROUND_S) return null;
  }
  // At the end there is nothing to wait for: the last picture is shown.
  const toS = nextS === lengthS ? Math.max(atS, lengthS - 1) : nextS - AROUND_S;
  return toS - atS >= WORTH_SKIPPING_S ? toS : null;
}

/** How much of a recording is idle by the same measure, in seconds. */
export function idleS(active: readonly Stretch[], lengthS: number): number {
  let idle = 0;
  let at = 0;
  for (const one of [...active, { from_s: lengthS, to_s: lengthS }]) {
    const gap = one.from_s - AROUND_S - at;
    if (gap >= WORTH_SKIPPING_S) idle += gap;
    at = Math.max(at, one.to_s + AROUND_S);
  }
  return idle;
}
