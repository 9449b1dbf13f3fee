// Pictures of a real worker on a real desktop: needs LUCID_BIN, and Xvfb, xfreerdp, xdotool and xclip. LUCID_SHOTS names
// the folder; docs/images by default, which gets those that the documentation shows.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Approval, Connection, DesktopList } from "../src/lib/desktops";
import type { Page as ListPage, Session } from "../src/lib/types";
import { launch, open } from "./chromium";
import { claim, fits, read, until } from "./steps";
import { startTarget, type Target } from "./target";

const DOCS = fileURLToPath(new URL("../../../docs/images", import.meta.url));
const DIR = process.env["LUCID_SHOTS"] ?? DOCS;
/** Those that the documentation shows; the others are for whoever asked for a folder. */
const SHOWN = ["desktops", "desktop-approval", "desktop-approval-phone", "desktop-recording"];
/** How long nothing happens in the recording, in milliseconds. */
const IDLE_MS = 14_000;

let target: Target;
let browser: Browser;
let home: string;
let display = "";
const running: ChildProcess[] = [];

beforeAll(async () => {
  if (!process.env["LUCID_BIN"]) return;
  mkdirSync(DIR, { recursive: true });
  home = mkdtempSync(join(tmpdir(), "lucid-desktops-"));
  chmodSync(home, 0o711);
  const settings = [
    "record.demo=false",
    "desktops.enabled=on",
    "desktops.listen=off",
    "desktops.address=127.0.0.1",
    `desktops.home=${join(home, "homes")}`,
    `desktops.runtime=${join(home, "run")}`,
  ];
  [target, browser, display] = await Promise.all([startTarget(settings), launch(), screen()]);
});
afterAll(async () => {
  for (const one of running.reverse()) one.kill("SIGKILL");
  await browser?.close();
  await target?.close();
  if (home) rmSync(home, { recursive: true, force: true });
});

/** The worker's own screen. */
function screen(): Promise<string> {
  const server = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-ac"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  running.push(server);
  return new Promise((resolve) => {
    server.stdout.once("data", (line: Buffer) => resolve(`:${line.toString().trim()}`));
  });
}

function program(name: string, args: string[], input?: string): ChildProcess {
  const child = spawn(name, args, {
    env: { ...process.env, DISPLAY: display, HOME: home },
    stdio: [input === undefined ? "ignore" : "pipe", "ignore", "ignore"],
  });
  if (input !== undefined) child.stdin?.end(input);
  running.push(child);
  return child;
}

function press(...args: string[]): void {
  spawnSync("xdotool", ["search", "--onlyvisible", "--class", "xfreerdp", "windowfocus", ...args], {
    env: { ...process.env, DISPLAY: display },
  });
}

function line(text: string): void {
  press("type", "--delay", "35", text);
  press("key", "Return");
}

async function shoot(page: Page, name: string, fullPage = true): Promise<void> {
  if (DIR === DOCS && !SHOWN.includes(name)) return;
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(DIR, `${name}.png`), fullPage });
}

async function onPhone(
  page: Page,
  name: string,
  run: () => Promise<void> = async () => {},
  fullPage = true,
): Promise<void> {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "dark" });
  await run();
  await fits(page, name);
  await shoot(page, `${name}-phone`, fullPage);
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** Waits until the player shows a picture of the last seconds, or of any time, in which something is to be seen. */
async function shows(page: Page, atEnd = false): Promise<void> {
  await page.waitForFunction(
    (end) => {
      const video = document.querySelector<HTMLVideoElement>(".player video");
      if (!video || video.seeking || video.readyState < 2) return false;
      if (end && video.currentTime < video.duration - 3) return false;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [64, 40];
      const context = canvas.getContext("2d");
      context?.drawImage(video, 0, 0, 64, 40);
      const pixels = context?.getImageData(0, 0, 64, 40).data ?? new Uint8ClampedArray();
      return pixels.some((value, at) => at % 4 < 3 && value > 150);
    },
    atEnd,
    { timeout: 60_000 },
  );
}

it.skipIf(!process.env["LUCID_BIN"])("takes the pictures of a worker's session", async () => {
  const { page } = await open(browser, target.url, { colorScheme: "light" });
  await page.getByRole("heading", { name: "Claim this device" }).waitFor();
  await claim(page, target);
  await page.getByRole("link", { name: "Desktops" }).click();
  for (const name of ["accounts", "design"]) {
    await page.getByRole("button", { name: "Add a desktop" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a desktop" });
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.waitFor({ state: "hidden" });
  }
  const card = page.getByRole("article", { name: "accounts" });
  await card.getByRole("button", { name: /^Let somebody into/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Who").fill("anna");
  await dialog.getByRole("button", { name: "Issue credential" }).click();
  const secret = await page.locator("[data-issued] .big code").innerText();
  await shoot(page, "credential", false);
  await onPhone(page, "credential");
  await page.getByRole("button", { name: "I have passed it on" }).click();

  const port = (await read<DesktopList>(page, "/desktops")).items.find((one) => one.name === "accounts")?.port;
  const sign = [`/u:anna`, `/p:${secret}`, "/cert:ignore", "/sec:tls", "-wallpaper", "/log-level:ERROR"];
  program("xfreerdp", [`/v:127.0.0.1:${port}`, ...sign]);
  const state = (wanted: string) => (list: ListPage<Connection>) => list.items[0]?.state === wanted;
  await until(page, "/connections", state("connected"));
  for (let tries = 0; tries < 40; tries += 1) {
    press("key", "Return");
    if (state("active")(await read(page, "/connections"))) break;
    await page.waitForTimeout(250);
  }
  const id = (await until(page, "/connections", state("active"))).items[0]?.id ?? "";
  line("printf 'Quarter 3: 41 invoices, 2 disputed\\n' | tee report.txt; ls -la; free -m");
  await card.getByRole("button", { name: /^Figures/ }).click();
  await page.waitForTimeout(IDLE_MS);
  line("for n in 1 2 3; do sha256sum report.txt; date; done");
  program("xclip", ["-quiet", "-selection", "clipboard", "-i"], "IBAN DE89 3704 0044 0532 0130 00");
  const asks = (one: Approval) => one.capability === "clipboard_in";
  await until<ListPage<Approval>>(page, "/approvals", (list) => list.items.some(asks));
  await page.getByRole("region", { name: "Waiting for approval" }).waitFor();
  await page.waitForTimeout(5_000);
  await shoot(page, "desktops");
  const asked = page.getByRole("region", { name: "Waiting for approval" });
  await asked.scrollIntoViewIfNeeded();
  await shoot(page, "desktop-approval", false);
  await onPhone(page, "desktops");
  await onPhone(page, "desktop-approval", () => asked.scrollIntoViewIfNeeded(), false);
  await card.getByRole("button", { name: /^Watch/ }).click();
  await page.waitForTimeout(6_000);
  await shoot(page, "session");
  await onPhone(page, "session");
  await card.getByRole("button", { name: /^Hide/ }).click();
  await page.getByRole("button", { name: /^Let anna paste/ }).click();
  await page.waitForTimeout(1_500);
  line("xclip -o -selection clipboard; xterm -T 'Payments of October'");
  await page.waitForTimeout(IDLE_MS);
  line("head -c 300 /dev/urandom | base64; touch done-for-today");
  await page.waitForTimeout(4_000);

  await card.getByRole("button", { name: /^End the session/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End session" }).click();
  await until<Session>(page, `/sessions/${id}`, (one) => one.ended_at !== null && one.anchored !== null, 60_000);
  await page.goto(`${target.url}/#/recordings/${id}`);
  const ready = () => (document.querySelector<HTMLVideoElement>(".player video")?.readyState ?? 0) >= 2;
  await page.waitForFunction(ready, undefined, { timeout: 20_000 });
  // Wherever one goes there is a picture, also where the last that stands alone is long past.
  await page.getByRole("slider", { name: "Position in the recording" }).focus();
  await page.keyboard.press("End");
  await shows(page, true);
  const skip = page.getByLabel("Skip idle");
  await skip.check();
  // To where the clipboard went over, a moment after which it is in the picture.
  await page.getByRole("button", { name: /text, \d+ bytes into the desktop/ }).click();
  await page.waitForFunction(() => {
    const video = document.querySelector<HTMLVideoElement>(".player video");
    return video !== null && !video.seeking && video.readyState >= 2 && video.currentTime > 5;
  });
  await shows(page);
  await page.waitForTimeout(2_500);
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  expect(await page.locator(".timeline .busy").count()).toBeGreaterThan(1);
  await shoot(page, "desktop-recording");
  await onPhone(page, "desktop-recording");
});
