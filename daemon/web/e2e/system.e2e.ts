// The machine on the device's page: disks, log, restart, shutdown, factory reset. Against the fixture server; the real
// routes are judged by the daemon's own tests. LUCID_SHOTS names a folder for pictures of what was seen.
import { beforeEach, describe, expect, it } from "vitest";
import type { Watched } from "./chromium";
import { shoot, standIn, type StandIn } from "./standin";
import { accessible, fits } from "./steps";
// @ts-ignore: plain JavaScript without declarations
import { machine, say, underWay } from "./fixture/system.mjs";

interface World {
  machine: { asked: string[]; power: boolean; followers: Set<unknown> };
  device: { name: string };
}

let device: StandIn<World>;
let seen: Watched;
const enter = standIn<World>();

beforeEach(async () => {
  ({ device, seen } = await enter());
  device.world.machine = machine() as World["machine"];
  await seen.page.goto(`${device.url}/#/device`);
  await seen.page.getByRole("button", { name: "Factory reset" }).waitFor();
});

describe("the machine", () => {
  it("says what it has, and fits a desk and a phone", async () => {
    const { page } = seen;
    await page.getByText("do not bind: the memory controller is off").waitFor();
    await page.getByText("free of").first().waitFor();
    for (const [name, width] of [
      ["desk", 1280],
      ["phone", 390],
    ] as const) {
      await page.setViewportSize({ width, height: 860 });
      await fits(page, `device at ${width} px`);
      await accessible(page, `device, ${name}`);
      await shoot(page, `system-${name}`);
    }
  });

  it("searches its log, looks back, and follows it", async () => {
    const { page } = seen;
    const lines = page.getByRole("log").locator(".line");
    await expect.poll(() => lines.count()).toBe(200);
    await page.getByRole("button", { name: "Older lines" }).click();
    await expect.poll(() => lines.count()).toBe(260);
    await page.getByLabel("Search").fill("disk RECORDER");
    await expect.poll(() => lines.count()).toBe(52);
    await page.getByLabel("Search").fill("no such words");
    await page.getByText("No line fits.").waitFor();
    await page.getByLabel("Search").fill("");
    await page.getByLabel("Show").selectOption("error");
    await expect.poll(() => lines.count()).toBe(52);
    await page.getByLabel("Show").selectOption("info");
    await expect.poll(() => lines.count()).toBe(200);
    await page.getByLabel("Follow").check();
    await expect.poll(() => device.world.machine.followers.size).toBe(1);
    say(device.world, "something new happened", "warn");
    await page.getByText("something new happened").waitFor();
    await page.getByLabel("Follow").uncheck();
    await expect.poll(() => device.world.machine.followers.size).toBe(0);
  });

  it("asks before it restarts or shuts down, and not where it cannot", async () => {
    const { page } = seen;
    const asked = device.world.machine.asked;
    for (const [button, wanted] of [
      ["Restart recorder", "recorder"],
      ["Restart device", "device"],
      ["Shut down", "off"],
    ] as const) {
      await page.getByRole("button", { name: button }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Leave it running" }).click();
      await page.getByRole("button", { name: button }).click();
      await page.getByRole("dialog").locator("button.danger").click();
      await page.getByRole("dialog").waitFor({ state: "detached" });
      expect(asked.splice(0)).toEqual([wanted]);
    }
    device.world.machine.power = false;
    await page.reload();
    await page.getByText("nobody waits for such requests").waitFor();
    expect(await page.getByRole("button", { name: "Restart device" }).isDisabled()).toBe(true);
    expect(await page.getByRole("button", { name: "Shut down" }).isDisabled()).toBe(true);
  });

  it("shows both slots and takes an update from a file to its installation", async () => {
    const { page } = seen;
    const asked = device.world.machine.asked;
    const card = page.getByRole("region", { name: "Updates" });
    await card.getByText("a chunk does not have its hash").waitFor();
    await shoot(page, "updates-idle");
    const choose = card.getByLabel("Bundle to install");
    await choose.setInputFiles({ name: "no.raucb", mimeType: "application/octet-stream", buffer: Buffer.from("x") });
    await card.getByText("has no room for the bundle").waitFor();
    await card.getByLabel("even if it is older than what runs").check();
    await choose.setInputFiles({
      name: "b.raucb",
      mimeType: "application/octet-stream",
      buffer: Buffer.from("bundle"),
    });
    await card.getByText("Waits until 2 recordings are over.").waitFor();
    expect(asked.splice(0)).toEqual(["bundle ?allow_older=true", "bundle"]);
    // The job is the device's: another look at the page finds it again.
    await page.reload();
    await card.getByText("Waits until 2 recordings are over.").waitFor();
    await accessible(page, "an update that waits");
    await card.getByRole("button", { name: "Call it off" }).click();
    await card.getByRole("button", { name: "Give a bundle" }).waitFor();
    underWay(device.world, "reboot_wanted", { note: "until a recording is over" });
    await page.reload();
    await card.getByText("Waits for its trial").waitFor();
    await card.getByRole("button", { name: "Restart now" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Go ahead" }).click();
    await card.getByRole("progressbar").waitFor();
    expect(await card.getByRole("button", { name: "Call it off" }).count()).toBe(0);
    await page.setViewportSize({ width: 390, height: 860 });
    await fits(page, "an update at 390 px");
    await shoot(page, "updates-phone");
    expect(asked.splice(0)).toEqual(["cancel", "install"]);
  });

  it("resets only after saying what goes and hearing the device's name", async () => {
    const { page } = seen;
    await page.getByRole("button", { name: "Factory reset" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("the device's key").waitFor();
    await dialog.getByText("verify as before").waitFor();
    await accessible(page, "factory reset");
    await shoot(page, "system-reset");
    const destroy = dialog.getByRole("button", { name: "Destroy and reset" });
    await dialog.getByRole("textbox").fill(`${device.world.device.name} `);
    expect(await destroy.isDisabled()).toBe(true);
    await dialog.getByRole("textbox").fill(device.world.device.name);
    await destroy.click();
    await dialog.waitFor({ state: "detached" });
    expect(device.world.machine.asked).toEqual(["factory-reset"]);
  });
});
