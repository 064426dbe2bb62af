// The app without the cores would be a page that cannot join, or hears nobody.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

for (const name of ["core.wasm", "sound.wasm"]) {
  const module = fileURLToPath(new URL(`../../sdk/src/${name}`, import.meta.url));
  if (!existsSync(module) && process.env.DARKTOWER_WITHOUT_CORE !== "1") {
    console.error(`${module} is missing: build it with scripts/build-web-core.sh (or "make web-core").`);
    process.exit(1);
  }
}
