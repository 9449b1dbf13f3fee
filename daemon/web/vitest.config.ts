// Unit tests: pure modules under src/lib, no browser.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["src/**/*.test.ts"], environment: "node", env: { TZ: "Europe/Berlin" } },
});
