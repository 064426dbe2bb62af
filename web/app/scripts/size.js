// Prints what a visitor downloads, compressed.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const assets = fileURLToPath(new URL("../dist/assets/", import.meta.url));
for (const name of readdirSync(assets).sort()) {
  const bytes = readFileSync(assets + name);
  console.log(`${(gzipSync(bytes).length / 1000).toFixed(1).padStart(7)} kB gzip  ${name}`);
}
