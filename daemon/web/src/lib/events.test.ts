import { describe, expect, it } from "vitest";
import { backoffMs } from "./events";

describe("back-off", () => {
  it("grows, is spread, and is capped", () => {
    expect(backoffMs(0, 0)).toBe(250);
    expect(backoffMs(0, 1)).toBe(500);
    expect(backoffMs(3, 1)).toBe(4000);
    expect(backoffMs(10, 1)).toBe(15_000);
    expect(backoffMs(5000, 0)).toBe(7500);
  });
});
