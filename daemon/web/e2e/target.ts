// What the browser tests run against: the real binary (LUCID_BIN), a running device (LUCID_URL) or the fixture server.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
// The fixture is plain JavaScript, so that it also runs by itself (npm run fixture).
// @ts-expect-error: no declarations
import { startFixture } from "./fixture/server.mjs";

export interface Target {
  url: string;
  claimCode: string;
  kind: "fixture" | "binary" | "url";
  close: () => Promise<void>;
}

/** How long the binary may take to say where it listens, in milliseconds. */
const START_MS = 30_000;

export async function startTarget(): Promise<Target> {
  const bin = process.env["LUCID_BIN"];
  if (bin) return startBinary(bin);
  const url = process.env["LUCID_URL"];
  if (url) return { url, claimCode: process.env["LUCID_CLAIM_CODE"] ?? "", kind: "url", close: async () => {} };
  const fixture = (await startFixture()) as { url: string; claimCode: string; close: () => Promise<void> };
  return { url: fixture.url, claimCode: fixture.claimCode, kind: "fixture", close: fixture.close };
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

async function startBinary(bin: string): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), "lucid-e2e-"));
  const port = await freePort();
  const args = (process.env["LUCID_ARGS"] ?? "serve --data-dir {dir} --listen 127.0.0.1:{port}").replaceAll("{dir}", dir).replaceAll("{port}", String(port)).split(" ");
  const child = spawn(bin, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env } });
  let output = "";
  const claimCode = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no claim code within ${START_MS} ms; output so far:\n${output}`)), START_MS);
    const read = (part: Buffer) => {
      output += part.toString();
      const code = /claim code\W+([A-Z0-9]{2,}(?:-[A-Z0-9]+)*)/i.exec(output)?.[1];
      if (!code) return;
      clearTimeout(late);
      resolve(code);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", (status) => reject(new Error(`the daemon ended with ${status}:\n${output}`)));
  });
  const scheme = new RegExp(`https?(?=://[^\\s]*:${port})`).exec(output)?.[0] ?? "http";
  return { url: `${scheme}://127.0.0.1:${port}`, claimCode, kind: "binary", close: () => end(child, dir) };
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
