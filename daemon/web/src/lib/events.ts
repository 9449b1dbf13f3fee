// Server-sent events with their own reconnection: the browser's gives up for good on a 503, and a page that silently
// stopped updating would be a page that lies. Back-off with jitter; the caller polls while `onState(false)` holds.
import { urls } from "./api";

export const EVENT_NAMES = [
  "session",
  "source",
  "export",
  "component",
  "block",
  "gap",
  "health",
  "desktop",
  "connection",
  "approval",
  "desktop_sign_in",
  "desktop_alert",
  "update",
  "lagged",
] as const;
export type EventName = (typeof EVENT_NAMES)[number];

/** First and longest wait before the next attempt, in milliseconds. */
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MOST_MS = 15_000;

/** Wait before attempt `n` (from 0): doubling, capped, and spread by `random` in 0..1 so that many pages do not return at once. */
export function backoffMs(n: number, random: number): number {
  const full = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(n, 16));
  return Math.round(full / 2 + (full / 2) * random);
}

export interface Listener {
  onEvent: (name: EventName, data: unknown) => void;
  /** True when the stream is open, false as soon as it is not. */
  onState: (open: boolean) => void;
}

/** Opens the stream and keeps it open until the returned function is called. */
export function listen({ onEvent, onState }: Listener): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let ended = false;

  const again = () => {
    source?.close();
    source = null;
    onState(false);
    if (ended || timer !== undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        open();
      },
      backoffMs(attempt++, Math.random()),
    );
  };
  const open = () => {
    source = new EventSource(urls.events);
    source.onopen = () => {
      attempt = 0;
      onState(true);
    };
    source.onerror = again;
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (event: MessageEvent<string>) => {
        let data: unknown = null;
        try {
          data = JSON.parse(event.data);
        } catch {
          // An event without a body (such as `lagged`) still says that something changed.
        }
        onEvent(name, data);
      });
    }
  };
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}
