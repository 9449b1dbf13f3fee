// Who signs, what others may take, and proposals that are passed around, on the payments page. Against the stand-in device.
import type { Locator, Page } from "playwright-core";
import { beforeEach, describe, expect, it } from "vitest";
import type { Watched } from "./chromium";
import { shoot, standIn, type StandIn } from "./standin";
import { accessible, fits } from "./steps";

interface World {
  payments: { allowed?: Map<string, number>; sent?: boolean };
}

const PAYEE = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8";

let device: StandIn<World>;
let seen: Watched;
const enter = standIn<World>();

beforeEach(async () => {
  ({ device, seen } = await enter());
  await seen.page.goto(`${device.url}/#/payments/wallets`);
});

const card = (page: Page, id: string) => page.locator(`[data-wallet="${id}"]`);

async function propose(page: Page): Promise<Locator> {
  await card(page, "cold").getByRole("button", { name: "Propose a payment" }).click();
  const form = page.getByRole("dialog", { name: "Propose a payment from Cold store" });
  await form.getByLabel("Payee’s TRON address").fill(PAYEE);
  await form.getByLabel("Amount in USDT").fill("7,5");
  await form.getByRole("button", { name: "Make the proposal" }).click();
  await form.getByRole("alert").getByText("at most one point").waitFor();
  await form.getByLabel("Amount in USDT").fill("7");
  await accessible(page, "propose a payment");
  await shoot(page, "payments-propose");
  await form.getByRole("button", { name: "Make the proposal" }).click();
  return page.getByRole("dialog", { name: "Proposal", exact: true });
}

describe("signers on the payments page", () => {
  it("are named with their keys, and a Ledger with its path", async () => {
    const { page } = seen;
    const cold = card(page, "cold");
    await cold.getByText("Who signs", { exact: true }).click();
    await cold.getByText("Several keys share this account").waitFor();
    await cold.getByText("Several signers").waitFor();
    const keys = cold.getByRole("list", { name: "Keys of permission 2" });
    expect((await keys.innerText()).replaceAll("\n", " ")).toMatch(/Ann weight 1, key is here.*not known here/);
    const stick = card(page, "stick");
    await stick.getByText("Hardware", { exact: true }).waitFor();
    await stick.getByText("Who signs", { exact: true }).click();
    await stick.getByText("m/44'/195'/0'/0/0").waitFor();
    await stick.getByText(/built without Ledger/).waitFor();
    await accessible(page, "who signs");
    await shoot(page, "payments-signers");
    // What pays by itself asks for payouts; nothing is proposed from it.
    expect(await card(page, "main").getByRole("button", { name: "Propose a payment" }).count()).toBe(0);
  });

  it("give the router what it may take, and take everything back from another", async () => {
    const { page } = seen;
    const main = card(page, "main");
    await main.getByText("What others may take").click();
    const list = main.getByRole("list", { name: "Allowances of Main" });
    const other = list.getByRole("listitem").filter({ hasText: "not the router" });
    await other.getByText("everything").waitFor();
    await accessible(page, "allowances");
    await shoot(page, "payments-allowances");
    await other.getByRole("button", { name: "End it…" }).click();
    await other.getByRole("button", { name: "Keep it" }).click();
    expect([...(device.world.payments.allowed?.values() ?? [])]).toEqual([Number.MAX_SAFE_INTEGER]);
    await other.getByRole("button", { name: "End it…" }).click();
    await other.getByRole("button", { name: "End it: sign and send" }).click();
    await other.getByText("nothing").waitFor();
    const router = list.getByRole("listitem").filter({ hasText: "the payout router" });
    await router.getByLabel("Let the router take, in USDT").fill("250");
    await router.getByRole("button", { name: "Sign and send" }).click();
    await router.getByText("250.00").waitFor();
    await main.getByText(/counts once the block is final/).waitFor();
    // Elsewhere nothing is signed from here.
    const cold = card(page, "cold");
    await cold.getByText("What others may take").click();
    await cold.getByRole("list", { name: "Allowances of Cold store" }).getByText("nothing").waitFor();
    expect(await cold.getByRole("button", { name: "Sign and send" }).count()).toBe(0);
  });

  it("sign a proposal here and elsewhere, and send it once enough have", async () => {
    const { page } = seen;
    const dialog = await propose(page);
    await dialog.getByText("weight 0 of 2: more must sign", { exact: false }).first().waitFor();
    await dialog.getByText("NOT_ENOUGH_PERMISSION").waitFor();
    await dialog.getByRole("img", { name: "The proposal as a QR code" }).waitFor();
    await accessible(page, "a proposal");
    await shoot(page, "payments-proposal-desktop");
    await dialog.getByRole("button", { name: "Sign with Ann" }).click();
    await dialog.getByRole("heading", { name: "Signed: weight 1 of 2" }).waitFor();
    expect(await dialog.getByRole("button", { name: "Sign with" }).count()).toBe(0);
    const [saved] = await Promise.all([
      page.waitForEvent("download"),
      dialog.getByRole("button", { name: "Save as a file" }).click(),
    ]);
    expect(saved.suggestedFilename()).toMatch(/^proposal-9c9c9c9c-1-of-2\.txt$/);
    // What comes back from elsewhere: nonsense, then a file with the other signature.
    await dialog.getByText("Take in what others signed").click();
    await dialog.getByLabel("Or the text").fill("hello");
    await dialog.getByRole("button", { name: "Take it in" }).click();
    await dialog.getByText("There is no proposal in it").waitFor();
    await dialog.getByLabel("Or only a signature").fill("00");
    await dialog.getByRole("button", { name: "Add the signature" }).click();
    await dialog.getByRole("alert").getByText("130 hexadecimal digits").waitFor();
    const text = Buffer.from(`LUCID-TRX1:${"0A02".repeat(90)}B\n`);
    await dialog.getByLabel("Files").setInputFiles({ name: "bob.txt", mimeType: "text/plain", buffer: text });
    await dialog.getByRole("heading", { name: "Signed: weight 2 of 2" }).waitFor();
    await dialog.getByText("The node finds the signatures enough").waitFor();
    await page.setViewportSize({ width: 390, height: 844 });
    await fits(page, "a proposal on a phone");
    await accessible(page, "a signed proposal");
    await shoot(page, "payments-proposal-phone");
    expect(await dialog.getByRole("button", { name: "Send", exact: true }).isDisabled()).toBe(true);
    await dialog.getByLabel(/I want this to be sent/).check();
    await dialog.getByRole("button", { name: "Send", exact: true }).click();
    await dialog.getByText("In a block", { exact: true }).waitFor();
    expect(device.world.payments.sent).toBe(true);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    // A wallet's parts on a phone, all open.
    for (const id of ["main", "cold"])
      for (const part of ["Who signs", "What others may take"]) {
        await card(page, id).getByText(part, { exact: true }).click();
        await card(page, id).locator("details[open]").last().waitFor();
      }
    await page.waitForFunction(() => !/Asking…/.test(document.querySelector("main")?.innerText ?? ""));
    await fits(page, "wallets on a phone");
    await accessible(page, "wallets with everything open");
    await shoot(page, "payments-wallets-open-phone");
  });
});
