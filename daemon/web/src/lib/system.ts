// The device as a machine: shapes of /api/v1/system, and what the page says about them. Pure; tested in system.test.ts.
import { bytes, duration, percent } from "./format";

export interface Control {
  possible: boolean;
  reason: string | null;
}

export interface Disk {
  holds: "recordings" | "system";
  path: string;
  total_bytes: number;
  free_bytes: number;
  read_only: boolean;
}

export interface System {
  software_version: string;
  host_name: string;
  kernel: string;
  recorder_up_s: number;
  machine_up_s: number | null;
  memory_bytes: number | null;
  memory_limits: { binding: boolean; reason: string | null };
  disks: Disk[];
  restart_recorder: Control;
  power: Control;
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface LogLine {
  number: number;
  at: string;
  level: LogLevel;
  part: string;
  text: string;
}

export interface ResetPreview {
  confirm: string;
  recordings: number;
  held: number;
  recording_bytes: number;
  sources: number;
  desktops: number;
  also: string[];
  stays: string[];
  restarts: boolean;
}

/** Lines shown at once; the oldest leave the page, not the device. */
export const LINES_SHOWN = 2000;

/** One disk in a sentence. */
export function diskWords(disk: Disk): string {
  const free = `${bytes(disk.free_bytes)} free of ${bytes(disk.total_bytes)}`;
  const share = disk.total_bytes > 0 ? ` (${percent(disk.free_bytes / disk.total_bytes)})` : "";
  return `${free}${share}${disk.read_only ? ", read-only" : ""}`;
}

/** Since when, in a sentence. */
export function upWords(system: System): string {
  const recorder = `recorder for ${duration(system.recorder_up_s)}`;
  return system.machine_up_s === null ? recorder : `${recorder}, machine for ${duration(system.machine_up_s)}`;
}

/** The lines after one more came: in order, none twice, the oldest gone beyond the limit. */
export function withLine(lines: LogLine[], line: LogLine): LogLine[] {
  const last = lines.at(-1);
  if (last !== undefined && line.number <= last.number) return lines;
  const all = [...lines, line];
  return all.length > LINES_SHOWN ? all.slice(all.length - LINES_SHOWN) : all;
}

/** What a reset destroys, one sentence each, most precious first. */
export function destroyed(preview: ResetPreview): string[] {
  const some = (n: number, one: string, many: string) => (n === 0 ? [] : [`${n} ${n === 1 ? one : many}`]);
  const recordings = some(preview.recordings, "recording", "recordings").map((text) =>
    preview.recording_bytes > 0 ? `${text}, ${bytes(preview.recording_bytes)}` : text,
  );
  return [
    ...recordings,
    ...some(preview.sources, "source", "sources"),
    ...some(preview.desktops, "desktop with the files of its workers", "desktops with the files of their workers"),
    ...preview.also,
  ];
}
