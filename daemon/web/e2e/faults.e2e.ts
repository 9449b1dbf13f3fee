// What the page does when things go wrong or are large: lost streams, a device that is gone, an ended sign-in, gaps,
// damage, many recordings, refused pictures. Against the fixture server, which can be made to fail on request.
import { beforeEach, describe, expect, it } from "vitest";
import type { Session } from "../src/lib/types";
import type { Watched } from "./chromium";
import { standIn, type StandIn } from "./standin";
import { accessible, fits, untilMoving } from "./steps";

interface World {
  sessions: (Session & { note: string | null })[];
  tokens: Set<string>;
  sources: unknown[];
  exports: unknown[];
}

let device: StandIn<World>;
let seen: Watched;
const start = standIn<World>();

async function enter(busy: boolean): Promise<void> {
  ({ device, seen } = await start({ busy }));
}

describe("a busy device", () => {
  beforeEach(() => enter(true));

  it("says no when something is damaged, and what it touches", async () => {
    const { page } = seen;
    await page.getByRole("heading", { level: 1, name: "No, not all of it" }).waitFor();
    await page.getByText(/Quarantined: chunk 4/).waitFor();
    await accessible(page, "home with damage");
    expect((await page.locator(".strip", { hasText: "Front gate" }).innerText()).replaceAll("\u00a0", " ")).toMatch(
      /2 gaps of 24 s in all/,
    );
    const gap = page.locator(".lines li", { hasText: "20\u00a0s without a picture, Front gate" });
    await gap.getByRole("link", { name: "recording" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Front gate" }).waitFor();
  });

  it("shows gaps on the timeline, skips them, or waits them out", async () => {
    const { page } = seen;
    const session = device.world.sessions.find((one) => one.note === "Delivery, dock 2");
    await page.goto(`${device.url}/#/recordings/${session?.id}?t=30`);
    const video = page.locator(".player video");
    await page.waitForFunction(
      () => Math.abs((document.querySelector<HTMLVideoElement>(".player video")?.currentTime ?? 0) - 30) < 1,
      undefined,
      { timeout: 15_000 },
    );
    expect(await page.locator(".timeline .hole").count()).toBe(2);
    await page.locator(".timeline .hole span").first().getByText("gap 20").waitFor();
    // Media second 40 lies 20 s later on the wall clock: the gap of 20 s is before it.
    await video.evaluate((element: HTMLVideoElement) => (element.currentTime = 40));
    await page.waitForFunction(() => /1:00 of 1:35/.test(document.querySelector(".player .at")?.textContent ?? ""));
    // Skipping: playback goes from second 31.5 of the media over the hole without stopping.
    await video.evaluate((element: HTMLVideoElement) => (element.currentTime = 31.5));
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await page.waitForFunction(
      () => (document.querySelector<HTMLVideoElement>(".player video")?.currentTime ?? 0) > 32.5,
      undefined,
      { timeout: 10_000 },
    );
    expect(await page.getByText("No picture was recorded here").count()).toBe(0);
    await page.getByRole("button", { name: "Pause" }).click();
    // Waiting it out: at 16x the 20 s take a little over one second, and the reason is shown meanwhile.
    await page.getByLabel("Skip gaps").uncheck();
    await video.evaluate((element: HTMLVideoElement) => (element.currentTime = 31));
    await page.waitForFunction(() => document.querySelector(".player")?.getAttribute("data-media-s")?.startsWith("31"));
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await page.getByText("No picture was recorded here").waitFor({ timeout: 10_000 });
    await page.getByText(/the camera's network was unreachable: .* left/).waitFor();
    await accessible(page, "in a gap");
    await page.getByLabel("Speed").selectOption("16");
    await page.getByText("No picture was recorded here").waitFor({ state: "detached", timeout: 10_000 });
  });

  it("pages through many recordings and filters them in the address", async () => {
    const { page } = seen;
    await page.goto(`${device.url}/#/recordings`);
    await page.locator("tbody tr").nth(49).waitFor();
    expect(await page.locator("tbody tr").count()).toBe(50);
    await page.getByRole("button", { name: "Show older" }).click();
    await page.locator("tbody tr").nth(60).waitFor();
    await page.getByLabel("State").selectOption("deleted");
    await page.waitForFunction(() =>
      [...document.querySelectorAll("tbody tr")].every((row) => row.getAttribute("data-state") === "deleted"),
    );
    expect(page.url()).toContain("state=deleted");
    await page.getByLabel("From (UTC+1)").fill("2031-01-01T00:00");
    await page.getByText("No recording matches").waitFor();
    await accessible(page, "nothing matches");
    await page.goBack();
    await page.locator("tbody tr").first().waitFor();
    await page.getByRole("button", { name: "Clear filters" }).click();
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 50);
  });

  it("fits every width between phone and desk", async () => {
    const { page } = seen;
    const session = device.world.sessions.find((one) => one.note === "Delivery, dock 2");
    for (const width of [360, 480, 768, 961, 1100, 1280, 1920]) {
      await page.setViewportSize({ width, height: 800 });
      for (const path of ["", "sources", "recordings", `recordings/${session?.id}`, "exports", "device"]) {
        await page.goto(`${device.url}/#/${path}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForTimeout(150);
        await fits(page, `${path || "home"} at ${width} px`);
      }
    }
  });
});

describe("a device with trouble", () => {
  beforeEach(() => enter(false));

  it("asks to sign in again when the session has ended, and returns to the same place", async () => {
    const { page } = seen;
    await page.goto(`${device.url}/#/device`);
    await page.getByRole("heading", { name: "Components" }).waitFor();
    device.world.tokens.clear();
    await page.getByText("Your sign-in has ended").waitFor({ timeout: 20_000 });
    await page.getByLabel("User name").fill("admin");
    await page.getByLabel("Password").fill("correct horse battery");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Components" }).waitFor();
  });

  it("polls while it gets no events, and says so", async () => {
    const { page } = seen;
    await page.getByText("Live", { exact: true }).waitFor();
    await page.route("**/api/v1/events", (route) =>
      route.fulfill({
        status: 503,
        contentType: "application/problem+json",
        headers: { "Retry-After": "5" },
        body: JSON.stringify({
          type: "urn:lucid:problem:too-many-listeners",
          title: "Too many listeners",
          status: 503,
        }),
      }),
    );
    device.dropListeners();
    await page.getByText("Live, by polling").waitFor();
    Object.assign(device.world.sources[0] as object, { name: "Renamed meanwhile" });
    await page.getByText("Renamed meanwhile").first().waitFor({ timeout: 15_000 });
    await page.unroute("**/api/v1/events");
    await page.getByText("Live", { exact: true }).waitFor({ timeout: 30_000 });
  });

  it("says that it knows nothing when the device is gone, and recovers", async () => {
    const { page } = seen;
    await page.getByRole("heading", { level: 1, name: /your evidence is safe/ }).waitFor();
    await page.route("**/api/v1/**", (route) => route.abort());
    device.dropListeners();
    await page.getByRole("heading", { level: 1, name: /Not known/ }).waitFor({ timeout: 30_000 });
    await page.getByText("No connection").waitFor();
    await accessible(page, "lost");
    await page.unroute("**/api/v1/**");
    await page.getByRole("heading", { level: 1, name: /your evidence is safe/ }).waitFor({ timeout: 30_000 });
  });

  it("keeps looking for a live picture that is late", async () => {
    const { page } = seen;
    let refused = 0;
    await page.route("**/live", (route) => {
      refused += 1;
      return refused <= 5
        ? route.fulfill({ status: 404, contentType: "application/problem+json", body: "{}" })
        : route.continue();
    });
    await page.goto(`${device.url}/#/device`);
    await page.getByRole("heading", { name: "Components" }).waitFor();
    await page.goto(`${device.url}/#/`);
    await untilMoving(page, "figure.live video", 15_000);
    expect(refused).toBeGreaterThan(5);
  });

  it("does not call a picture live that stopped coming", async () => {
    const { page } = seen;
    await untilMoving(page, "figure.live video", 15_000);
    await page.route("**/live", (route) => route.abort());
    await page.route("**/media/*.m4s", (route) => route.abort());
    Object.assign(device.world.sources[0] as object, { state: "stalled", state_reason: "nothing came for 3 s" });
    device.emit("source", device.world.sources[0]);
    const picture = page.locator("figure.live");
    await picture.getByText("No picture", { exact: true }).waitFor();
    await picture.getByText("Nothing came for 3 s.").waitFor({ timeout: 30_000 });
    expect(await picture.getByText(/^REC/).count()).toBe(0);
    await accessible(page, "stalled");
  });

  it("shows what the device refuses, title and detail", async () => {
    const { page } = seen;
    await page.goto(`${device.url}/#/sources`);
    await page.route("**/sessions/*/stop", (route) =>
      route.fulfill({
        status: 507,
        contentType: "application/problem+json",
        body: JSON.stringify({
          type: "urn:lucid:problem:disk-full",
          title: "The disk is full",
          status: 507,
          detail: "what is left is on legal hold",
        }),
      }),
    );
    await page.getByRole("button", { name: /^Stop recording/ }).click();
    const alert = page.getByRole("alert");
    await alert.getByText("The disk is full").waitFor();
    await alert.getByText("what is left is on legal hold").waitFor();
  });

  it("has words for every empty list", async () => {
    const { page } = seen;
    device.world.sources.length = 0;
    device.world.sessions.length = 0;
    device.emit("lagged", { lost: 1 });
    await page.goto(`${device.url}/#/sources`);
    await page.getByText("No sources yet").waitFor({ timeout: 20_000 });
    await page.goto(`${device.url}/#/recordings`);
    await page.getByText("No recordings yet").waitFor();
    await page.goto(`${device.url}/#/exports`);
    await page.getByText("No exports yet").waitFor();
    await page.goto(`${device.url}/#/`);
    await page.getByText("Nothing is being recorded", { exact: true }).waitFor();
    await page.goto(`${device.url}/#/recordings/no-such-id`);
    await page.getByText("There is no such recording").waitFor();
    await page.goto(`${device.url}/#/nowhere`);
    await page.getByText("There is no such page").waitFor();
  });

  it("is usable from the keyboard alone", async () => {
    const { page } = seen;
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("main");
    await page.goto(`${device.url}/#/sources`);
    const add = page.getByRole("button", { name: "Add a network camera" });
    await add.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    // Tab goes round inside the dialog and never behind it.
    for (let n = 0; n < 20; n += 1) {
      await page.keyboard.press("Tab");
      expect(
        await page.evaluate(
          () =>
            document.activeElement === document.body ||
            document.querySelector("dialog")?.contains(document.activeElement),
        ),
      ).toBe(true);
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    expect(await add.evaluate((button) => button === document.activeElement)).toBe(true);
  });
});
