// The operator's way through the page, on whatever target is given: claim, live picture, sources, recording, playback,
// export, verification, hold, deletion, sign-out. Each step stands on the one before, as it does for a person.
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ExportJob, Page as ListPage, Session, Source } from "../src/lib/types";
import { launch, open, type Watched } from "./chromium";
import { LIVE_WITHIN_MS, PASSWORD, accessible, claim, fits, read, signIn, until, untilMoving } from "./steps";
import { startTarget, type Target } from "./target";

let target: Target;
let browser: Browser;
let seen: Watched;

beforeAll(async () => {
  [target, browser] = await Promise.all([startTarget(), launch()]);
  seen = await open(browser, target.url);
});
afterEach(() => expect(seen.faults).toEqual([]));
afterAll(async () => {
  await browser?.close();
  await target?.close();
});

describe("an operator", () => {
  it("is refused with a wrong code, in the device's words", async () => {
    const { page } = seen;
    await page.getByRole("heading", { name: "Claim this device" }).waitFor();
    await accessible(page, "claim");
    await page.getByLabel("Claim code").fill("AAAA-BBBB-CCCC-DDDD");
    await page.getByLabel("Your user name").fill("operator");
    await page.getByLabel("Password", { exact: true }).fill("short");
    expect(await page.getByRole("button", { name: "Claim and start" }).isDisabled()).toBe(true);
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Claim and start" }).click();
    await page.getByRole("alert").getByText("The claim code is wrong").waitFor();
  });

  it("can write down who vouches before claiming", async () => {
    const state = await until<{ device_fingerprint: string; chain_genesis: string | null }>(
      seen.page,
      "/claim",
      (one) => one.chain_genesis !== null,
      20_000,
    );
    await seen.page.getByText("the chain is being made").waitFor({ state: "detached" });
    const shown = (await seen.page.locator(".write").innerText()).replace(/\s/g, "");
    expect(shown).toContain(state.device_fingerprint.replace(/[\s:]/g, "").toLowerCase());
    expect(shown).toContain(state.chain_genesis?.toLowerCase() ?? "no genesis");
  });

  it("sees a live picture within 10 s of the claim, marked as a demo", async () => {
    const { page } = seen;
    await claim(page, target);
    await untilMoving(page, "figure.live video", LIVE_WITHIN_MS);
    await page.getByText("DEMO: not a camera").first().waitFor();
    const before = await page
      .locator("figure.live video")
      .first()
      .evaluate((video: HTMLVideoElement) => video.currentTime);
    await page.waitForFunction(
      (from) => (document.querySelector<HTMLVideoElement>("figure.live video")?.currentTime ?? 0) > from + 1,
      before,
      { timeout: 15_000 },
    );
  });

  it("reads whether the evidence is safe, with witnesses, gaps and disk", async () => {
    const { page } = seen;
    const answer = page.getByRole("region", { name: /evidence is safe|have a look|not all of it/ });
    await answer.waitFor();
    await answer.getByText(/1 of 1/).waitFor({ timeout: 30_000 });
    const text = (await answer.innerText()).replaceAll("\u00a0", " ");
    expect(text).toMatch(/1 of 1 witness: only this device vouches/);
    expect(text).toMatch(/Gaps in 24 h/);
    expect(text).toMatch(/free of [\d.]+ [GT]B/);
    await page.getByText("This device is yours. Write these two down.").waitFor();
    await accessible(page, "home");
  });

  it("adds a network camera, is told about a bad address, and removes it again", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Sources", exact: true }).first().click();
    await page.getByRole("button", { name: "Add a network camera" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a network camera" });
    await dialog.getByLabel("Name").fill("Gate");
    await dialog.getByLabel("Address").fill("gopher://192.0.2.9/x");
    await dialog.getByRole("button", { name: "Add" }).click();
    await dialog.getByRole("alert").waitFor();
    await accessible(page, "add source");
    await dialog.getByLabel("Address").fill("rtsp://user:secret-word@127.0.0.1:9/none");
    await dialog.getByLabel(/^Record it/).uncheck();
    await dialog.getByLabel("Record sound").uncheck();
    await dialog.getByRole("button", { name: "Add" }).click();
    await dialog.waitFor({ state: "hidden" });
    const card = page.getByRole("article", { name: "Gate" });
    await card.waitFor();
    const made = (await read<ListPage<Source>>(page, "/sources")).items.find((one) => one.name === "Gate");
    expect(made?.audio).toBe(false);
    expect(await page.content()).not.toContain("secret-word");
    await card.getByRole("button", { name: "Remove Gate" }).click();
    await page
      .getByRole("dialog", { name: "Remove Gate?" })
      .getByRole("button", { name: "Remove", exact: true })
      .click();
    await card.waitFor({ state: "detached" });
  });

  it("watches a source, stops it, and finds the recording", async () => {
    const { page } = seen;
    const source = (await read<ListPage<Source>>(page, "/sources")).items.find((one) => one.demo);
    expect(source).toBeDefined();
    const card = page.locator(`[data-source="${source?.id}"]`);
    await card.getByRole("button", { name: /^Watch/ }).click();
    await untilMoving(page, `[data-source="${source?.id}"] video`, 15_000);
    await accessible(page, "sources");
    await until<Session>(
      page,
      `/sessions/${source?.current_session_id}`,
      (one) => Date.now() - Date.parse(one.started_at) > 9000,
    );
    await card.getByRole("button", { name: /^Stop recording/ }).click();
    await card.getByRole("button", { name: /^Start recording/ }).waitFor({ timeout: 30_000 });
    const ended = await until<Session>(page, `/sessions/${source?.current_session_id}`, (one) => one.ended_at !== null);
    expect(ended.gaps).toEqual([]);
    await page.getByRole("link", { name: "Recordings", exact: true }).first().click();
    await page.locator(`tr[data-session="${ended.id}"] a`).click();
    await page.getByRole("heading", { level: 1, name: ended.source_name }).waitFor();
  });

  it("plays it, seeks by keyboard, changes the speed", async () => {
    const { page } = seen;
    await page.waitForFunction(
      () => (document.querySelector<HTMLVideoElement>(".player video")?.readyState ?? 0) >= 2,
      undefined,
      { timeout: 20_000 },
    );
    const slider = page.getByRole("slider", { name: "Position in the recording" });
    await slider.focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(
      () => Math.abs((document.querySelector<HTMLVideoElement>(".player video")?.currentTime ?? 0) - 5) < 1.5,
    );
    expect(await slider.getAttribute("aria-valuetext")).toMatch(/^\d\d:\d\d:\d\d UTC\+1, 0:0[4-6] of 0:/);
    await page.keyboard.press("Home");
    await page.keyboard.press("k");
    await untilMoving(page, ".player video", 10_000);
    await page.getByLabel("Speed").selectOption("4");
    expect(await page.locator(".player video").evaluate((video: HTMLVideoElement) => video.playbackRate)).toBe(4);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.waitForFunction(() => document.querySelector<HTMLVideoElement>(".player video")?.paused === true);
    await accessible(page, "recording");
  });

  it("exports it, with progress that survives a reload, and verifies the file", async () => {
    const { page } = seen;
    const id = decodeURIComponent(page.url().split("/recordings/")[1] ?? "");
    await until<Session>(page, `/sessions/${id}`, (one) => one.anchored !== null, 60_000);
    await page.getByRole("button", { name: "Export" }).click();
    const dialog = page.getByRole("dialog", { name: "Export this recording" });
    await accessible(page, "export");
    await dialog.getByRole("button", { name: "Start export" }).click();
    await dialog.waitFor({ state: "hidden" });
    await page.reload();
    const job = page.locator("[data-export]").first();
    await job.waitFor();
    const done = await until<ListPage<ExportJob>>(
      page,
      "/exports",
      (list) => list.items[0]?.state === "done" || list.items[0]?.state === "failed",
      60_000,
    );
    expect(done.items[0]).toMatchObject({ state: "done", session_id: id });
    const link = job.getByRole("link", { name: "Download" });
    await link.waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
    expect(download.suggestedFilename()).toMatch(/\.lucid$/);
    const path = await download.path();

    await page.getByRole("link", { name: "Verify", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "Verify a file" }).waitFor();
    await page.locator("input[type=file]").setInputFiles({
      name: "evidence.lucid",
      mimeType: "application/zip",
      buffer: (await import("node:fs")).readFileSync(path),
    });
    const report = page.locator("[data-verdict]");
    await report.waitFor({ timeout: 60_000 });
    expect(await report.getAttribute("data-verdict")).toBe("valid");
    await report.getByText("What it does not say").waitFor();
    await accessible(page, "verify");
    await page
      .locator("input[type=file]")
      .setInputFiles({ name: "no.lucid", mimeType: "application/zip", buffer: Buffer.from("this is no evidence") });
    await page.locator('[role="alert"], [data-verdict]:not([data-verdict="valid"])').first().waitFor();
  });

  it("holds it, cannot delete it meanwhile, then deletes it for good", async () => {
    const { page } = seen;
    const session = (await read<ListPage<Session>>(page, "/sessions?limit=10")).items.find(
      (one) => one.ended_at !== null,
    );
    await page.goto(`${target.url}/#/recordings/${session?.id}`);
    await page.getByRole("button", { name: "Hold" }).click();
    await page.getByLabel("Reason").fill("Case 7");
    await page.getByRole("button", { name: "Put on hold" }).click();
    await page.locator(".notice", { hasText: "On legal hold" }).waitFor();
    await page.getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("dialog", { name: "Delete this recording?" });
    expect(await dialog.getByRole("button", { name: "Delete for good" }).isDisabled()).toBe(true);
    await accessible(page, "delete");
    await dialog.getByLabel("I understand").check();
    await dialog.getByRole("button", { name: "Delete for good" }).click();
    await page.getByRole("alert").filter({ hasText: /hold/i }).waitFor();
    await page.getByRole("button", { name: "Lift hold" }).click();
    await page.locator(".notice", { hasText: "On legal hold" }).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Delete" }).click();
    await dialog.getByLabel("I understand").check();
    await dialog.getByRole("button", { name: "Delete for good" }).click();
    await page.getByText("Nobody can decrypt this recording any more", { exact: false }).waitFor();
    const gone = await read<Session>(page, `/sessions/${session?.id}`);
    expect(gone.state).toBe("deleted");
  });

  it("reads the device's identity and its parts", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Device", exact: true }).click();
    await page.getByRole("heading", { name: "Components" }).waitFor();
    expect(await page.locator(".parts li").count()).toBeGreaterThan(0);
    await accessible(page, "device");
    await page.getByRole("link", { name: "Exports" }).click();
    await accessible(page, "exports");
  });

  it("starts the source again and sees it on the phone, everything fitting", async () => {
    const { page } = seen;
    await page.goto(`${target.url}/#/sources`);
    await page
      .getByRole("button", { name: /^Start recording/ })
      .first()
      .click();
    await page
      .getByRole("button", { name: /^Stop recording/ })
      .first()
      .waitFor({ timeout: 20_000 });
    await page.setViewportSize({ width: 360, height: 740 });
    for (const scheme of ["dark", "light"] as const) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      for (const path of ["", "sources", "desktops", "recordings", "exports", "verify", "device"]) {
        await page.goto(`${target.url}/#/${path}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForTimeout(300);
        await fits(page, path || "home");
        await accessible(page, `${path || "home"}, ${scheme}, phone`);
      }
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it("signs out, and comes back to where it was after signing in", async () => {
    const { page } = seen;
    await page.goto(`${target.url}/#/device`);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to Lucid" }).waitFor();
    await accessible(page, "sign-in");
    await page.getByLabel("User name").fill("operator");
    await page.getByLabel("Password").fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await signIn(page);
    await page.getByRole("heading", { name: "Components" }).waitFor();
  });
});
