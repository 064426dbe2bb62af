import { defineConfig } from "@playwright/test";

/**
 * Real browsers against the real program. One worker: the machine has two
 * cores and every test runs several encoders. No retries: a flake is a fault.
 */
export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 90_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
});
