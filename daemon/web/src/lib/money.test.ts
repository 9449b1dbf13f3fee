import { describe, expect, it } from "vitest";
import { AMOUNT_MOST, decimal, parseAmount, trx, usdt } from "./money";

const plain = (text: string) => text.replaceAll("\u00a0", " ");

describe("amounts", () => {
  it.each([
    [0, "0.00"],
    [1, "0.000001"],
    [10, "0.00001"],
    [12_500_000, "12.50"],
    [12_000_001, "12.000001"],
    [1_234_567_890_000, "1,234,567.89"],
    [-5_000_000, "-5.00"],
    [AMOUNT_MOST, "9,007,199,254.740991"],
  ])("%i is %s", (units, text) => expect(decimal(units)).toBe(text));
  it("have their unit, and a dash where there is none", () => {
    expect(plain(usdt(10_000_000))).toBe("10.00 USDT");
    expect(plain(trx(1))).toBe("0.000001 TRX");
    expect(decimal(null)).toBe("–");
    expect(decimal(0.5)).toBe("–");
  });
  it.each([
    ["12.5", 12_500_000],
    [" 0.000001 ", 1],
    ["007", 7_000_000],
    ["0.1", 100_000],
    ["9007199254.740991", AMOUNT_MOST],
  ])("%s reads as %i", (text, units) => expect(parseAmount(text)).toEqual({ units }));
  it.each([
    "",
    "-1",
    "0",
    "0.000000",
    "1.0000001",
    "9007199254.740992",
    "1e3",
    "1,5",
    ".5",
    "5.",
    "١",
    "99999999999999999999",
  ])("%j is refused with a sentence", (text) =>
    expect(parseAmount(text)).toHaveProperty("error", expect.stringMatching(/\.$/)),
  );
  it("what is shown reads back", () => {
    for (const units of [1, 999_999, 1_000_000, 123_456_789, AMOUNT_MOST]) {
      expect(parseAmount(decimal(units).replaceAll(",", ""))).toEqual({ units });
    }
  });
});
