// The payments page of the real daemon over the real payment process and the TRON simulator: a payout is asked for on the
// page and seen to be paid, one above the limit waits for a second person, stake comes back when the chain says.
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PaymentsStatus, PayoutPage, Statement } from "../src/lib/payments";
import { launch, open, type Watched } from "./chromium";
import { programs, startSandbox, type Sandbox } from "./sandbox";
import { accessible, claim, read, until } from "./steps";
import { startTarget, type Target } from "./target";

const PAYEE = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH";
const found = programs();

let target: Target;
let sandbox: Sandbox;
let browser: Browser;
let seen: Watched;

describe.runIf(found !== null)("payments of a real process", () => {
  beforeAll(async () => {
    if (!found) return;
    sandbox = await startSandbox(found);
    [target, browser] = await Promise.all([startTarget([`payments.socket=${sandbox.socket}`]), launch()]);
    seen = await open(browser, target.url);
    await claim(seen.page, target);
    await seen.page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Payments" }).click();
    await until<PaymentsStatus>(seen.page, "/payments/status", (one) => one.status?.state === "ready");
  });
  afterEach(() => expect(seen.faults).toEqual([]));
  afterAll(async () => {
    await browser?.close();
    await target?.close();
    await sandbox?.close();
  });

  async function ask(amount: string, reason: string): Promise<void> {
    const { page } = seen;
    await page.getByRole("button", { name: "Request a payout" }).click();
    const dialog = page.getByRole("dialog", { name: "Request a payout" });
    await dialog.getByLabel("Payee’s TRON address").fill(PAYEE);
    await dialog.getByLabel("Amount in USDT").fill(amount);
    await dialog.getByLabel("What it is paid for").fill(reason);
    await dialog.getByRole("button", { name: "Show the cost" }).click();
    await dialog.getByRole("button", { name: /^Request [\d,.]+/ }).click();
    await dialog.waitFor({ state: "detached" });
  }

  it("show play money, and the wallet with what it holds", async () => {
    const { page } = seen;
    await page.getByText("Play money.").waitFor();
    await page.getByRole("link", { name: "Wallets" }).click();
    // What was given counts once the block that holds it is final.
    await expect
      .poll(
        async () => {
          await page.getByRole("button", { name: "Ask again" }).click();
          return page.locator("[data-wallet]").getByText("5,000.00").count();
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBeGreaterThan(0);
    await accessible(page, "wallets of a sandbox");
    await page.getByRole("link", { name: "Payouts" }).click();
    await page.getByText("No payouts yet").waitFor();
  });

  it("pay what is asked for, once, and say how", async () => {
    const { page } = seen;
    await ask("12.50", "invoice 7");
    const paid = page.locator('[data-payout][data-state="confirmed"]', { hasText: "12.50" });
    await paid.waitFor({ timeout: 60_000 });
    await paid.getByRole("button", { name: "Details" }).click();
    const steps = paid.getByRole("list", { name: "Every state it took" });
    await steps.getByText("Signed", { exact: true }).waitFor();
    await steps.getByText("Paid", { exact: true }).waitFor();
    const page1 = await read<PayoutPage>(page, "/payments/payouts");
    expect(page1.payouts.map((one) => one.amount_micro)).toEqual([12_500_000]);
  });

  it("let a large one wait for a second person, and say so", async () => {
    const { page } = seen;
    await ask("1500", "invoice 8");
    const held = page.locator('[data-payout][data-state="held"]', { hasText: "1,500.00" });
    await held.waitFor({ timeout: 30_000 });
    await held.getByRole("button", { name: /Why is this waiting/ }).click();
    await held
      .getByText(/second person|another person|approve/i)
      .first()
      .waitFor();
    // Whoever asked is no second person.
    await held.getByRole("button", { name: "Approve" }).click();
    await held.getByRole("alert").waitFor();
    await held.getByRole("button", { name: "Reject…" }).click();
    await held.getByLabel("Why it shall not be paid").fill("asked by mistake");
    await held.getByRole("button", { name: "Reject for good" }).click();
    await page.locator('[data-payout][data-state="failed"]', { hasText: "1,500.00" }).waitFor();
  });

  it("stake, and add the month up", async () => {
    const { page } = seen;
    await page.getByRole("link", { name: "Staking" }).click();
    await page.getByLabel("Amount in TRX").fill("2000");
    await page.getByLabel("I want this to be signed and sent").check();
    await page.getByRole("button", { name: "Stake", exact: true }).click();
    await page.getByText(/Transaction [0-9a-f]{64}/).waitFor({ timeout: 60_000 });
    const month = new Date().toISOString().slice(0, 7);
    const statement = await read<Statement>(page, `/payments/statements?month=${month}`);
    expect(statement.net_micro).toBe(12_500_000);
    await page.getByRole("link", { name: "Statements" }).click();
    await page.getByRole("region", { name: "Lines of the statement" }).getByText("invoice 7").waitFor();
  });
});
