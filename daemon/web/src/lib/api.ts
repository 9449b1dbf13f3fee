// The only place that speaks HTTP: same-origin JSON, RFC 9457 problems as one error type, and 401 as an event.
import type {
  Allowance,
  Balance,
  Estimate,
  HistoryEntry,
  LedgerState,
  NewPayout,
  NewProposal,
  PaymentsStatus,
  Payout,
  PayoutPage,
  Proposal,
  Receipt,
  Reward,
  Signers,
  Staking,
  StakingOrder,
  Statement,
  Wallet,
  Why,
} from "./payments";
import type { LogLevel, LogLine, ResetPreview, System } from "./system";
import type { Updates } from "./updates";
import type {
  Activity,
  ChainHead,
  Claim,
  Component,
  Device,
  Discovered,
  EvidenceHealth,
  ExportJob,
  NewExport,
  NewSource,
  Page,
  Session,
  SessionEvent,
  SignedIn,
  Source,
} from "./types";
import type {
  Approval,
  ConnectHelp,
  Connection,
  Credential,
  Desktop,
  DesktopList,
  Invited,
  Issued,
  NewDesktop,
  Policy,
  Usage,
} from "./desktops";

export const BASE = "/api/v1";
/** A request that has not been answered after this many milliseconds is reported as unreachable. */
const TIMEOUT_MS = 15_000;
/** Items asked for per page of a list. */
export const PAGE_ITEMS = 50;

/** What went wrong, in the words of the device (RFC 9457) or of this page when the device said nothing. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly slug: string,
    readonly title: string,
    readonly detail: string,
    readonly fields: Record<string, string> = {},
    readonly retryAfterS: number | null = null,
  ) {
    super(detail ? `${title}: ${detail}` : title);
    this.name = "Problem";
  }

  /** True when the device could not be reached at all, as opposed to having refused. */
  get unreachable(): boolean {
    return this.status === 0;
  }
}

/** Any thrown value as a Problem, so that views have one thing to show. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new Problem(0, "page", "This page made a mistake", text);
}

interface ProblemBody {
  type?: unknown;
  title?: unknown;
  detail?: unknown;
  errors?: unknown;
}

/** Reads a problem document; anything else becomes a problem that names the status. */
export function problemFrom(status: number, body: unknown, retryAfter: string | null): Problem {
  const doc: ProblemBody = typeof body === "object" && body !== null ? body : {};
  const type = typeof doc.type === "string" ? doc.type : "";
  const slug = type.startsWith("urn:lucid:problem:") ? type.slice("urn:lucid:problem:".length) : type || "unknown";
  const title = typeof doc.title === "string" && doc.title !== "" ? doc.title : `The device answered ${status}`;
  const detail = typeof doc.detail === "string" ? doc.detail : "";
  const fields: Record<string, string> = {};
  if (Array.isArray(doc.errors)) {
    for (const one of doc.errors as unknown[]) {
      if (typeof one !== "object" || one === null) continue;
      const { field, message } = one as { field?: unknown; message?: unknown };
      if (typeof field === "string" && typeof message === "string") fields[field] = message;
    }
  }
  const seconds = retryAfter === null ? NaN : Number.parseInt(retryAfter, 10);
  return new Problem(status, slug, title, detail, fields, Number.isFinite(seconds) ? seconds : null);
}

let onSignedOut: () => void = () => {};
/** Called whenever the device answers 401 to a request that should have been signed in. */
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler;
}

interface Call {
  method?: string;
  body?: unknown;
  /** A 401 is an answer here (sign-in itself), not a lost session. */
  expect401?: boolean;
  signal?: AbortSignal;
}

async function call<T>(path: string, { method = "GET", body, expect401 = false, signal }: Call = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(
      0,
      "unreachable",
      "The device does not answer",
      "Check that it is switched on and that this computer is on the same network. This page keeps trying.",
    );
  }
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  let data: unknown = null;
  if (text !== "") {
    try {
      data = JSON.parse(text);
    } catch {
      data = null;
    }
  }
  if (!response.ok) {
    if (response.status === 401 && !expect401) onSignedOut();
    throw problemFrom(response.status, data, response.headers.get("Retry-After"));
  }
  return data as T;
}

const id = encodeURIComponent;

/** A query string from the defined, non-empty values. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== null && value !== "") parts.set(key, String(value));
  }
  const text = parts.toString();
  return text === "" ? "" : `?${text}`;
}

export interface SessionFilter {
  source?: string;
  state?: string;
  from?: string;
  to?: string;
  limit?: number;
  cursor?: string | null;
}

export interface EventFilter {
  q?: string;
  kind?: string;
  from?: number;
  to?: number;
  limit?: number;
  cursor?: string | null;
}

export const api = {
  claimState: () => call<Claim>("/claim", { expect401: true }),
  claim: (code: string, username: string, password: string) =>
    call<SignedIn>("/claim", { method: "POST", body: { code, username, password }, expect401: true }),
  signedIn: () => call<SignedIn>("/session-token", { expect401: true }),
  signIn: (username: string, password: string) =>
    call<SignedIn>("/session-token", { method: "POST", body: { username, password }, expect401: true }),
  signOut: () => call<void>("/session-token", { method: "DELETE", expect401: true }),

  sources: () => call<Page<Source>>("/sources?limit=1000"),
  discovered: () => call<Discovered>("/sources/discovered"),
  addSource: (source: NewSource) => call<Source>("/sources", { method: "POST", body: source }),
  changeSource: (source: string, change: Partial<NewSource>) =>
    call<Source>(`/sources/${id(source)}`, { method: "PATCH", body: change }),
  removeSource: (source: string) => call<void>(`/sources/${id(source)}`, { method: "DELETE" }),

  sessions: (filter: SessionFilter, signal?: AbortSignal) =>
    call<Page<Session>>(`/sessions${query({ limit: PAGE_ITEMS, ...filter })}`, signal ? { signal } : {}),
  session: (session: string) => call<Session>(`/sessions/${id(session)}`),
  start: (source: string, note?: string) =>
    call<Session>("/sessions", { method: "POST", body: note ? { source_id: source, note } : { source_id: source } }),
  stop: (session: string) => call<Session>(`/sessions/${id(session)}/stop`, { method: "POST" }),
  hold: (session: string, reason: string) =>
    call<Session>(`/sessions/${id(session)}/hold`, { method: "PUT", body: { reason } }),
  release: (session: string) => call<Session | undefined>(`/sessions/${id(session)}/hold`, { method: "DELETE" }),
  remove: (session: string) => call<Session>(`/sessions/${id(session)}`, { method: "DELETE" }),

  happened: (session: string, filter: EventFilter) =>
    call<Page<SessionEvent>>(`/sessions/${id(session)}/events${query({ ...filter })}`),
  activity: (session: string) => call<Activity>(`/sessions/${id(session)}/activity`),

  exports: () => call<Page<ExportJob>>("/exports?limit=1000"),
  export: (job: string) => call<ExportJob>(`/exports/${id(job)}`),
  startExport: (job: NewExport) => call<ExportJob>("/exports", { method: "POST", body: job }),
  removeExport: (job: string) => call<void>(`/exports/${id(job)}`, { method: "DELETE" }),

  desktops: () => call<DesktopList>("/desktops?limit=1000"),
  addDesktop: (desktop: NewDesktop) => call<Desktop>("/desktops", { method: "POST", body: desktop }),
  changeDesktop: (desktop: string, change: Partial<NewDesktop>) =>
    call<Desktop>(`/desktops/${id(desktop)}`, { method: "PATCH", body: change }),
  removeDesktop: (desktop: string) => call<void>(`/desktops/${id(desktop)}`, { method: "DELETE" }),
  startDesktop: (desktop: string) => call<Desktop>(`/desktops/${id(desktop)}/start`, { method: "POST" }),
  stopDesktop: (desktop: string) => call<Desktop>(`/desktops/${id(desktop)}/stop`, { method: "POST" }),
  issue: (desktop: string, user: string, expires_in_s: number, policy: Partial<Policy>) =>
    call<Issued>(`/desktops/${id(desktop)}/credentials`, { method: "POST", body: { user, expires_in_s, policy } }),
  credentials: (desktop: string) => call<Page<Credential>>(`/desktops/${id(desktop)}/credentials`),
  revoke: (desktop: string, session: string) =>
    call<Credential>(`/desktops/${id(desktop)}/credentials/${id(session)}`, { method: "DELETE" }),
  connectHelp: (desktop: string) => call<ConnectHelp>(`/desktops/${id(desktop)}/connect`),
  desktopUsage: (desktop: string) => call<{ items: Usage[] }>(`/desktops/${id(desktop)}/usage`),
  connections: () => call<Page<Connection>>("/connections"),
  terminate: (connection: string) => call<void>(`/connections/${id(connection)}`, { method: "DELETE" }),
  transfer: (connection: string, user: string) =>
    call<Issued>(`/connections/${id(connection)}/transfer`, { method: "POST", body: { user } }),
  inviteObserver: (connection: string, user: string) =>
    call<Invited>(`/connections/${id(connection)}/observers`, { method: "POST", body: { user } }),
  approvals: () => call<Page<Approval>>("/approvals"),
  answer: (approval: string, decision: "grant" | "deny") =>
    call<Approval>(`/approvals/${id(approval)}`, { method: "POST", body: { decision } }),
  payments: {
    status: () => call<PaymentsStatus>("/payments/status"),
    wallets: () => call<Wallet[]>("/payments/wallets"),
    addWallet: (wallet: { name: string; kind: "hot" | "watch-only"; address?: string }) =>
      call<Wallet>("/payments/wallets", { method: "POST", body: wallet }),
    changeWallet: (wallet: string, change: { name?: string; archived?: boolean }) =>
      call<Wallet>(`/payments/wallets/${id(wallet)}`, { method: "PATCH", body: change }),
    balance: (wallet: string) => call<Balance>(`/payments/wallets/${id(wallet)}/balance`),
    history: (wallet: string) => call<HistoryEntry[]>(`/payments/wallets/${id(wallet)}/history`),
    signers: (wallet: string) => call<Signers>(`/payments/wallets/${id(wallet)}/signers`),
    allowances: (wallet: string, spender: string) =>
      call<{ items: Allowance[] }>(`/payments/wallets/${id(wallet)}/allowances${query({ spender })}`),
    allow: (wallet: string, order: { idempotency_key: string; spender: string; amount_micro: number }) =>
      call<Receipt>(`/payments/wallets/${id(wallet)}/allowances`, { method: "POST", body: order }),
    ledger: () => call<LedgerState>("/payments/ledger"),
    propose: (proposal: NewProposal) => call<Proposal>("/payments/proposals", { method: "POST", body: proposal }),
    showProposal: (proposals: string[]) =>
      call<Proposal>("/payments/proposals/show", { method: "POST", body: { proposals } }),
    signProposal: (signature: { proposal: string; wallet?: string; signature?: string }) =>
      call<Proposal>("/payments/proposals/sign", { method: "POST", body: signature }),
    sendProposal: (proposal: string) =>
      call<Receipt>("/payments/proposals/send", { method: "POST", body: { proposals: [proposal] } }),
    payouts: (filter: { state?: string; after?: string | null; limit?: number }) =>
      call<PayoutPage>(`/payments/payouts${query(filter)}`),
    payout: (payout: string) => call<Payout>(`/payments/payouts/${id(payout)}`),
    why: (payout: string) => call<Why>(`/payments/payouts/${id(payout)}/why`),
    estimate: (payout: NewPayout) => call<Estimate>("/payments/estimate", { method: "POST", body: payout }),
    request: (payout: NewPayout) => call<Payout>("/payments/payouts", { method: "POST", body: payout }),
    approve: (payout: string) => call<Payout>(`/payments/payouts/${id(payout)}/approve`, { method: "POST" }),
    refuse: (payout: string, reason: string) =>
      call<Payout>(`/payments/payouts/${id(payout)}/refuse`, { method: "POST", body: { reason } }),
    retry: (payout: string) => call<Payout>(`/payments/payouts/${id(payout)}/retry`, { method: "POST" }),
    staking: (wallet: string) => call<Staking>(`/payments/staking/${id(wallet)}`),
    stake: (order: StakingOrder) => call<Receipt>("/payments/staking", { method: "POST", body: order }),
    statement: (month: string, payee: string) => call<Statement>(`/payments/statements${query({ month, payee })}`),
    rewards: () => call<Page<Reward>>("/payments/rewards"),
  },

  system: {
    read: () => call<System>("/system"),
    logs: (filter: { q?: string; level?: LogLevel; before?: number; limit?: number }) =>
      call<{ items: LogLine[]; more: boolean }>(`/system/logs${query(filter)}`),
    restart: (what: "recorder" | "device") => call<void>("/system/restart", { method: "POST", body: { what } }),
    shutdown: () => call<void>("/system/shutdown", { method: "POST" }),
    resetPreview: () => call<ResetPreview>("/system/factory-reset"),
    factoryReset: (confirm: string) => call<void>("/system/factory-reset", { method: "POST", body: { confirm } }),
    updates: () => call<Updates>("/system/updates"),
    checkUpdates: () => call<Updates>("/system/updates/check", { method: "POST" }),
    installUpdate: (how: { allow_older: boolean; at_once: boolean }) =>
      call<Updates>("/system/updates/install", { method: "POST", body: how }),
    cancelUpdate: () => call<Updates>("/system/updates/cancel", { method: "POST" }),
  },

  head: () => call<ChainHead>("/chain/head"),
  components: () => call<Page<Component>>("/components"),
  health: () => call<EvidenceHealth>("/evidence-health"),
  device: () => call<Device>("/device"),
};

export const urls = {
  statement: (month: string, payee: string, format: "csv" | "html") =>
    `${BASE}/payments/statements${query({ month, payee, format })}`,
  playlist: (session: string) => `${BASE}/sessions/${id(session)}/media/playlist.m3u8`,
  live: (session: string) => `${BASE}/sessions/${id(session)}/live`,
  proof: (session: string) => `${BASE}/sessions/${id(session)}/proof`,
  thumbnail: (desktop: string, at: number) => `${BASE}/desktops/${id(desktop)}/thumbnail?at=${at}`,
  rdpFile: (desktop: string, user: string) => `${BASE}/desktops/${id(desktop)}/rdp-file${query({ user })}`,
  download: (job: string) => `${BASE}/exports/${id(job)}/download`,
  followLogs: (q: string, level: LogLevel) => `${BASE}/system/logs/follow${query({ q, level })}`,
  supportBundle: `${BASE}/system/support-bundle`,
  updateBundle: (allowOlder: boolean) =>
    `${BASE}/system/updates/bundle${query({ allow_older: allowOlder ? "true" : null })}`,
  events: `${BASE}/events`,
  verify: `${BASE}/verify`,
};
