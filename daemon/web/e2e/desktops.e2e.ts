// Desktops as the operator meets them: set up, let somebody in, how to connect, approvals, figures, on desktop and phone.
import type { Browser } from "playwright-core";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Connection, DesktopList } from "../src/lib/desktops";
import { launch, open, type Watched } from "./chromium";
import { accessible, claim, fits, read, until } from "./steps";
import { startTarget, type Target } from "./target";
import { desktop, work } from "./fixture/desktops.mjs";

/** Pictures of each step are put here, for a person to look at. */
const SHOTS = process.env["LUCID_DESKTOP_SHOTS"];

let target: Target;
let browser: Browser;
let seen: Watched;

beforeAll(async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  [target, browser] = await Promise.all([startTarget(), launch()]);
  seen = await open(browser, target.url);
  await claim(seen.page, target);
  await seen.page.getByRole("link", { name: "Desktops" }).click();
});
afterEach(() => expect(seen.faults).toEqual([]));
afterAll(async () => {
  await browser?.close();
  await target?.close();
});

async function shoot(name: string): Promise<void> {
  if (SHOTS) await seen.page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}

describe("an operator with desktops", () => {
  it("sets one up, by a name the device takes", async () => {
    const { page } = seen;
    await page.getByRole("heading", { level: 1, name: "Desktops" }).waitFor();
    await page.getByText("No desktops yet").waitFor();
    await accessible(page, "no desktops");
    await page.getByRole("button", { name: "Add a desktop" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a desktop" });
    await dialog.getByLabel("Name").fill("Accounts Bench");
    await dialog.getByText("It will be called").waitFor();
    await dialog.getByLabel("Size").selectOption("1024x768");
    await accessible(page, "add desktop");
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("article", { name: "accounts-bench" }).waitFor();
    const list = await read<DesktopList>(page, "/desktops");
    expect(list.items[0]).toMatchObject({ name: "accounts-bench", width: 1024, height: 768 });
    // The same name again is refused in the device's words.
    await page.getByRole("button", { name: "Add a desktop" }).click();
    await dialog.getByLabel("Name").fill("accounts-bench");
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.getByRole("alert").getByText("The name is taken").waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
  });

  it("issues a credential whose secret is shown once, with the lines to connect", async () => {
    const { page } = seen;
    const card = page.getByRole("article", { name: "accounts-bench" });
    await card.getByRole("button", { name: /^Let somebody into/ }).click();
    const dialog = page.getByRole("dialog", { name: /^Let somebody into/ });
    await dialog.getByLabel("Who").fill("anna");
    expect(await dialog.getByLabel("use the keyboard").isChecked()).toBe(true);
    expect(await dialog.getByLabel("take files out").isChecked()).toBe(false);
    await accessible(page, "issue");
    await shoot("issue");
    await dialog.getByRole("button", { name: "Issue credential" }).click();
    const shown = page.locator("[data-issued]");
    await shown.waitFor();
    const secret = await shown.locator(".big code").innerText();
    expect(secret).toMatch(/^[0-9A-Z]{6}(-[0-9A-Z]{2,6}){4}$/);
    await shown.getByText(/xfreerdp \/v:127\.0\.0\.1:\d+ \/u:anna/).waitFor();
    expect(await shown.getByRole("link", { name: /\.rdp/ }).getAttribute("href")).toContain("rdp-file?user=anna");
    await accessible(page, "issued");
    await shoot("issued");
    await page.getByRole("button", { name: "I have passed it on" }).click();
    await shown.waitFor({ state: "detached" });
    expect(await page.content()).not.toContain(secret);
  });

  it("shows how to connect without anybody's secret, and hands the file out", async () => {
    const { page } = seen;
    const card = page.getByRole("article", { name: "accounts-bench" });
    await card.getByRole("button", { name: /^How to connect/ }).click();
    await card.getByText(/remmina -c rdp:/).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      card.getByRole("link", { name: /\.rdp file/ }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("accounts-bench.rdp");
    await card.getByRole("button", { name: /^How to connect/ }).click();
  });

  it("lists who was let in, and takes a credential back", async () => {
    const { page } = seen;
    const card = page.getByRole("article", { name: "accounts-bench" });
    await card.getByRole("button", { name: /^Credentials of/ }).click();
    const list = card.getByRole("list", { name: "Credentials" });
    await list.getByText("Not used yet").waitFor();
    await accessible(page, "credentials");
    await list.getByRole("button", { name: "Revoke the credential of anna" }).click();
    await list.getByText("Revoked").waitFor();
    expect(await list.getByRole("button").count()).toBe(0);
    await card.getByRole("button", { name: /^Credentials of/ }).click();
  });

  it("starts it and sees what it shows and takes", async () => {
    const { page } = seen;
    const list = await read<DesktopList>(page, "/desktops");
    if (list.off !== null) return;
    const card = page.getByRole("article", { name: "accounts-bench" });
    await card.getByRole("button", { name: /^Start / }).click();
    await until<DesktopList>(page, "/desktops", (now) => now.items[0]?.has_picture === true);
    const picture = card.getByRole("img", { name: /^What accounts-bench shows/ });
    await picture.waitFor();
    await page.waitForFunction(
      () => (document.querySelector<HTMLImageElement>(".picture img")?.naturalWidth ?? 0) > 100,
    );
    await card.getByRole("button", { name: /^Figures/ }).click();
    await card.getByRole("list", { name: "Last ten minutes" }).waitFor();
    await accessible(page, "running desktop");
    await shoot("running");
    await card.getByRole("button", { name: /^Stop / }).click();
    await until<DesktopList>(page, "/desktops", (now) => now.items[0]?.state === "stopped");
  });

  it("is told who asks for what, and grants it from the keyboard", async () => {
    const { page } = seen;
    // A worker needs an RDP client; daemon/tests/desktop.rs has one. Here a stand-in asks.
    if (target.kind !== "fixture") return;
    const world = target.world as never;
    work(world, desktop(world, { name: "design" }));
    target.emit?.("approval", (world as { approvals: unknown[] }).approvals[0]);
    const asked = page.getByRole("region", { name: "Waiting for approval" });
    await asked.getByText("paste into the desktop").waitFor();
    await page.getByLabel("1 waiting for approval").waitFor();
    await page.getByRole("article", { name: "design" }).getByText("192.0.2.17:51122").waitFor();
    await accessible(page, "approval");
    await shoot("approval");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    await fits(page, "approval");
    await shoot("approval-phone-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 900 });
    await asked.getByRole("button", { name: /^Let anna/ }).focus();
    await page.keyboard.press("Enter");
    await asked.waitFor({ state: "detached" });
    await page.getByText("Granted: paste into the desktop").waitFor();
    // Somebody watches with a client of their own, and somebody else gets the session.
    for (const [button, name, done, owner] of [
      ["Let somebody watch design", "olga", "olga may watch design", "anna"],
      ["Give the session on design to somebody else", "bob", "bob has the session on design", "bob"],
    ] as const) {
      await page.getByRole("button", { name: button }).click();
      const form = page.getByRole("dialog");
      await form.getByLabel("Who").fill(name);
      await accessible(page, button);
      await page.keyboard.press("Enter");
      const shown = page.getByRole("dialog", { name: done });
      await shown.getByText("This secret is shown once.").waitFor();
      await shown.getByText(new RegExp(`/u:${name} `)).waitFor();
      await shown.getByRole("button", { name: "I have passed it on" }).click();
      await shown.waitFor({ state: "detached" });
      expect((await read<{ items: Connection[] }>(page, "/connections")).items[0]?.owner).toBe(owner);
    }
    await page.getByRole("button", { name: "End the session on design" }).click();
    const dialog = page.getByRole("dialog", { name: "End the session on design?" });
    await accessible(page, "end session");
    await dialog.getByRole("button", { name: "End session" }).click();
    await dialog.waitFor({ state: "detached" });
  });

  it("fits a phone in both schemes, and deletes it", async () => {
    const { page } = seen;
    await page.setViewportSize({ width: 360, height: 740 });
    for (const scheme of ["dark", "light"] as const) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await page.waitForTimeout(300);
      await fits(page, "desktops");
      await accessible(page, `desktops, ${scheme}, phone`);
      await shoot(`phone-${scheme}`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    const card = page.getByRole("article", { name: "accounts-bench" });
    await card.getByRole("button", { name: /^Delete/ }).click();
    await page
      .getByRole("dialog", { name: /^Delete/ })
      .getByRole("button", { name: "Delete", exact: true })
      .click();
    await card.waitFor({ state: "detached" });
  });
});
