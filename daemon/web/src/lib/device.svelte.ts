// What the page knows of the device: loaded once, kept fresh by events, polled while the event stream is down.
// One instance; views read it and never fetch the same thing themselves.
import { Problem, api, asProblem, whenSignedOut } from "./api";
import { listen, type EventName } from "./events";
import type { ChainHead, Claim, Component, Device, EvidenceHealth, ExportJob, Session, Source, User } from "./types";
import { isRunning } from "./words";

/** Poll interval while events do not arrive, and the slow refresh of figures no event carries, in milliseconds. */
const POLL_MS = 3_000;
const REFRESH_MS = 15_000;
/** Without any answer for this long the page says that it knows nothing. */
const LOST_AFTER_MS = 10_000;
/** Most running recordings kept at hand; a device has tens of sources, not hundreds. */
const RUNNING_MOST = 200;

type Phase = "asking" | "unreachable" | "claim" | "sign-in" | "in";

export class DeviceState {
  phase = $state<Phase>("asking");
  claim = $state<Claim | null>(null);
  user = $state<User | null>(null);
  /** Set after the claim in this very page: the two values to write down are shown once more. */
  justClaimed = $state(false);
  /** Why sign-in is asked for, when it was not the first thing. */
  signedOutReason = $state("");

  sources = $state<Source[] | null>(null);
  running = $state<Session[]>([]);
  exports = $state<ExportJob[]>([]);
  health = $state<EvidenceHealth | null>(null);
  head = $state<ChainHead | null>(null);
  components = $state<Component[]>([]);
  device = $state<Device | null>(null);
  problem = $state<Problem | null>(null);

  streaming = $state(false);
  lastHeardMs = $state(Date.now());
  /** The present, once a second: every "ago" on the page hangs on it. */
  nowMs = $state(Date.now());
  /** Text for screen readers, announced politely. */
  announcement = $state("");

  connected = $derived(this.nowMs - this.lastHeardMs < LOST_AFTER_MS);

  #stop: (() => void) | null = null;
  #watchers = new Set<(name: EventName, data: unknown) => void>();
  #pending = new Map<string, ReturnType<typeof setTimeout>>();
  #busy = false;

  constructor() {
    whenSignedOut(() => this.#signedOut("Your sign-in has ended. Sign in again to go on where you were."));
    if (typeof window !== "undefined") setInterval(() => (this.nowMs = Date.now()), 1000);
  }

  /** Finds out whether the device is claimed and we are signed in; retried until it answers. */
  async begin(): Promise<void> {
    try {
      this.claim = await api.claimState();
      this.problem = null;
      if (!this.claim.claimed) {
        this.phase = "claim";
        return;
      }
      this.enter((await api.signedIn()).user);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status === 401) {
        this.phase = "sign-in";
        return;
      }
      this.problem = problem;
      this.phase = "unreachable";
      setTimeout(() => void this.begin(), POLL_MS);
    }
  }

  enter(user: User): void {
    this.user = user;
    this.phase = "in";
    this.signedOutReason = "";
    this.#heard();
    this.#stop?.();
    const unlisten = listen({
      onEvent: (name, data) => this.#apply(name, data),
      onState: (open) => {
        // Whatever happened while nobody listened is fetched, not guessed.
        if (open && !this.streaming) void this.refresh();
        this.streaming = open;
      },
    });
    const poll = setInterval(() => {
      if (!this.streaming) void this.refresh();
    }, POLL_MS);
    const slow = setInterval(() => void this.refresh(), REFRESH_MS);
    const pulse = setInterval(() => {
      // Nobody looks at a hidden page. A failure shows in the missing answer; refresh() has the words for it.
      if (document.visibilityState === "visible") this.#fetchHealth().catch(() => {});
    }, POLL_MS);
    const shown = () => {
      if (document.visibilityState === "visible") void this.refresh();
    };
    document.addEventListener("visibilitychange", shown);
    this.#stop = () => {
      unlisten();
      clearInterval(poll);
      clearInterval(slow);
      clearInterval(pulse);
      document.removeEventListener("visibilitychange", shown);
    };
    void this.refresh();
  }

  async signOut(): Promise<void> {
    try {
      await api.signOut();
    } catch (error) {
      if (asProblem(error).unreachable) throw error;
    }
    this.#signedOut("");
  }

  #signedOut(reason: string): void {
    if (this.phase !== "in") return;
    this.#stop?.();
    this.#stop = null;
    this.streaming = false;
    this.user = null;
    this.justClaimed = false;
    this.signedOutReason = reason;
    // What the last user saw is not left lying in memory for the next.
    this.sources = null;
    this.running = [];
    this.exports = [];
    this.health = null;
    this.device = null;
    this.components = [];
    this.phase = "sign-in";
  }

  /** Everything the shell and home show, in one round; a part that fails does not take the others down. */
  async refresh(): Promise<void> {
    if (this.#busy || this.phase !== "in") return;
    this.#busy = true;
    const results = await Promise.allSettled([
      this.#fetchSources(),
      this.#take(api.sessions({ state: "recording", limit: RUNNING_MOST }), (page) => (this.running = page.items)),
      this.#fetchHealth(),
      this.#take(api.exports(), (page) => (this.exports = page.items)),
      this.#take(api.head(), (head) => (this.head = head)),
      this.#take(api.components(), (page) => (this.components = page.items)),
      this.#take(api.device(), (device) => (this.device = device)),
    ]);
    this.#busy = false;
    if (this.phase !== "in") return;
    const failed = results.find((r): r is PromiseRejectedResult => r.status === "rejected");
    this.problem = failed ? asProblem(failed.reason) : null;
  }

  /** Keeps an answer, unless whoever asked has been signed out meanwhile. */
  async #take<T>(asked: Promise<T>, keep: (answer: T) => void): Promise<void> {
    const user = this.user;
    const answer = await asked;
    if (this.user !== user || this.phase !== "in") return;
    keep(answer);
    this.#heard();
  }
  #fetchHealth(): Promise<void> {
    return this.#take(api.health(), (health) => (this.health = health));
  }
  #fetchSources(): Promise<void> {
    return this.#take(api.sources(), (page) => (this.sources = page.items));
  }

  /** Lets a view hear events too; returns how to stop. */
  watch(handler: (name: EventName, data: unknown) => void): () => void {
    this.#watchers.add(handler);
    return () => this.#watchers.delete(handler);
  }

  announce(text: string): void {
    this.announcement = "";
    // A live region speaks when its text changes, so the same text twice needs the empty one between.
    setTimeout(() => (this.announcement = text), 50);
  }

  /** The source and session objects an action answered with take effect at once. */
  putSource(source: Source): void {
    this.sources = upsert(this.sources ?? [], source);
  }
  dropSource(id: string): void {
    this.sources = (this.sources ?? []).filter((one) => one.id !== id);
  }
  putSession(session: Session): void {
    this.running = isRunning(session)
      ? upsert(this.running, session)
      : this.running.filter((one) => one.id !== session.id);
    for (const watcher of this.#watchers) watcher("session", session);
  }
  putExport(job: ExportJob): void {
    this.exports = upsert(this.exports, job, true);
  }
  dropExport(id: string): void {
    this.exports = this.exports.filter((one) => one.id !== id);
  }

  runningOf(source: Source): Session | null {
    return (
      this.running.find((one) => one.id === source.current_session_id) ??
      this.running.find((one) => one.source_id === source.id) ??
      null
    );
  }

  #heard(): void {
    this.lastHeardMs = Date.now();
    this.nowMs = Date.now();
  }

  /** Runs soon and once, however many events ask for it. */
  #soon(what: string, run: () => Promise<unknown>): void {
    if (this.#pending.has(what)) return;
    this.#pending.set(
      what,
      setTimeout(() => {
        this.#pending.delete(what);
        run().catch(() => {});
      }, 300),
    );
  }

  #apply(name: EventName, data: unknown): void {
    this.#heard();
    const body = typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {};
    switch (name) {
      case "source":
        if (typeof body["id"] === "string" && typeof body["state"] === "string" && typeof body["name"] === "string")
          this.putSource(data as Source);
        else this.#soon("sources", () => this.#fetchSources());
        break;
      case "session":
        if (typeof body["id"] === "string" && Array.isArray(body["gaps"])) {
          const session = data as Session;
          this.running = isRunning(session)
            ? upsert(this.running, session)
            : this.running.filter((one) => one.id !== session.id);
        }
        this.#soon("sources", () => this.#fetchSources());
        break;
      case "export":
        if (typeof body["id"] === "string" && typeof body["progress"] === "number") this.#export(data as ExportJob);
        else this.#soon("exports", () => this.#take(api.exports(), (page) => (this.exports = page.items)));
        break;
      case "component":
        if (typeof body["name"] === "string")
          this.components = upsertBy(this.components, data as Component, (one) => one.name);
        break;
      case "block":
        this.#soon("head", () => this.#take(api.head(), (head) => (this.head = head)));
        this.#soon("health", () => this.#fetchHealth());
        break;
      case "gap":
        this.#soon("health", () => this.#fetchHealth());
        break;
      case "health":
        if (typeof body["safe"] === "boolean" && typeof body["disk"] === "object") this.health = data as EvidenceHealth;
        else this.#soon("health", () => this.#fetchHealth());
        break;
      case "lagged":
        void this.refresh();
        break;
    }
    for (const watcher of this.#watchers) watcher(name, data);
  }

  #export(job: ExportJob): void {
    const before = this.exports.find((one) => one.id === job.id);
    if (job.state === "removed") {
      this.dropExport(job.id);
      if (before) this.announce(`Export ${job.file_name} is gone: ${job.error ?? "removed"}`);
      return;
    }
    this.putExport(job);
    if (before?.state !== job.state && job.state === "done") this.announce(`Export ${job.file_name} is ready`);
    if (before?.state !== job.state && job.state === "failed") this.announce(`Export ${job.file_name} failed`);
  }
}

function upsertBy<T>(list: T[], item: T, key: (one: T) => string, first = false): T[] {
  const at = list.findIndex((one) => key(one) === key(item));
  if (at < 0) return first ? [item, ...list] : [...list, item];
  return list.map((one, i) => (i === at ? item : one));
}
function upsert<T extends { id: string }>(list: T[], item: T, first = false): T[] {
  return upsertBy(list, item, (one) => one.id, first);
}

export const device = new DeviceState();
