// The pictures of the README, taken from whatever target is given (the real binary for those that are published).
// LUCID_SHOTS names the folder; docs/images by default.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, it } from "vitest";
import type { ExportJob, Page as ListPage, Session, Source } from "../src/lib/types";
import { launch, open } from "./chromium";
import { claim, read, until, untilMoving } from "./steps";
import { startTarget, type Target } from "./target";

const DIR = process.env["LUCID_SHOTS"] ?? fileURLToPath(new URL("../../../docs/images", import.meta.url));
/** How long the recording in the pictures runs, in seconds. */
const RECORD_S = Number(process.env["LUCID_SHOTS_RECORD_S"] ?? 45);

let target: Target;
let browser: Browser;

beforeAll(async () => {
  mkdirSync(DIR, { recursive: true });
  [target, browser] = await Promise.all([startTarget(), launch()]);
});
afterAll(async () => {
  await browser?.close();
  await target?.close();
});

async function shoot(page: Page, name: string, fullPage = false): Promise<void> {
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(400);
  await page.screenshot({ path: join(DIR, `${name}.png`), fullPage });
}

it("takes the pictures", async () => {
  const { page } = await open(browser, target.url, { viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  await page.getByRole("heading", { name: "Claim this device" }).waitFor();
  await shoot(page, "claim");
  await claim(page, target);
  await untilMoving(page, "figure.live video", 15_000);
  await page.getByRole("button", { name: "Done" }).click();
  const source = (await read<ListPage<Source>>(page, "/sources")).items.find((one) => one.current_session_id !== null);
  const id = source?.current_session_id ?? "";
  await until<Session>(
    page,
    `/sessions/${id}`,
    (one) => Date.now() - Date.parse(one.started_at) > RECORD_S * 1000,
    (RECORD_S + 60) * 1000,
  );
  await until<{ last_anchor: unknown }>(page, "/evidence-health", (one) => one.last_anchor !== null);
  await shoot(page, "home-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot(page, "home-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.evaluate(() => window.scrollTo(0, 0));
  await shoot(page, "home-phone-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });

  await page.goto(`${target.url}/#/sources`);
  const card = page.locator(`[data-source="${source?.id}"]`);
  await card.getByRole("button", { name: /^Watch/ }).click();
  await untilMoving(page, `[data-source="${source?.id}"] video`, 15_000);
  await shoot(page, "sources");
  await card.getByRole("button", { name: /^Stop recording/ }).click();
  await until<Session>(page, `/sessions/${id}`, (one) => one.anchored !== null && one.ended_at !== null, 60_000);

  await page.goto(`${target.url}/#/recordings/${id}`);
  await page.waitForFunction(
    () => (document.querySelector<HTMLVideoElement>(".player video")?.readyState ?? 0) >= 2,
    undefined,
    { timeout: 20_000 },
  );
  await page.getByRole("slider").focus();
  for (let n = 0; n < 3; n += 1) await page.keyboard.press("ArrowRight");
  await page.waitForTimeout(800);
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await shoot(page, "recording", true);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 390, height: 844 });
  await shoot(page, "recording-phone-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });

  await page.getByRole("button", { name: "Export" }).click();
  await shoot(page, "export");
  await page.getByRole("button", { name: "Start export" }).click();
  await until<ListPage<ExportJob>>(page, "/exports", (list) => list.items[0]?.state === "done", 60_000);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator("[data-export]").first().getByRole("link", { name: "Download" }).click(),
  ]);
  const path = await download.path();
  await page.goto(`${target.url}/#/verify`);
  await page.locator("input[type=file]").setInputFiles({
    name: download.suggestedFilename(),
    mimeType: "application/zip",
    buffer: (await import("node:fs")).readFileSync(path),
  });
  await page.locator("[data-verdict]").waitFor({ timeout: 60_000 });
  await shoot(page, "verify", true);
});
