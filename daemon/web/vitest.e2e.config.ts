// Black-box tests in Debian's Chromium, against the real daemon (LUCID_BIN or LUCID_URL) or the fixture server.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // A busy machine may take its time; no test judges by it.
    expect: { poll: { timeout: 20_000, interval: 100 } },
    include: ["e2e/**/*.e2e.ts"],
    environment: "node",
    testTimeout: 90_000,
    hookTimeout: 90_000,
    fileParallelism: false,
    sequence: { concurrent: false },
    bail: 0,
  },
});
