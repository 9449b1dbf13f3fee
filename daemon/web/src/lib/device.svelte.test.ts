import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DeviceState } from "./device.svelte";
import type { ExportJob, Session, Source } from "./types";

/** An event stream the test speaks through. */
class Stream {
  static last: Stream | null = null;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  #listeners = new Map<string, (event: { data: string }) => void>();
  constructor(readonly url: string) {
    Stream.last = this;
  }
  addEventListener(name: string, listener: (event: { data: string }) => void) {
    this.#listeners.set(name, listener);
  }
  say(name: string, data: unknown) {
    this.#listeners.get(name)?.({ data: typeof data === "string" ? data : JSON.stringify(data) });
  }
  close() {}
}

let answers: Record<string, unknown>;
let asked: string[];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  answers = {
    sources: { items: [source("src-1")] },
    sessions: { items: [] },
    exports: { items: [] },
    "evidence-health": { safe: true },
    "chain/head": { height: 1 },
    components: { items: [] },
    device: { name: "x" },
  };
  asked = [];
  vi.stubGlobal("EventSource", Stream);
  vi.stubGlobal("document", { visibilityState: "visible", addEventListener() {}, removeEventListener() {} });
  vi.stubGlobal("fetch", async (url: string) => {
    const path = url.replace("/api/v1/", "").split("?")[0] ?? "";
    asked.push(path);
    const body = answers[path];
    if (body === undefined) throw new TypeError("failed to fetch");
    if (typeof body === "number") return new Response(JSON.stringify({ title: "no" }), { status: body });
    return new Response(JSON.stringify(body), { status: 200 });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const source = (id: string, more: Partial<Source> = {}) =>
  ({ id, name: id, state: "idle", current_session_id: null, ...more }) as Source;
const session = (id: string, state: string) => ({ id, source_id: "src-1", state, gaps: [] }) as unknown as Session;

async function entered(): Promise<DeviceState> {
  const state = new DeviceState();
  state.enter({ username: "a", role: "admin" });
  await vi.advanceTimersByTimeAsync(10);
  return state;
}

describe("what the page knows", () => {
  it("is loaded once signed in, and again when the stream opens", async () => {
    const state = await entered();
    expect(state.sources?.map((one) => one.id)).toEqual(["src-1"]);
    const before = asked.length;
    Stream.last?.onopen?.();
    await vi.advanceTimersByTimeAsync(10);
    expect(state.streaming).toBe(true);
    expect(asked.length).toBeGreaterThan(before);
  });

  it("follows sources, sessions and exports by events", async () => {
    const state = await entered();
    Stream.last?.say("source", source("src-2", { name: "new" }));
    expect(state.sources?.map((one) => one.id)).toEqual(["src-1", "src-2"]);
    Stream.last?.say("session", session("s", "recording"));
    expect(state.running.map((one) => one.id)).toEqual(["s"]);
    Stream.last?.say("session", session("s", "stored"));
    expect(state.running).toEqual([]);
    const job = { id: "exp-1", session_id: "s", state: "running", progress: 0.4, file_name: "a.lucid" } as ExportJob;
    Stream.last?.say("export", job);
    Stream.last?.say("export", { ...job, state: "done", progress: 1 });
    expect(state.exports).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    expect(state.announcement).toBe("Export a.lucid is ready");
    Stream.last?.say("export", { ...job, state: "removed", error: "its recording was deleted" });
    expect(state.exports).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    expect(state.announcement).toBe("Export a.lucid is gone: its recording was deleted");
  });

  it("asks again when an event says too little, or some were lost", async () => {
    const state = await entered();
    asked = [];
    Stream.last?.say("source", { id: "src-9" });
    Stream.last?.say("source", "not json");
    await vi.advanceTimersByTimeAsync(400);
    expect(asked.filter((path) => path === "sources")).toHaveLength(1);
    asked = [];
    Stream.last?.say("lagged", { lost: 3 });
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toContain("sources");
    expect(state.sources?.map((one) => one.id)).toEqual(["src-1"]);
  });

  it("polls while the stream is down", async () => {
    const state = await entered();
    Stream.last?.onopen?.();
    Stream.last?.onerror?.();
    expect(state.streaming).toBe(false);
    await vi.advanceTimersByTimeAsync(10);
    answers["sources"] = { items: [source("src-3")] };
    await vi.advanceTimersByTimeAsync(3100);
    expect(state.sources?.map((one) => one.id)).toEqual(["src-3"]);
  });

  it("a device that answers nothing is not heard from", async () => {
    const state = await entered();
    const heard = state.lastHeardMs;
    answers = {};
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state.lastHeardMs).toBeLessThan(heard + 1000);
    expect(state.problem?.unreachable).toBe(true);
  });

  it("forgets everything when the sign-in has ended", async () => {
    const state = await entered();
    answers["evidence-health"] = 401;
    await vi.advanceTimersByTimeAsync(3100);
    expect(state.phase).toBe("sign-in");
    expect(state.sources).toBeNull();
    expect(state.signedOutReason).not.toBe("");
  });
});

describe("the beginning", () => {
  it.each([
    ["unclaimed", { claim: { claimed: false } }, "claim"],
    ["claimed, signed out", { claim: { claimed: true }, "session-token": 401 }, "sign-in"],
    [
      "claimed, signed in",
      { claim: { claimed: true }, "session-token": { user: { username: "a", role: "admin" } } },
      "in",
    ],
    ["not there", {}, "unreachable"],
  ])("%s", async (_name, given, phase) => {
    Object.assign(answers, given);
    const state = new DeviceState();
    await state.begin();
    expect(state.phase).toBe(phase);
  });
});
