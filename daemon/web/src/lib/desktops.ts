// Recorded desktops: the shapes of their part of the API, and the words the page has for them. Pure; tested in
// desktops.test.ts.
import type { Tone } from "./words";

export interface FilesAllowed {
  max_bytes: number;
  extensions: string[];
}

/** `false` is not allowed, `true` the usual limit, a number the limit itself. */
export interface Policy {
  keyboard: boolean;
  mouse: boolean | number;
  clipboard_in: boolean | number;
  clipboard_out: boolean | number;
  files_in: boolean | FilesAllowed;
  files_out: boolean | FilesAllowed;
  audio: boolean;
  resize: boolean;
  observers: number;
  record_keys: boolean;
}

export type DesktopState = "stopped" | "ready" | "starting" | "running" | "failed";

export interface Desktop {
  id: string;
  name: string;
  owner: string;
  width: number;
  height: number;
  command: string | null;
  restart: boolean;
  port: number;
  enabled: boolean;
  state: DesktopState;
  state_reason: string | null;
  has_picture: boolean;
  policy: Policy;
  created_at: string;
  session_id: string | null;
}

export interface DesktopList {
  items: Desktop[];
  next_cursor: string | null;
  off: string | null;
  shared_port: number | null;
}

export interface NewDesktop {
  name: string;
  width: number;
  height: number;
  command?: string;
  restart?: boolean;
}

export interface ConnectHelp {
  address: string;
  user: string;
  shared_address: string | null;
  shared_user: string;
  mstsc: string;
  xfreerdp: string;
  remmina: string;
  certificate: string | null;
}

export interface Issued {
  user: string;
  secret: string;
  session_id: string;
  desktop_id: string;
  expires_at: string;
  policy_hash: string;
  connect: ConnectHelp;
}

/** Somebody who may come to a session that runs. */
export interface Invited {
  user: string;
  secret: string;
  session_id: string;
  connect: ConnectHelp;
}

export interface Credential {
  session_id: string;
  desktop_id: string;
  user: string;
  state: "unused" | "expired" | "running" | "used" | "revoked";
  issued_at: string;
  expires_at: string;
  issued_by: string;
  policy: Policy;
}

export type ConnectionState = "connecting" | "connected" | "active" | "idle" | "disconnected" | "terminated";

export interface Connection {
  id: string;
  session_id: string;
  desktop_id: string;
  desktop_name: string;
  owner: string | null;
  state: ConnectionState;
  state_since: string;
  opened_at: string;
  ending: string | null;
  notice_accepted: boolean;
  clients: { user: string; peer: string; since: string; observer: boolean }[];
  watchers: string[];
  policy: Policy;
  granted: string[];
  approvals_waiting: number;
  keys: number;
  refused: number;
}

export interface Approval {
  id: string;
  session_id: string;
  desktop_id: string;
  desktop_name: string;
  user: string;
  capability: string;
  state: "asked" | "granted" | "denied" | "expired";
  asked_at: string;
  expires_at: string;
  answered_at: string | null;
  answered_by: string | null;
}

export interface Usage {
  at: string;
  cpu_percent: number;
  memory_bytes: number;
  tasks: number;
  disk_bytes: number;
  in_bytes_per_s: number;
  out_bytes_per_s: number;
  frames_per_s: number;
  encode_ms: number;
  round_trip_ms: number;
}

export const DESKTOP: Record<DesktopState, { label: string; tone: Tone; plain: string }> = {
  stopped: { label: "Stopped", tone: "idle", plain: "Its port is closed; nobody can connect." },
  ready: { label: "Ready", tone: "good", plain: "Starts when somebody connects." },
  starting: { label: "Starting", tone: "busy", plain: "Its X server and programs are being started." },
  running: { label: "Running", tone: "good", plain: "Its programs run." },
  failed: { label: "Failed", tone: "bad", plain: "It could not be started." },
};

export const CONNECTION: Record<ConnectionState, { label: string; tone: Tone; plain: string }> = {
  connecting: { label: "Connecting", tone: "busy", plain: "A client is signing in." },
  connected: {
    label: "Reading the notice",
    tone: "busy",
    plain: "The worker has not accepted yet that it is recorded.",
  },
  active: { label: "Active", tone: "live", plain: "The worker works and is recorded." },
  idle: { label: "Idle", tone: "live", plain: "Connected and recorded, without input." },
  disconnected: { label: "Disconnected", tone: "warn", plain: "The worker may come back to the same session." },
  terminated: { label: "Ended", tone: "idle", plain: "The session is over." },
};

export const CREDENTIAL: Record<Credential["state"], { label: string; tone: Tone; plain: string }> = {
  unused: { label: "Not used yet", tone: "busy", plain: "" },
  expired: { label: "Expired", tone: "idle", plain: "" },
  running: { label: "In use", tone: "live", plain: "" },
  used: { label: "Used up", tone: "idle", plain: "" },
  revoked: { label: "Revoked", tone: "idle", plain: "" },
};

/** What a worker can ask for, as the end of "may ...". */
export const CAPABILITY: Record<string, string> = {
  keyboard: "use the keyboard",
  mouse: "use the mouse",
  clipboard_in: "paste into the desktop",
  clipboard_out: "copy out of the desktop",
  files_in: "bring files in",
  files_out: "take files out",
  audio: "hear its sound",
  resize: "change its size",
  observers: "be watched by a second client",
};

export const capability = (name: string): string => CAPABILITY[name] ?? name;

/** What a policy allows, in the order of the list above. */
export function allowed(policy: Policy): string[] {
  return Object.entries(CAPABILITY)
    .filter(([name]) => Boolean(policy[name as keyof Policy]))
    .map(([, words]) => words);
}

/** The points of a line for values over time in a box, oldest on the left; the scale ends at `most` or the largest. */
export function line(values: number[], width: number, height: number, most = 0): string {
  const top = Math.max(most, ...values, Number.EPSILON);
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const place = (value: number) => height - (Math.max(0, value) / top) * height;
  return values.map((value, i) => `${(i * step).toFixed(1)},${place(value).toFixed(1)}`).join(" ");
}

/** A name the device takes, from what a person typed. */
export function tidyName(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^[^a-z]+/, "")
    .replace(/-+$/, "")
    .slice(0, 48);
}
