// What the browser tests run against: the real binary (LUCID_BIN), a running device (LUCID_URL) or the fixture server.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// The fixture is plain JavaScript, so that it also runs by itself (npm run fixture).
import { startFixture } from "./fixture/server.mjs";

export interface Target {
  url: string;
  claimCode: string;
  kind: "fixture" | "binary" | "url";
  /** Of the fixture only: what it holds, and a way to tell listeners. */
  world?: unknown;
  emit?: (name: string, data: unknown) => void;
  close: () => Promise<void>;
}

/** How long the binary may take to say where it listens, in milliseconds. */
const START_MS = 30_000;

/** `settings` are KEY=VALUE of the daemon's configuration; only a binary that is started here takes them. */
export async function startTarget(settings: string[] = []): Promise<Target> {
  const bin = process.env["LUCID_BIN"];
  if (bin) return startBinary(bin, settings);
  const url = process.env["LUCID_URL"];
  if (url) return { url, claimCode: process.env["LUCID_CLAIM_CODE"] ?? "", kind: "url", close: async () => {} };
  const fixture = (await startFixture()) as Required<Omit<Target, "kind">>;
  return { ...fixture, kind: "fixture" };
}

/** The daemon on ports the system chooses, with a fresh data directory; the claim code is read where a person reads it. */
async function startBinary(bin: string, settings: string[]): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), "lucid-e2e-"));
  const ready = join(dir, "ready.json");
  const args = [
    "serve",
    "--data-dir",
    join(dir, "data"),
    "--http",
    "127.0.0.1:0",
    "--https",
    "127.0.0.1:0",
    "--ready-file",
    ready,
    ...settings.flatMap((setting) => ["--set", setting]),
  ];
  // The daemon takes LUCID_* for its configuration and refuses names it does not know; ours are for the tests.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("LUCID_")));
  const child = spawn(bin, args, { stdio: ["ignore", "pipe", "pipe"], env });
  let output = "";
  child.stdout.on("data", (part: Buffer) => (output += part.toString()));
  child.stderr.on("data", (part: Buffer) => (output += part.toString()));
  const claimCode = () => /claim code\s+([0-9A-Z]{4}(?:-[0-9A-Z]{4})+)/.exec(output)?.[1];
  const until = Date.now() + START_MS;
  while (!existsSync(ready) || claimCode() === undefined) {
    if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}:\n${output}`);
    if (Date.now() > until) {
      child.kill("SIGKILL");
      throw new Error(`not ready within ${START_MS} ms:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const addresses = JSON.parse(readFileSync(ready, "utf8")) as { http: string | null; https: string | null };
  // HTTPS is what an operator opens from another machine; LUCID_PLAIN=1 takes the plain address of the device itself.
  const url = (process.env["LUCID_PLAIN"] ? addresses.http : addresses.https) ?? addresses.http ?? "";
  return {
    url: url.replace(/^(https?:\/\/)[^:/]+/, "$1127.0.0.1"),
    claimCode: claimCode() ?? "",
    kind: "binary",
    close: () => end(child, dir),
  };
}

async function end(child: ChildProcess, dir: string): Promise<void> {
  if (child.exitCode === null) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const hard = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(hard);
  }
  rmSync(dir, { recursive: true, force: true });
}
