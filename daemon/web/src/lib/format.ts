// Figures as people read them: every one with its unit, every time with its zone. Pure; tested in format.test.ts.

/** Shown where there is nothing to say, instead of an empty cell. */
export const NOTHING = "–";
/** A no-break space: keeps a figure and its unit on one line. */
const SP = "\u00a0";

const finite = (value: number | null | undefined): value is number =>
  typeof value === "number" && Number.isFinite(value);

/** `1234567` -> "1,234,567". */
export function count(value: number | null | undefined): string {
  return finite(value) ? Math.round(value).toLocaleString("en-GB") : NOTHING;
}

/** "1 gap", "3 gaps"; the plural is given where it is not a plain s. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)}${SP}${n === 1 ? one : many}`;
}

/** Bytes in decimal units (kB = 1000 bytes, as disks are sold), three significant figures. */
export function bytes(value: number | null | undefined): string {
  if (!finite(value)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let size = Math.abs(value);
  let unit = 0;
  // 999.5 would round to 1000 of the smaller unit, so it is carried over.
  while (unit < units.length - 1 && size >= (unit === 0 ? 1000 : 999.5)) {
    size /= 1000;
    unit += 1;
  }
  return `${value < 0 ? "-" : ""}${figures(size, unit === 0)}${SP}${units[unit]}`;
}

/** Bit rate from bytes and seconds: "4.1 Mbit/s". */
export function rate(sizeBytes: number, seconds: number): string {
  if (!finite(sizeBytes) || !finite(seconds) || seconds <= 0) return NOTHING;
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
  let value = (sizeBytes * 8) / seconds;
  let unit = 0;
  while (unit < units.length - 1 && value >= (unit === 0 ? 1000 : 999.5)) {
    value /= 1000;
    unit += 1;
  }
  return `${figures(value, unit === 0)}${SP}${units[unit]}`;
}

function figures(value: number, whole: boolean): string {
  if (whole || value >= 99.95) return String(Math.round(value));
  if (value >= 9.995) return value.toFixed(1).replace(/\.0$/, "");
  return value.toFixed(2).replace(/\.?0+$/, "");
}

/** A length of time in its two largest units: "0.4 s", "41 s", "2 min 05 s", "3 h 12 min", "5 d 4 h". */
export function duration(seconds: number | null | undefined): string {
  if (!finite(seconds)) return NOTHING;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 9.95) {
    const text = seconds.toFixed(1).replace(/\.0$/, "");
    return `${seconds > 0 && text === "0" ? "< 0.1" : text}${SP}s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}${SP}s`;
  const pad = (n: number) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}${SP}min${SP}${pad(whole % 60)}${SP}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}${SP}h${SP}${pad(minutes % 60)}${SP}min`;
  const hours = Math.round(seconds / 3600);
  const days = `${count(Math.floor(hours / 24))}${SP}d`;
  return hours % 24 === 0 ? days : `${days}${SP}${hours % 24}${SP}h`;
}

/** A position in a recording as a player shows it: "0:07", "12:40", "3:02:09". */
export function clock(seconds: number): string {
  if (!finite(seconds) || seconds < 0) return "0:00";
  const whole = Math.floor(seconds);
  const pad = (n: number) => String(n).padStart(2, "0");
  const h = Math.floor(whole / 3600);
  const m = Math.floor(whole / 60) % 60;
  return h > 0 ? `${h}:${pad(m)}:${pad(whole % 60)}` : `${m}:${pad(whole % 60)}`;
}

/** How long ago, or how soon: "just now", "6 s ago", "3 min ago", "in 2 h", "5 days ago". */
export function relative(at: string | number | null | undefined, nowMs: number): string {
  const ms = typeof at === "number" ? at : at ? Date.parse(at) : NaN;
  if (!Number.isFinite(ms)) return "never";
  const seconds = (nowMs - ms) / 1000;
  const size = Math.abs(seconds);
  if (size < 1.5) return "just now";
  let text: string;
  if (size < 59.5) text = `${Math.round(size)}${SP}s`;
  else if (size < 3570) text = `${Math.round(size / 60)}${SP}min`;
  else if (size < 47.5 * 3600) text = `${Math.round(size / 3600)}${SP}h`;
  else text = `${count(size / 86400)}${SP}days`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

const cache = new Map<string, Intl.DateTimeFormat>();
function formatter(key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const kept = cache.get(key);
  if (kept) return kept;
  const made = new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...options });
  cache.set(key, made);
  return made;
}

function date(at: string | number | null | undefined): Date | null {
  if (at === null || at === undefined || at === "") return null;
  const value = new Date(at);
  return Number.isNaN(value.getTime()) ? null : value;
}

/** The offset this browser shows times in at that moment: "UTC", "UTC+1", "UTC+5:30". */
export function zone(at: string | number = Date.now()): string {
  const value = date(at) ?? new Date();
  const minutes = -value.getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60;
  return `UTC${minutes < 0 ? "-" : "+"}${Math.floor(size / 60)}${rest === 0 ? "" : `:${String(rest).padStart(2, "0")}`}`;
}

/** Date, time and zone: "21 Nov 2026, 14:02:31 UTC+1". */
export function dateTime(at: string | number | null | undefined): string {
  const value = date(at);
  if (!value) return NOTHING;
  const text = formatter("dt", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(value);
  return `${text} ${zone(value.getTime())}`;
}

/** Date only: "21 Nov 2026". */
export function day(at: string | number | null | undefined): string {
  const value = date(at);
  return value ? formatter("d", { day: "numeric", month: "short", year: "numeric" }).format(value) : NOTHING;
}

/** Time of day with the zone: "14:02:31 UTC+1". */
export function time(at: string | number | null | undefined): string {
  const value = date(at);
  return value ? `${wallClock(value.getTime())} ${zone(value.getTime())}` : NOTHING;
}

/** Time of day without the zone, for axes that name the zone once; seconds on request. */
export function wallClock(atMs: number, seconds = true): string {
  return seconds
    ? formatter("hms", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(atMs)
    : formatter("hm", { hour: "2-digit", minute: "2-digit" }).format(atMs);
}

/** A share as a whole percentage; a job that is not done never reads 100 %. */
export function percent(share: number): string {
  if (!finite(share)) return NOTHING;
  const bounded = Math.min(1, Math.max(0, share));
  return `${bounded < 1 ? Math.min(99, Math.floor(bounded * 100)) : 100}${SP}%`;
}

/** Days the disk lasts, with what the number means when it cannot be told. */
export function daysLeft(days: number | null | undefined): string {
  if (!finite(days)) return "not known";
  if (days < 1) return "less than 1 day";
  if (days >= 3650) return "over 10 years";
  return plural(Math.floor(days), "day");
}

/** A message as a sentence: the device's begin small and end without a stop, so that they can be put together. */
export function sentence(text: string | null | undefined): string {
  const plain = (text ?? "").trim();
  if (plain === "") return "";
  return plain.charAt(0).toUpperCase() + plain.slice(1) + (/[.!?…]$/.test(plain) ? "" : ".");
}

/** "1 of 1 witness", "3 of 4 witnesses". */
export function witnesses(seen: number, all: number): string {
  return `${count(seen)} of ${count(all)} ${all === 1 ? "witness" : "witnesses"}`;
}

/** A hash or key in groups of eight, as people copy and compare them. */
export function grouped(hash: string): string[] {
  const plain = hash.replace(/[\s:-]/g, "");
  return /^[0-9a-fA-F]{16,}$/.test(plain) ? (plain.toLowerCase().match(/.{1,8}/g) ?? [plain]) : hash.split(/\s+/);
}

/** The first characters of an id, enough to tell two apart in one list. */
export function short(text: string | null | undefined, length = 8): string {
  if (!text) return NOTHING;
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}

/** A local `datetime-local` value as RFC 3339 UTC, or empty. */
export function localToUtc(value: string): string {
  const at = date(value);
  return at ? at.toISOString() : "";
}

/** RFC 3339 UTC as the value of a `datetime-local` field. */
export function utcToLocal(value: string): string {
  const at = date(value);
  if (!at) return "";
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
