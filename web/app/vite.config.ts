import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` sends API requests. */
const api = process.env["DARKTOWER_API"] ?? "http://localhost:8080";

export default defineConfig({
  plugins: [svelte()],
  worker: { format: "es" },
  build: {
    target: ["chrome111", "firefox130", "safari26"],
    // The page's content security policy has no room for data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { output: { assetFileNames: "assets/[name]-[hash][extname]" } },
  },
  server: { proxy: { "/api": api, "/.well-known": api } },
  test: { include: ["test/**/*.test.ts"] },
});
