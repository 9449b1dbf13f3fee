// Updates of the system: shapes of /api/v1/system/updates, and what the page says about them. Pure; tested in updates.test.ts.
import type { Tone } from "./words";

export interface Slot {
  name: string;
  bootname: string | null;
  state: string;
  boot_status: string | null;
  version: string | null;
  installed_at: string | null;
}

export type UpdateState =
  | "idle"
  | "checking"
  | "offered"
  | "downloading"
  | "verified"
  | "waiting"
  | "installing"
  | "reboot_wanted"
  | "trial_boot"
  | "self_test";

export interface Attempt {
  id: string;
  origin: "server" | "upload";
  name: string;
  version: string | null;
  progress: number | null;
  bytes: number | null;
  note: string | null;
  asks: boolean;
  cancellable: boolean;
  no_way_back: boolean;
  began_at: string;
  sha256: string | null;
  statement: string | null;
}

export type Outcome = "confirmed" | "fell_back" | "failed" | "refused" | "cancelled";

export interface Ended {
  id: string;
  origin: "server" | "upload";
  name: string;
  version: string | null;
  outcome: Outcome;
  reason: string;
  began_at: string;
  ended_at: string;
  sha256: string | null;
  statement: string | null;
}

export interface Updates {
  supported: boolean;
  problem: string | null;
  version: string;
  state: UpdateState;
  slot: string | null;
  default_slot: string | null;
  on_trial: boolean;
  slots: Slot[];
  attempt: Attempt | null;
  history: Ended[];
  server: { url: string; asked_at: string | null; problem: string | null } | null;
}

interface Words {
  label: string;
  tone: Tone;
  plain: string;
}

/** Where an update stands, for people. */
export const STATE: Record<UpdateState, Words> = {
  idle: { label: "None under way", tone: "idle", plain: "No update is under way." },
  checking: { label: "Asking", tone: "busy", plain: "The fleet server is being asked." },
  offered: { label: "Offered", tone: "warn", plain: "Waits for somebody to agree." },
  downloading: { label: "Downloading", tone: "busy", plain: "The bundle comes in; it goes on after an interruption." },
  verified: { label: "Checking", tone: "busy", plain: "Signature and content are being checked." },
  waiting: { label: "Waiting", tone: "busy", plain: "Checked, and may be installed here." },
  installing: { label: "Installing", tone: "busy", plain: "The other slot is being written. Recording goes on." },
  reboot_wanted: { label: "Installed", tone: "busy", plain: "Written. The restart into its trial is next." },
  trial_boot: { label: "Restarting", tone: "warn", plain: "The device starts the new system, on trial." },
  self_test: {
    label: "On trial",
    tone: "warn",
    plain: "The new system records, seals, anchors and reads back a test before it may stay.",
  },
};

/** How an update ended, for people. */
export const OUTCOME: Record<Outcome, { label: string; tone: Tone }> = {
  confirmed: { label: "Confirmed", tone: "good" },
  fell_back: { label: "Fell back", tone: "bad" },
  failed: { label: "Failed", tone: "bad" },
  refused: { label: "Refused", tone: "warn" },
  cancelled: { label: "Cancelled", tone: "idle" },
};

export interface SlotTile {
  name: "A" | "B";
  label: string;
  tone: Tone;
  /** What is known of the system in it. */
  version: string | null;
  installedAt: string | null;
}

/** Both slots, with what each is at this moment. */
export function slotTiles(updates: Updates): SlotTile[] {
  return (["A", "B"] as const).map((name) => {
    const known = updates.slots.find((slot) => slot.bootname === name);
    const runs = updates.slot === name;
    const said = {
      name,
      version: runs ? updates.version : (known?.version ?? null),
      installedAt: known?.installed_at ?? null,
    };
    const state = updates.state;
    if (runs && updates.on_trial) return { ...said, label: "Runs, on trial", tone: "warn" };
    if (runs) return { ...said, label: "Runs", tone: "good" };
    const next = { ...said, version: updates.attempt?.version ?? null, installedAt: null };
    if (state === "installing") return { ...next, label: "Being written", tone: "busy" };
    if (updates.on_trial) return { ...said, label: "Runs again if the trial fails", tone: "good" };
    if (state === "reboot_wanted" || state === "trial_boot")
      return { ...next, label: "Waits for its trial", tone: "warn" };
    if (known?.boot_status === "good") return { ...said, label: "Can be started", tone: "idle" };
    return { ...said, label: known ? "Will not be started" : "Not known", tone: "idle" };
  });
}

/** What is said under the state: what it waits for where that is known, else what happens. */
export function attemptWords(updates: Updates): string {
  const { attempt, state } = updates;
  if (!attempt?.note) return STATE[state].plain;
  if (state === "downloading") return `${attempt.note}. Tried again by itself.`;
  if (state === "self_test") return `The test failed: ${attempt.note}`;
  return attempt.note.startsWith("for ") || attempt.note.startsWith("until ")
    ? `Waits ${attempt.note}.`
    : `${attempt.note}.`;
}

/** Whether "install now" means something: it would otherwise wait for recordings or a window. */
export function canHurry(updates: Updates): boolean {
  return ["offered", "waiting", "reboot_wanted"].includes(updates.state);
}

/** The name of an update with its version, each once. */
export function updateName(update: { name: string; version: string | null }): string {
  return update.version === null || update.name.includes(update.version)
    ? update.name
    : `${update.version} (${update.name})`;
}
