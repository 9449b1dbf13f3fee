// Payments as the API has them (docs/api.md): amounts are whole numbers of the smallest unit, times are milliseconds.
// The words for their states stand here too, so that no view invents one.
import type { Tone } from "./words";

export type PayoutState =
  "requested" | "held" | "approved" | "signed" | "broadcast" | "seen" | "confirmed" | "failed" | "expired";
export type Route = "direct" | "router" | "kyc";
export type WalletKind = "hot" | "watch-only" | "multisig" | "hardware";
export type Resource = "bandwidth" | "energy";

export interface NodeHealth {
  name: string;
  state: "healthy" | "behind" | "rate-limited" | "down" | "unknown";
  head: number | null;
  solid: number | null;
  latency_ms: number | null;
  skew_ms: number | null;
  trouble: string | null;
}

export interface ProcessStatus {
  state: "ready" | "locked" | "no-node" | "draining" | "stopped";
  trouble: string | null;
  network: string;
  test_money: boolean;
  version: string;
  nodes: NodeHealth[];
  open_payouts: number;
  awaiting_approval: number;
  open_micro: number;
  paid_micro: number;
  now_ms: number;
}

export interface PaymentsStatus {
  presence: "off" | "down" | "up";
  detail: string;
  status: ProcessStatus | null;
}

export interface Step {
  state: PayoutState;
  at_ms: number;
  cause: string;
}

export interface Basis {
  credits: number;
  rate_micro: number;
  from_height: number;
  to_height: number;
}

export interface Payout {
  id: string;
  idempotency_key: string;
  payee: string;
  amount_micro: number;
  reason: string;
  evidence_hash: string | null;
  route: Route;
  kind: "payment" | "node-reward";
  basis: Basis | null;
  wallet: string | null;
  batch: string | null;
  state: PayoutState;
  since_ms: number;
  cause: string;
  txid: string | null;
  fee_estimate_sun: number | null;
  fee_sun: number | null;
  used: { energy: number; energy_sun: number; bandwidth: number; bandwidth_sun: number } | null;
  steps: Step[];
}

export interface PayoutPage {
  payouts: Payout[];
  next: string | null;
}

export interface Why {
  payout: string;
  state: PayoutState;
  because: string;
  next: string;
  until_ms: number | null;
}

export interface NewPayout {
  idempotency_key: string;
  payee: string;
  amount_micro: number;
  reason: string;
  wallet?: string;
}

export interface Estimate {
  net_micro: number;
  fee_micro: number;
  energy: number;
  bandwidth: number;
  burned_sun: number;
  needs_approval: boolean;
  held_because: string | null;
}

export interface Wallet {
  id: string;
  name: string;
  kind: WalletKind;
  address: string;
  created_ms: number;
  archived: boolean;
  cannot_sign_because: string | null;
  pays: boolean;
}

export interface Meter {
  limit: number;
  used: number;
}

export interface Balance {
  wallet: string;
  active: boolean;
  trx_sun: number;
  staked_sun: number;
  usdt_micro: number;
  reserved_micro: number;
  energy: Meter;
  bandwidth: Meter;
  as_of_ms: number;
  age_ms: number;
  block: number;
}

export interface HistoryEntry {
  at_ms: number;
  what: string;
  txid: string | null;
  payout: string | null;
  in_micro: number;
  out_micro: number;
  fee_sun: number;
}

export interface Staking {
  wallet: string;
  energy_sun: number;
  bandwidth_sun: number;
  maturing: { resource: Resource; amount_sun: number; matures_ms: number }[];
  withdrawable_sun: number;
  delegations: { receiver: string; resource: Resource; amount_sun: number; locked_until_ms: number | null }[];
  votes: { address: string; votes: number }[];
  votes_available: number;
  reward_sun: number;
  /** Orders that are not final yet. */
  under_way: Receipt[];
  claimable_ms: number | null;
  minimum_sun: number;
  as_of_ms: number;
}

/** What became of a transaction that was signed or sent. */
export interface Receipt {
  txid: string;
  state: string;
  detail: string;
  /** Who ordered it, if somebody was named. */
  by?: string | null;
}

export type StakingOrder = { wallet: string; idempotency_key: string } & (
  | { action: "freeze" | "unfreeze"; resource: Resource; amount_sun: number }
  | { action: "vote"; votes: { address: string; votes: number }[] }
  | { action: "withdraw" | "cancel-unfreezes" | "claim-reward" }
  | { action: "delegate"; resource: Resource; amount_sun: number; receiver: string; lock: boolean }
  | { action: "undelegate"; resource: Resource; amount_sun: number; receiver: string }
);

export interface KeyHolder {
  address: string;
  weight: number;
  /** The wallet here that has this address. */
  wallet: string | null;
  here: boolean;
  signed: boolean;
}

export interface Permission {
  id: number;
  name: string;
  threshold: number;
  keys: KeyHolder[];
  pays: boolean;
}

export interface Signers {
  wallet: string;
  active: boolean;
  kind: WalletKind;
  own_key_suffices: boolean;
  permissions: Permission[];
  ledger_path: string | null;
}

export interface LedgerState {
  presence: "not-built" | "absent" | "closed" | "ready";
  detail: string;
  app: string | null;
  custom_contracts: boolean | null;
}

export interface Allowance {
  spender: string;
  amount_micro: number;
  unlimited: boolean;
  router: boolean;
}

export type ProposalAction =
  | { action: "pay-usdt"; to: string; amount_micro: number }
  | { action: "pay-trx"; to: string; amount_sun: number }
  | { action: "allow"; spender: string; amount_micro: number };

export type NewProposal = { wallet: string; permission: number } & ProposalAction;

export interface Proposal {
  /** What is passed on: the transaction and the signatures it has. */
  proposal: string;
  qr: { side: number; path: string } | null;
  does: string;
  txid: string;
  account: string;
  wallet: string | null;
  permission: number;
  weight: number;
  threshold: number;
  enough: boolean;
  keys: KeyHolder[];
  node: { enough: boolean; weight: number; said: string | null } | null;
  expires_ms: number;
  state: "open" | "expired" | "broadcast" | "seen" | "confirmed" | "failed";
  detail: string;
}

export interface StatementLine {
  at_ms: number;
  payout: string;
  payee: string;
  reason: string;
  basis: Basis | null;
  gross_micro: number;
  fee_micro: number;
  net_micro: number;
  burned_sun: number;
  state: PayoutState;
  because: string;
  txid: string | null;
}

export interface Statement {
  month: string;
  payee: string | null;
  lines: StatementLine[];
  net_micro: number;
  fee_micro: number;
  open_micro: number;
}

/** What a node earned in a span of hours, and what became of it. */
export interface Reward {
  node: string;
  from: string;
  to: string;
  credits: number;
  rate_micro: number;
  amount_micro: number | null;
  payee: string | null;
  payout: string | null;
  waits: string | null;
  statement: string;
  evidence_hash: string;
}

export const PAYOUT: Record<PayoutState, { label: string; tone: Tone; plain: string }> = {
  requested: { label: "Requested", tone: "busy", plain: "Recorded. The rules look at it next." },
  held: { label: "Waiting", tone: "warn", plain: "Something must happen first; the cause says what." },
  approved: { label: "Allowed", tone: "busy", plain: "May be paid; it is signed next." },
  signed: { label: "Signed", tone: "busy", plain: "The signed bytes are kept. Only these are ever sent." },
  broadcast: { label: "Sent", tone: "busy", plain: "Sent to a node at least once." },
  seen: { label: "In a block", tone: "busy", plain: "In a block that is not final yet." },
  confirmed: { label: "Paid", tone: "good", plain: "Final: the transfer stands in a final block." },
  failed: { label: "Failed", tone: "bad", plain: "It ended without paying; a person may let it be tried again." },
  expired: { label: "Expired", tone: "warn", plain: "Its transaction died unused; another one follows." },
};

export const WALLET: Record<WalletKind, { label: string; tone: Tone; plain: string }> = {
  hot: { label: "Hot", tone: "good", plain: "The payment process holds its key." },
  "watch-only": {
    label: "Watch-only",
    tone: "idle",
    plain: "Its key is elsewhere: payments are proposed here and signed there.",
  },
  multisig: { label: "Several signers", tone: "busy", plain: "Several keys must sign each payment." },
  hardware: { label: "Hardware", tone: "busy", plain: "Each payment from it is signed on the device." },
};

export const PROPOSAL: Record<Proposal["state"], { label: string; tone: Tone }> = {
  open: { label: "Not sent", tone: "busy" },
  expired: { label: "Expired", tone: "warn" },
  broadcast: { label: "Sent", tone: "busy" },
  seen: { label: "In a block", tone: "busy" },
  confirmed: { label: "Final", tone: "good" },
  failed: { label: "Failed", tone: "bad" },
};

export const PROCESS: Record<ProcessStatus["state"], { label: string; tone: Tone }> = {
  ready: { label: "Payments move", tone: "good" },
  locked: { label: "Locked", tone: "warn" },
  "no-node": { label: "No node answers", tone: "bad" },
  draining: { label: "Ending", tone: "warn" },
  stopped: { label: "Stopped", tone: "bad" },
};

export const NODE: Record<NodeHealth["state"], { label: string; tone: Tone }> = {
  healthy: { label: "Healthy", tone: "good" },
  behind: { label: "Behind", tone: "warn" },
  "rate-limited": { label: "Asked us to wait", tone: "warn" },
  down: { label: "Down", tone: "bad" },
  unknown: { label: "Not asked yet", tone: "idle" },
};

/** Whether a payout never changes again by itself. */
export const isFinal = (state: PayoutState): boolean => state === "confirmed" || state === "failed";

/** Whether a second person may still say yes or no: nothing is signed yet. */
export const isOpenToWord = (state: PayoutState): boolean =>
  state === "requested" || state === "held" || state === "approved";

export const iso = (ms: number | null | undefined): string | null =>
  typeof ms === "number" && Number.isFinite(ms) ? new Date(ms).toISOString() : null;

/** An address or id with its ends, for narrow places; the whole stands in the title beside it. */
export const ends = (text: string, keep = 6): string =>
  text.length <= 2 * keep + 1 ? text : `${text.slice(0, keep)}…${text.slice(-keep)}`;

/** "2026-11" of a moment, in UTC as statements count. */
export const monthOf = (ms: number): string => new Date(ms).toISOString().slice(0, 7);

/** Why people of this role may not do what only administrators may; empty where they may. */
export const adminOnly = (role: string | undefined): string =>
  role === "admin" ? "" : "Only an administrator may do this.";
