import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` sends API requests. */
const api = process.env["DARKTOWER_API"] ?? "http://localhost:8080";

/** Lets the browser fetch the core while it reads the page's script: a round trip less before a join. */
function preloadCore(): Plugin {
  return {
    name: "preload-core",
    transformIndexHtml: {
      order: "post",
      handler: (_, { bundle }) =>
        Object.keys(bundle ?? {})
          .filter((name) => name.endsWith(".wasm"))
          .map((name) => ({
            tag: "link",
            attrs: { rel: "preload", href: `/${name}`, as: "fetch", type: "application/wasm", crossorigin: true },
            injectTo: "head",
          })),
    },
  };
}

export default defineConfig({
  plugins: [svelte(), preloadCore()],
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
