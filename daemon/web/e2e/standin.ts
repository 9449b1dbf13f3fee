// The page over the stand-in device: one browser for the file, a new device and a page signed in to it for each test, and
// nothing that must not happen on the page.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { launch, open, type Watched } from "./chromium";
// @ts-ignore: plain JavaScript without declarations
import { startFixture } from "./fixture/server.mjs";

/** Pictures for people to look at, where a folder is given. */
export const SHOTS = process.env["LUCID_SHOTS"];

export interface StandIn<World> {
  url: string;
  /** What the device has; a test may change it. */
  world: World;
  emit: (name: string, data: unknown) => void;
  dropListeners: () => void;
  close: () => Promise<void>;
}

/** Call it at the top of a file; what it gives starts a device and signs in to it. */
export function standIn<World>(): (options?: { busy?: boolean }) => Promise<{ device: StandIn<World>; seen: Watched }> {
  let browser: Browser;
  let here: { device: StandIn<World>; seen: Watched } | null = null;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => browser?.close());
  afterEach(async () => {
    if (here === null) return;
    const { device, seen } = here;
    here = null;
    await seen.context.close();
    await device.close();
    expect(seen.faults).toEqual([]);
  });
  return async (options = {}) => {
    const device = (await startFixture({ ...options, claimed: true })) as unknown as StandIn<World>;
    const seen = await open(browser, device.url);
    here = { device, seen };
    await seen.page.getByLabel("User name").fill("admin");
    await seen.page.getByLabel("Password").fill("correct horse battery");
    await seen.page.getByRole("button", { name: "Sign in" }).click();
    await seen.page.getByRole("navigation", { name: "Main" }).waitFor();
    return here;
  };
}

export async function shoot(page: Page, name: string): Promise<void> {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}
