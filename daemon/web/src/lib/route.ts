// Which view the address bar asks for. Routes live in the fragment (#/recordings/...), so the daemon serves one page
// and nothing of what is looked at reaches a log. Pure; tested in route.test.ts.

export type View =
  | "home"
  | "sources"
  | "desktops"
  | "recordings"
  | "recording"
  | "exports"
  | "verify"
  | "payments"
  | "device"
  | "unknown";

export interface Route {
  view: View;
  /** The id in the path, for one recording; the part of the payments page. */
  id: string | null;
  params: Record<string, string>;
}

const PLAIN: Record<string, View> = {
  "": "home",
  sources: "sources",
  desktops: "desktops",
  recordings: "recordings",
  exports: "exports",
  verify: "verify",
  payments: "payments",
  device: "device",
};

/** The parts of the payments page besides its payouts, which are shown first. */
export const PAYMENTS = ["wallets", "staking", "statements", "rewards"] as const;

export function parse(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const params = Object.fromEntries(new URLSearchParams(search));
  const [first = "", second, ...rest] = path.split("/").filter((part, i) => i === 0 || part !== "");
  if (rest.length > 0) return { view: "unknown", id: null, params };
  if (first === "recordings" && second !== undefined) return { view: "recording", id: safeDecode(second), params };
  if (first === "payments" && PAYMENTS.some((part) => part === second))
    return { view: "payments", id: second ?? null, params };
  const view = PLAIN[first];
  if (view === undefined || second !== undefined) return { view: "unknown", id: null, params };
  return { view, id: null, params };
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The fragment for a view, with parameters left out when empty. */
export function href(path: string, params: Record<string, string | undefined> = {}): string {
  const set = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value) set.set(key, value);
  const search = set.toString();
  return `#/${path}${search === "" ? "" : `?${search}`}`;
}

export const recordingHref = (id: string, atS?: number): string =>
  href(`recordings/${encodeURIComponent(id)}`, atS === undefined ? {} : { t: String(Math.round(atS * 10) / 10) });
