// Amounts as integers of the smallest unit, as the API has them, and as people write them. No fractions in binary: a
// millionth of a USDT (or TRX) is 1. Pure; tested in money.test.ts.

const UNIT = 1_000_000;
/** The largest amount the payment process takes: 2^53 - 1 of the smallest unit. */
export const AMOUNT_MOST = Number.MAX_SAFE_INTEGER;
/** A no-break space: keeps a figure and its unit on one line. */
const SP = "\u00a0";

/** "1,234.50", "0.000001": two decimals at least, six at most. */
export function decimal(units: number | null | undefined): string {
  if (typeof units !== "number" || !Number.isSafeInteger(units)) return "–";
  const size = Math.abs(units);
  const whole = Math.floor(size / UNIT).toLocaleString("en-GB");
  const fraction = String(size % UNIT)
    .padStart(6, "0")
    .replace(/0{1,4}$/, "");
  return `${units < 0 ? "-" : ""}${whole}.${fraction}`;
}

export const usdt = (micro: number | null | undefined): string => `${decimal(micro)}${SP}USDT`;
export const trx = (sun: number | null | undefined): string => `${decimal(sun)}${SP}TRX`;

/** Reads "12.5" exactly; a sentence where it is no amount. */
export function parseAmount(text: string): { units: number } | { error: string } {
  const given = text.trim();
  if (given === "") return { error: "Write an amount, such as 12.5." };
  if (given.startsWith("-")) return { error: "An amount is more than nothing." };
  if (!/^\d+(\.\d+)?$/.test(given)) return { error: "Write digits and at most one point, such as 1250.5." };
  const [whole = "", fraction = ""] = given.split(".");
  if (fraction.length > 6) return { error: "At most six digits after the point: 0.000001 is the least." };
  const units = BigInt(whole) * BigInt(UNIT) + BigInt(fraction.padEnd(6, "0"));
  if (units > BigInt(AMOUNT_MOST)) return { error: "That is larger than any amount." };
  if (units === 0n) return { error: "An amount is more than nothing." };
  return { units: Number(units) };
}
