// What happened in a recorded desktop, beside its playback. Always against the fixture server: its recording has known
// events.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Page as ListPage, Session } from "../src/lib/types";
import { launch, open } from "./chromium";
import { accessible, claim, fits, read } from "./steps";
import { startFixture } from "./fixture/server.mjs";
import type { Target } from "./target";

let target: Target;
let browser: Browser;

beforeAll(async () => {
  const [fixture, started] = await Promise.all([startFixture({ busy: true }), launch()]);
  target = { ...(fixture as { url: string; claimCode: string; close: () => Promise<void> }), kind: "fixture" };
  browser = started;
});
afterAll(async () => {
  await browser?.close();
  await target?.close();
});

it("is listed, searched, marked on the timeline, and idle time is skipped", async () => {
  const seen = await open(browser, target.url, { viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  const { page } = seen;
  await claim(page, target);
  const sessions = await read<ListPage<Session>>(page, "/sessions?limit=1000");
  const one = sessions.items.find((session) => session.source_name === "Accounts desktop");
  await page.goto(`${target.url}/#/recordings/${one?.id}`);
  const list = page.getByRole("region", { name: "What happened" });
  await list.getByText("Quarterly Figures.ods – Accounts <b>2026</b> – soffice").waitFor();
  expect(await page.locator(".timeline .busy").count()).toBeGreaterThanOrEqual(4);
  await accessible(page, "what happened");

  await list.getByRole("searchbox").fill("LEDGER");
  await list.getByText("ada@accounts: ~/ledger – xterm").waitFor();
  await list.getByText("Quarterly Figures").waitFor({ state: "detached" });
  expect(await list.getByRole("listitem").count()).toBe(1);
  await list.getByRole("searchbox").fill("");
  await list.getByLabel("Kind of event").selectOption("approval");
  await list.getByText("files out granted by operator").waitFor();
  expect(await list.getByRole("listitem").count()).toBe(2);
  await list.getByLabel("Kind of event").selectOption("");

  // An event takes the player to its moment, and from there idle time is skipped.
  const at = () =>
    page.locator("section.player").evaluate((player) => Number((player as HTMLElement).dataset["mediaS"]));
  await list.getByRole("button", { name: /idle/ }).click();
  await expect.poll(at, { timeout: 20_000 }).toBeGreaterThan(238);
  expect(await at()).toBeLessThan(300);
  await page.getByLabel("Skip idle").check();
  await expect.poll(at, { timeout: 20_000 }).toBeGreaterThan(690);
  expect(await at()).toBeLessThan(760);
  expect(seen.faults).toEqual([]);

  const shots = process.env["LUCID_SHOTS"];
  for (const [name, width, height] of [
    ["desktop", 1280, 900],
    ["phone", 390, 844],
  ] as const) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await fits(page, `what happened, ${name}`);
      if (!shots) continue;
      mkdirSync(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `happened-${name}-${colorScheme}.png`), fullPage: true });
    }
  }
});
