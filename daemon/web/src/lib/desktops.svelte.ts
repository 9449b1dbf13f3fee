// What the page knows of desktops: fetched when signed in, kept fresh by events, polled while they do not arrive.
import { api, asProblem, type Problem } from "./api";
import { capability, type Approval, type Connection, type Desktop } from "./desktops";
import { device } from "./device.svelte";

const POLL_MS = 5_000;

class DesktopsState {
  /** Null until the device has answered. */
  desktops = $state<Desktop[] | null>(null);
  connections = $state<Connection[]>([]);
  approvals = $state<Approval[]>([]);
  /** Why there are none on this device. */
  off = $state<string | null>(null);
  sharedPort = $state<number | null>(null);
  problem = $state<Problem | null>(null);
  waiting = $derived(this.approvals.filter((one) => one.state === "asked"));

  #busy = false;

  /** Follows the device until the returned function is called. */
  begin(): () => void {
    const unwatch = device.watch((name, data) => {
      if (name === "approval") this.#asked(data as Approval);
      if (name === "desktop" || name === "connection" || name === "approval" || name === "lagged") void this.refresh();
    });
    const poll = setInterval(() => {
      if (!device.streaming || document.visibilityState === "visible") void this.refresh();
    }, POLL_MS);
    void this.refresh();
    return () => {
      unwatch();
      clearInterval(poll);
      this.desktops = null;
      this.connections = [];
      this.approvals = [];
    };
  }

  async refresh(): Promise<void> {
    if (this.#busy || device.phase !== "in") return;
    this.#busy = true;
    try {
      const [desktops, connections, approvals] = await Promise.all([
        api.desktops(),
        api.connections(),
        api.approvals(),
      ]);
      this.desktops = desktops.items;
      this.off = desktops.off;
      this.sharedPort = desktops.shared_port;
      this.connections = connections.items;
      this.approvals = approvals.items;
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
    }
    this.#busy = false;
  }

  put(desktop: Desktop): void {
    const all = this.desktops ?? [];
    const known = all.some((one) => one.id === desktop.id);
    this.desktops = known ? all.map((one) => (one.id === desktop.id ? desktop : one)) : [...all, desktop];
  }

  #asked(approval: Approval): void {
    if (approval?.state !== "asked") return;
    const text = `${approval.user} on ${approval.desktop_name} asks to ${capability(approval.capability)}`;
    device.announce(text);
    if (typeof Notification !== "undefined" && Notification.permission === "granted") {
      // One for each request; the same again replaces the one that is shown.
      new Notification("Lucid: approval asked for", { body: text, tag: approval.id });
    }
  }
}

export const desktops = new DesktopsState();
