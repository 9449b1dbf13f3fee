// The shapes of the HTTP API (docs/api.md): snake_case as on the wire, times RFC 3339 UTC, `_s` seconds, `_bytes` bytes.

export type SourceState = "idle" | "connecting" | "recording" | "stalled" | "failed" | "refused";
export type SessionState =
  "created" | "recording" | "processing" | "stored" | "anchored" | "completed" | "failed" | "terminated" | "deleted";
/** `removed` comes in events only: the export is gone, and `error` says why. */
export type ExportState = "queued" | "running" | "done" | "failed" | "removed";
export type Verdict = "valid" | "tampered" | "incomplete" | "unverifiable";

export interface User {
  username: string;
  role: string;
}

export interface Claim {
  claimed: boolean;
  device_fingerprint: string;
  /** Null for the moment until the first block is made. */
  chain_genesis: string | null;
}

export interface SignedIn {
  user: User;
  expires_at: string;
}

export interface Retention {
  max_age_s?: number | null;
  max_bytes?: number | null;
}

export interface Source {
  id: string;
  name: string;
  uri: string;
  kind: string;
  audio: boolean;
  enabled: boolean;
  demo: boolean;
  retention: Retention | null;
  state: SourceState;
  state_reason: string | null;
  current_session_id: string | null;
  used_bytes: number;
}

export interface NewSource {
  name: string;
  uri: string;
  audio?: boolean;
  enabled?: boolean;
  retention?: Retention;
}

export interface Encoder {
  name: string;
  hardware: boolean;
  reason: string;
}

export interface DiscoveredSource {
  uri: string;
  name: string;
  kind: string;
  note: string | null;
  already_added: boolean;
}

export interface Discovered {
  items: DiscoveredSource[];
  encoder: Encoder | null;
}

export interface Gap {
  at: string;
  stream_time_s: number;
  length_s: number;
  reason: string;
}

/** A gap in the last 24 h, as evidence-health lists it: with where it belongs. */
export interface HealthGap extends Gap {
  session_id?: string;
  source_id?: string;
  source_name?: string;
}

export interface Codec {
  video: string | null;
  audio: string | null;
  width: number;
  height: number;
  encoder: Encoder | null;
}

/** Where the close of a session stands; what the device does not know (any more) of that block is null. */
export interface Anchor {
  height: number;
  time: string | null;
  witnesses: number | null;
  validators: number | null;
}

export interface Transition {
  state: SessionState;
  at: string;
  reason: string | null;
}

export interface Session {
  id: string;
  source_id: string;
  source_name: string;
  state: SessionState;
  started_at: string;
  ended_at: string | null;
  end_reason: string | null;
  /** Closed chunks only: up to a minute behind while it runs, as are bytes and chunks. */
  duration_s: number;
  bytes: number;
  stored_bytes: number;
  chunks: number;
  gaps: Gap[];
  codec: Codec | null;
  tree_size: number;
  root: string | null;
  anchored: Anchor | null;
  held: { reason: string; since: string } | null;
  transitions: Transition[];
  note: string | null;
}

/** What happened in a session beside its picture. */
export interface SessionEvent {
  time: string;
  stream_time_s: number;
  kind: string;
  fields: Record<string, unknown>;
}

/** A part of a recording, in seconds of it. */
export interface Stretch {
  from_s: number;
  to_s: number;
}

export interface Activity {
  /** Whether the session records what happens at all. */
  known: boolean;
  active: Stretch[];
}

export interface ExportJob {
  id: string;
  session_id: string;
  state: ExportState;
  progress: number;
  bytes: number;
  error: string | null;
  verdict: Verdict | null;
  file_name: string;
  /** The part that was asked for, seconds of the recording; null is its beginning or end. */
  from_s: number | null;
  to_s: number | null;
  sealed: boolean;
  video: boolean;
  created_at: string;
  finished_at: string | null;
  expires_at: string | null;
}

export interface NewExport {
  session_id: string;
  from_s?: number;
  to_s?: number;
  sealed?: boolean;
  video?: boolean;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface ChainHead {
  height: number;
  id: string;
  time: string;
  validators: { id: string; power: number }[];
  witnesses: number;
  genesis: string;
}

export interface Component {
  name: string;
  state: "starting" | "healthy" | "degraded" | "failed" | "stopped";
  since: string;
  restarts: number;
  reason: string | null;
}

export interface Quarantined {
  what: string;
  session_id: string | null;
  from: string | null;
  to: string | null;
}

export interface EvidenceHealth {
  safe: boolean;
  summary: string;
  last_durable_piece_at: string | null;
  last_anchor: { height: number; time: string } | null;
  witnesses: number;
  validators: number;
  open_gaps: number;
  gaps_24h: HealthGap[];
  disk: { free_bytes: number; total_bytes: number; days_left: number | null };
  quarantined: Quarantined[];
  recording_sources: number;
  problems: { severity: string; text: string }[];
}

export interface Device {
  name: string;
  software_version: string;
  device_fingerprint: string;
  chain_genesis: string | null;
  board: { model: string; [key: string]: unknown } | null;
  encoder: Encoder | null;
  temperature_c: number | null;
  throttled: boolean | string | string[] | null;
  tls_fingerprint: string | null;
}
