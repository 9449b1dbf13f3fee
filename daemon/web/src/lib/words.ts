// States of the device in plain words. Every enum value of the API has its sentence here, so that no view invents one.
import type {
  ChainHead,
  Component,
  Encoder,
  EvidenceHealth,
  Session,
  SessionState,
  Source,
  SourceState,
  Verdict,
} from "./types";
import { witnesses } from "./format";

/** How a state is to be seen: `good` and `busy` are normal, `warn` needs a look, `bad` needs a hand. */
export type Tone = "good" | "busy" | "live" | "warn" | "bad" | "idle";

export const SOURCE: Record<SourceState, { label: string; tone: Tone; plain: string }> = {
  idle: { label: "Not recording", tone: "idle", plain: "Ready. Nothing is recorded until you start it." },
  connecting: { label: "Connecting", tone: "busy", plain: "Waiting for the first picture." },
  recording: { label: "Recording", tone: "live", plain: "Every second is sealed before it reaches the disk." },
  stalled: {
    label: "No picture",
    tone: "warn",
    plain: "The source stopped sending. The gap is counted and Lucid keeps trying.",
  },
  failed: { label: "Failed", tone: "bad", plain: "The source cannot be opened. Lucid keeps trying." },
  refused: { label: "Refused", tone: "bad", plain: "Lucid refuses to record this source until the cause is gone." },
};

export const SESSION: Record<SessionState, { label: string; tone: Tone; plain: string }> = {
  created: { label: "Starting", tone: "busy", plain: "The recording has its id; no picture yet." },
  recording: { label: "Recording", tone: "live", plain: "Pictures are being sealed and stored." },
  processing: { label: "Closing", tone: "busy", plain: "The last pieces are being written and hashed." },
  stored: { label: "Stored", tone: "busy", plain: "Complete on disk; the final anchor is on its way." },
  anchored: { label: "Anchored", tone: "good", plain: "The chain vouches for the whole recording." },
  completed: {
    label: "Completed",
    tone: "good",
    plain: "Stored, anchored and signed. It can no longer change unseen.",
  },
  failed: {
    label: "Failed",
    tone: "bad",
    plain: "No picture ever came. That it was tried is on record.",
  },
  terminated: {
    label: "Cut off",
    tone: "warn",
    plain: "Ended by an operator or because its policy no longer held. What was recorded still verifies.",
  },
  deleted: {
    label: "Deleted",
    tone: "idle",
    plain: "The key is destroyed; the proof that it existed stays on the chain.",
  },
};

export const VERDICT: Record<Verdict, { label: string; tone: Tone; plain: string }> = {
  valid: {
    label: "Valid",
    tone: "good",
    plain: "Everything in the file is proved, and nothing is missing that should be there.",
  },
  tampered: {
    label: "Tampered",
    tone: "bad",
    plain: "Something in the file contradicts a hash, a signature or the order of things.",
  },
  incomplete: {
    label: "Incomplete",
    tone: "warn",
    plain: "What is there checks out, but something that should be there is missing.",
  },
  unverifiable: {
    label: "Cannot be verified",
    tone: "warn",
    plain: "The file cannot be judged: there is no anchor, or the chain or version is not known.",
  },
};

export const COMPONENT: Record<Component["state"], { label: string; tone: Tone }> = {
  starting: { label: "Starting", tone: "busy" },
  healthy: { label: "Healthy", tone: "good" },
  degraded: { label: "Degraded", tone: "warn" },
  failed: { label: "Failed", tone: "bad" },
  stopped: { label: "Stopped", tone: "idle" },
};

export const KIND: Record<string, string> = {
  v4l2: "USB or board camera",
  libcamera: "Raspberry Pi camera",
  rtsp: "Network camera",
  rtsps: "Network camera, encrypted",
  file: "File played as if live",
  screen: "Screen of this device",
  test: "Demo source",
  demo: "Demo source",
};

/** A state this page does not know is shown as the device wrote it, not hidden. */
export function known<K extends string, V extends { label: string; tone: Tone }>(
  table: Record<K, V>,
  state: string,
): V | { label: string; tone: Tone; plain: string } {
  return (table as Record<string, V>)[state] ?? { label: state, tone: "warn", plain: "" };
}

/** What the witnesses mean: how many, and who that leaves to trust. */
export function witnessWords(seen: number, all: number): { figure: string; meaning: string } {
  const figure = witnesses(seen, all);
  if (all <= 1) return { figure, meaning: "only this device vouches, and one node is no quorum" };
  const others = Math.max(0, seen - 1);
  if (others === 0) return { figure, meaning: "no other device vouches yet" };
  return { figure, meaning: others === 1 ? "this device and 1 other vouch" : `this device and ${others} others vouch` };
}

/** The encoder named as what it is: nothing is called hardware that is not. */
export function encoderWords(encoder: Encoder | null | undefined): { label: string; reason: string } {
  if (!encoder) return { label: "Not known yet", reason: "" };
  // The device names what encoded the pictures: the camera or file itself, or an encoder of its own.
  if (/^(camera|file|pass\w*)$/i.test(encoder.name))
    return {
      label: `Passed through as the ${/file/i.test(encoder.name) ? "file" : "camera"} encoded it`,
      reason: encoder.reason,
    };
  return { label: `${encoder.hardware ? "Hardware" : "Software"} encoding (${encoder.name})`, reason: encoder.reason };
}

export function isRunning(session: Pick<Session, "state">): boolean {
  return session.state === "created" || session.state === "recording";
}

/** How long a recording is: while it runs its record lags behind the clock, so the clock counts. Seconds. */
export function lengthS(session: Pick<Session, "state" | "started_at" | "duration_s">, nowMs: number): number {
  return isRunning(session)
    ? Math.max(session.duration_s, (nowMs - Date.parse(session.started_at)) / 1000)
    : session.duration_s;
}

/** Is something of this source being recorded, or tried to be? */
export function isActive(source: Source): boolean {
  return source.current_session_id !== null && source.state !== "idle";
}

export type Answer = { tone: "good" | "warn" | "bad" | "idle"; headline: string; text: string };

/** The answer to "Is my evidence safe?". Not hearing from the device is an answer of its own: unknown. */
export function answer(health: EvidenceHealth | null, connected: boolean): Answer {
  if (!connected || health === null) {
    return health === null && connected
      ? { tone: "idle", headline: "Asking the device…", text: "" }
      : {
          tone: "bad",
          headline: "Not known: the device does not answer",
          text: "The figures below are from before the connection was lost. Recording does not depend on this page.",
        };
  }
  if (!health.safe) return { tone: "bad", headline: "No, not all of it", text: health.summary };
  // Only warnings lower a yes; notes (one witness, nothing recording) are part of an honest yes.
  const warned = health.problems.some((p) => p.severity !== "info" && p.severity !== "note");
  if (warned || health.open_gaps > 0) return { tone: "warn", headline: "Yes, but have a look", text: health.summary };
  return { tone: "good", headline: "Yes, your evidence is safe", text: health.summary };
}

export function headWords(head: ChainHead | null): string {
  return head ? `Block ${head.height.toLocaleString("en-GB")}` : "No block yet";
}

/** RFC 6381 codec strings by the names people know; the string itself where there is no such name. */
const CODECS: [RegExp, string][] = [
  [/^avc[13]/, "H.264"],
  [/^(hvc1|hev1)/, "H.265"],
  [/^av01/, "AV1"],
  [/^vp0?9/, "VP9"],
  [/^(mjpg|jpeg|mp4v\.6c)/i, "Motion JPEG"],
  [/^mp4a\.(40|67)/i, "AAC"],
  [/^opus/i, "Opus"],
];
export function codecName(codec: string | null | undefined): string {
  if (!codec) return "none";
  return CODECS.find(([pattern]) => pattern.test(codec))?.[1] ?? codec;
}
