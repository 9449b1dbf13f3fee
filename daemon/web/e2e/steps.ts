// Steps more than one browser test takes: claiming, signing in, watching, waiting for the API.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { expect } from "vitest";
import type { Target } from "./target";

export const USER = "operator";
export const PASSWORD = "a long enough sentence";
/** The promise of the product: a live picture this long after the claim, in milliseconds. */
export const LIVE_WITHIN_MS = 10_000;

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function claim(page: Page, target: Target): Promise<void> {
  await page.getByLabel("Claim code").fill(target.claimCode);
  await page.getByLabel("Your user name").fill(USER);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Claim and start" }).click();
}

export async function signIn(page: Page): Promise<void> {
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
}

/** Waits until a video shows moving pictures: its clock advances and it has pixels. */
export async function untilMoving(page: Page, selector: string, timeoutMs: number): Promise<void> {
  await page.waitForFunction(
    (wanted) => {
      const video = document.querySelector<HTMLVideoElement>(wanted);
      return video !== null && video.videoWidth > 0 && video.readyState >= 2 && video.currentTime > 0 && !video.paused;
    },
    selector,
    { timeout: timeoutMs, polling: 100 },
  );
}

interface Violation {
  id: string;
  impact: string | null;
  nodes: { target: string[]; failureSummary: string }[];
}

/** axe-core over the page as it stands: WCAG 2.2 A and AA, contrast included. */
export async function accessible(page: Page, where: string): Promise<void> {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const run = (
      window as unknown as { axe: { run: (root: Document, options: unknown) => Promise<{ violations: Violation[] }> } }
    ).axe;
    const result = await run.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return result.violations;
  });
  expect(
    violations.map(
      (one) =>
        `${where}: ${one.id} (${one.impact}) ${one.nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`).join("; ")}`,
    ),
  ).toEqual([]);
}

/** No horizontal scrolling: everything fits the width. */
export async function fits(page: Page, where: string): Promise<void> {
  const [content, width] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  expect(content, `${where} is wider than the screen`).toBeLessThanOrEqual(width ?? 0);
}

/** Reads the API with the page's own sign-in. */
export async function read<T>(page: Page, path: string): Promise<T> {
  return page.evaluate(async (wanted) => (await fetch(`/api/v1${wanted}`)).json() as Promise<never>, path);
}

/** Asks the API until `done` holds; the last answer stands in the error. */
export async function until<T>(page: Page, path: string, done: (answer: T) => boolean, timeoutMs = 40_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const answer = await read<T>(page, path);
    if (done(answer)) return answer;
    if (Date.now() > end)
      throw new Error(
        `${path} did not get there within ${timeoutMs} ms; last: ${JSON.stringify(answer).slice(0, 800)}`,
      );
    await page.waitForTimeout(250);
  }
}
