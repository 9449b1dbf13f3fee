// A real payment process over a real TRON simulator, for the tests of the page: the programs that stand beside the daemon
// under test (LUCID_BIN). Everything it makes is play money on this machine.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

/** How long a program may take to say where it listens, in milliseconds. */
const START_MS = 60_000;
const BLOCK_MS = 300;

export interface Sandbox {
  /** The socket of the payment process. */
  socket: string;
  /** Runs a command of the operator's at the console; its JSON. */
  run: (...args: string[]) => unknown;
  /** TRX and USDT from nowhere, in the smallest unit. */
  give: (address: string, sun: number, usdtMicro: number) => Promise<void>;
  close: () => Promise<void>;
}

/** Where the programs are, if they have been built. */
export function programs(): { pay: string; node: string } | null {
  const bin = process.env["LUCID_BIN"];
  if (!bin) return null;
  const [pay, node] = [join(dirname(bin), "lucid-pay"), join(dirname(bin), "tron-node")];
  return existsSync(pay) && existsSync(node) ? { pay, node } : null;
}

export async function startSandbox({ pay, node }: { pay: string; node: string }): Promise<Sandbox> {
  const dir = mkdtempSync(join(tmpdir(), "lucid-pay-e2e-"));
  const children: ChildProcess[] = [];
  const close = async () => {
    for (const child of children.reverse()) await end(child);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const listen = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--seed", "7"];
    const simulator = spawn(node, [...listen, "--block-interval-ms", String(BLOCK_MS)], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    children.push(simulator);
    const ready = JSON.parse(await firstLine(simulator)) as { node: string; control: string };
    // The key that wallets are sealed under, as systemd would hand it over.
    const key = join(dir, "lucid-pay.key");
    writeFileSync(key, Buffer.alloc(32, 0x5a));
    chmodSync(key, 0o600);
    const env = { ...clean(process.env), CREDENTIALS_DIRECTORY: dir };
    const socket = join(dir, "data/pay.sock");
    const options = [
      "--network=sandbox",
      `--data-dir=${join(dir, "data")}`,
      `--set=node.urls=${ready.node}`,
      `--set=sandbox.control=${ready.control}`,
      "--set=node.poll_ms=200",
    ];
    const run = (...args: string[]): unknown => {
      const done = spawnSync(pay, [...options, "--json", ...args], { env, encoding: "utf8" });
      if (done.status !== 0) throw new Error(`lucid-pay ${args.join(" ")}: ${done.stderr}`);
      return JSON.parse(done.stdout);
    };
    const give = async (address: string, sun: number, usdt_micro: number) => {
      const body = JSON.stringify({ address, sun, usdt_micro });
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(`${ready.control}/sim/faucet`, { method: "POST", headers, body });
      if (!answer.ok) throw new Error(`the faucet answered ${answer.status}`);
    };
    const wallet = run("wallet", "create", "main") as { address: string };
    await give(wallet.address, 20_000_000_000, 5_000_000_000);
    const serving = spawn(pay, [...options, "serve"], { env, stdio: "ignore" });
    children.push(serving);
    const until = Date.now() + START_MS;
    while (!existsSync(socket)) {
      if (serving.exitCode !== null) throw new Error(`lucid-pay ended with ${serving.exitCode}`);
      if (Date.now() > until) throw new Error(`lucid-pay made no socket within ${START_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { socket, run, give, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The environment without what configures a payment process of the person who runs the tests. */
function clean(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("LUCID")));
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing said within ${START_MS} ms`)), START_MS);
    child.once("exit", (code) => reject(new Error(`ended with ${code}`)));
    if (!child.stdout) return reject(new Error("no output to read"));
    createInterface(child.stdout).once("line", (line) => {
      clearTimeout(timer);
      resolve(line);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await gone;
  clearTimeout(hard);
}
