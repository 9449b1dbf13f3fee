// The payments page: off, down and up; payouts asked for, explained, approved and rejected; wallets, stake, statements.
// Against the fixture server, whose payments are in memory.
import type { Page } from "playwright-core";
import { beforeEach, describe, expect, it } from "vitest";
import type { Watched } from "./chromium";
import { shoot, standIn, type StandIn } from "./standin";
import { accessible, fits } from "./steps";

interface World {
  payments: { presence: string; wallets: unknown[]; payouts: { id: string; state: string }[] };
}

const PARTS = ["payments", "payments/wallets", "payments/staking", "payments/statements", "payments/rewards"];

let device: StandIn<World>;
let seen: Watched;
const enter = standIn<World>();

beforeEach(async () => {
  ({ device, seen } = await enter());
  await seen.page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Payments" }).click();
});

const row = (page: Page, id: string) => page.locator(`[data-payout="${id}"]`);
const plain = async (page: Page, selector: string) =>
  (await page.locator(selector).innerText()).replaceAll("\u00a0", " ");

describe("payments", () => {
  it("that are off or down say so, and what to do", async () => {
    const { page } = seen;
    await page.getByText("Play money.").waitFor();
    device.world.payments.presence = "off";
    await page.reload();
    await page.getByText("Payments are off").waitFor();
    await page.getByText("payments.socket").waitFor();
    expect(await page.getByRole("button", { name: "Request a payout" }).count()).toBe(0);
    await accessible(page, "payments off");
    await shoot(page, "payments-off");
    device.world.payments.presence = "down";
    await page.reload();
    await page.getByText("The payment process does not answer").waitFor();
    await page.getByText(/Recording goes on meanwhile/).waitFor();
    await accessible(page, "payments down");
    device.world.payments.presence = "up";
    await page.getByRole("button", { name: "Ask again" }).click();
    await page.getByRole("heading", { name: "Payouts", level: 2 }).waitFor();
  });

  it("explain why a payout waits, and take a second person's word", async () => {
    const { page } = seen;
    const held = row(page, "p-000001");
    await held.getByText("2,500.00").waitFor();
    await held.getByRole("button", { name: /Why is this waiting/ }).click();
    await held.getByText(/another person than the one who asked approves or rejects it/i).waitFor();
    await accessible(page, "a payout");
    await shoot(page, "payments-why");
    await held.getByRole("button", { name: "Approve" }).click();
    await page.locator('[data-payout="p-000001"][data-state="approved"]').waitFor();
    expect(device.world.payments.payouts.find((one) => one.id === "p-000001")?.state).toBe("approved");

    await held.getByRole("button", { name: "Reject…" }).click();
    const reason = held.getByLabel("Why it shall not be paid");
    await reason.fill("wrong payee");
    await reason.press("Enter");
    await page.locator('[data-payout="p-000001"][data-state="failed"]').waitFor();
    await held
      .getByText(/refused by admin: wrong payee/i)
      .first()
      .waitFor();
    // What is signed or final is nobody's to approve, and rewards go by themselves.
    for (const id of ["p-000002", "p-000005", "p-000007"]) {
      await row(page, id).getByRole("button").first().click();
      await row(page, id).getByText("Transaction").waitFor();
      expect(await row(page, id).getByRole("button", { name: "Approve" }).count()).toBe(0);
    }
    expect(await plain(page, '[data-payout="p-000005"]')).toMatch(/195,785 points, 13.49985 TRX burned/);
    // What failed without paying may be tried again; what a person rejected may not.
    await row(page, "p-000009").getByRole("button").first().click();
    await row(page, "p-000009").getByRole("button", { name: "Try again" }).click();
    await page.locator('[data-payout="p-000009"][data-state="requested"]').waitFor();
    await held.getByRole("button", { name: "Try again" }).click();
    await held.getByText(/it cannot be tried again/i).waitFor();
    expect(await plain(page, '[data-payout="p-000007"]')).toMatch(/8,640 credits × 0.0005 USDT/);
    await page.getByLabel("Show").selectOption("confirmed");
    await page.waitForFunction(() => document.querySelectorAll("[data-payout]").length === 1);
    await page.getByLabel("Show").selectOption("expired");
    await page.getByText("None in this state").waitFor();
  });

  it("are asked for with the cost shown first, exactly once, from the keyboard", async () => {
    const { page } = seen;
    const before = device.world.payments.payouts.length;
    await page.getByRole("button", { name: "Request a payout" }).click();
    const dialog = page.getByRole("dialog", { name: "Request a payout" });
    await dialog.getByLabel("Payee’s TRON address").fill("0x52908400098527886E0F7030069857D2E4169EE7");
    await dialog.getByLabel("Amount in USDT").fill("12.5000001");
    await dialog.getByLabel("What it is paid for").fill("invoice 12");
    await dialog.getByLabel("What it is paid for").press("Enter");
    await dialog.getByText(/begins with T/).waitFor();
    await dialog.getByText(/At most six digits/).waitFor();
    await accessible(page, "a wrong request");
    await dialog.getByLabel("Payee’s TRON address").fill("TJRabPrwbZy45sbavfcjinPJC18kjpRTv8");
    await dialog.getByLabel("Amount in USDT").fill("1250.50");
    await dialog.getByLabel("Amount in USDT").press("Enter");
    await dialog.getByText("A second person must approve it.").waitFor();
    await shoot(page, "payments-request");
    expect(device.world.payments.payouts.length).toBe(before);
    await dialog.getByRole("button", { name: /Request 1,250.50/ }).press("Enter");
    await dialog.waitFor({ state: "detached" });
    await page.locator('[data-payout][data-state="requested"]', { hasText: "1,250.50" }).waitFor();
    expect(device.world.payments.payouts.length).toBe(before + 1);
  });

  it("show wallets with units and age, and what is only watched", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Wallets" }).click();
    await page.locator('[data-wallet="main"]').getByText("8,214.350001").waitFor();
    expect(await plain(page, '[data-wallet="main"]')).toMatch(/2,625.50 USDT promised to payouts/);
    expect(await plain(page, '[data-wallet="main"]')).toMatch(/ of [\d,]+ points left/);
    // Said once, by the words of its kind.
    const cold = await plain(page, '[data-wallet="cold"]');
    expect(cold).toMatch(/payments are proposed here and signed there./);
    expect(cold).not.toMatch(/Its key is not here/);
    await page.locator('[data-wallet="main"]').getByText("What went in and out").click();
    await page.getByText("− 125.50").waitFor();
    // Of a wallet that pays nobody nothing is kept, which is not the same as nothing moved.
    await page.locator('[data-wallet="cold"]').getByText("What went in and out").click();
    await page.locator('[data-wallet="cold"]').getByText("Movements are kept of the wallet that pays").waitFor();
    await page.getByRole("button", { name: "Add a wallet" }).click();
    const dialog = page.getByRole("dialog", { name: "Add a wallet" });
    await dialog.getByLabel("Name").fill("Partner");
    await dialog.getByLabel(/Elsewhere: only watch it/).check();
    await dialog.getByLabel("Its TRON address").fill("nothing");
    await dialog.getByRole("button", { name: "Add" }).click();
    await dialog
      .getByRole("alert")
      .getByText(/invalid-address/)
      .waitFor();
    await accessible(page, "add a wallet");
    await dialog.getByLabel("Its TRON address").fill("TVj7RNVHy6thbM7BWdSe9G6gXwKhjhdNZS");
    await dialog.getByRole("button", { name: "Add" }).click();
    await page.locator('[data-wallet="partner"]').waitFor();
    await page.getByRole("button", { name: "Archive Partner" }).click();
    await page.locator('[data-wallet="partner"]').waitFor({ state: "detached" });
    await page.getByLabel("Show archived (1)").check();
    await page.locator('[data-wallet="partner"]').getByText("Archived").waitFor();
  });

  it("show what stake comes back when, and refuse too little in the device's words", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Staking" }).click();
    const coming = page.getByRole("list", { name: "What comes back when" });
    await coming.waitFor();
    expect((await coming.innerText()).replaceAll("\u00a0", " ")).toMatch(/1,500.00 TRX gave energy[\s\S]*in 3 days/);
    await page.getByLabel("Amount in TRX").fill("10");
    expect(await page.getByRole("button", { name: "Stake", exact: true }).isDisabled()).toBe(true);
    await page.getByLabel("I want this to be signed and sent").check();
    await page.getByRole("button", { name: "Stake", exact: true }).click();
    await page
      .getByRole("alert")
      .getByText(/below-minimum/)
      .waitFor();
    await page.getByLabel("Amount in TRX").fill("2000");
    await page.getByRole("button", { name: "Stake", exact: true }).click();
    await page.getByText(/Sent; the stake counts once the block is final/).waitFor();
    await page
      .getByRole("list", { name: "Orders under way" })
      .getByText(/freeze; in block 68152, not yet solid. Ordered by admin./i)
      .waitFor();
    await page.getByLabel("What to do").selectOption("vote");
    const ballot = page.getByLabel(/Representatives and their votes/);
    await ballot.fill("TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH");
    await page.getByLabel("I want this to be signed and sent").check();
    await page.getByRole("button", { name: "Vote", exact: true }).click();
    await page
      .getByRole("alert")
      .getByText(/an address, a space, and its votes/)
      .waitFor();
    await ballot.fill("TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH 1200\nTJRabPrwbZy45sbavfcjinPJC18kjpRTv8 = 800\n");
    await accessible(page, "a vote");
    await shoot(page, "payments-vote");
    await page.getByRole("button", { name: "Vote", exact: true }).click();
    await page.getByText("2,000 cast of 20,000").waitFor();
    await page.getByLabel("Wallet").selectOption("cold");
    await page.getByText("Nothing is staked").waitFor();
    await page.getByText(/only watched: it cannot stake/).waitFor();
    const wallet = page.getByRole("combobox", { name: "Wallet" });
    await wallet.selectOption("stick");
    await page.getByText("The chain does not know this wallet yet").waitFor();
    expect(await page.getByRole("alert").count()).toBe(0);
    await wallet.selectOption("main");
    await coming.waitFor();
  });

  it("give statements to read, as CSV and to print", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Statements" }).click();
    await page.getByRole("region", { name: "Lines of the statement" }).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "CSV" }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^statement.*\.csv$/);
    // On a phone every part of a line is in sight, with what it is.
    await page.setViewportSize({ width: 390, height: 844 });
    const line = page.getByRole("region", { name: "Lines of the statement" }).locator("tbody tr").first();
    for (const part of await line.locator("td").all()) {
      const box = await part.boundingBox();
      expect((box?.x ?? 0) + (box?.width ?? 999)).toBeLessThanOrEqual(390);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.getByLabel("Month (UTC)").fill("2001-01");
    await page.getByText("Nothing in this month").waitFor();
  });

  it.each([
    ["desktop", 1280, "light"],
    ["desktop", 1280, "dark"],
    ["phone", 390, "light"],
    ["phone", 390, "dark"],
  ] as const)(
    "fit %s at %i px in %s, every part accessible",
    { timeout: 240_000 },
    async (name, width, colorScheme) => {
      const { page } = seen;
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme });
      for (const part of PARTS) {
        await page.goto(`${device.url}/#/${part}`);
        // What is folded away is not asked for yet.
        await page.waitForFunction(() => {
          const shown = document.querySelector("main")?.innerText ?? "";
          return shown !== "" && !/Asking|Adding it up/.test(shown);
        });
        if (part === "payments") await row(page, "p-000002").getByRole("button").first().click();
        await page.waitForTimeout(200);
        await accessible(page, `${part} ${name} ${colorScheme}`);
        await fits(page, `${part} ${name}`);
        await shoot(page, `${part.replace("/", "-")}-${name}-${colorScheme}`);
      }
    },
  );
});
