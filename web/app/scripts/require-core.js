// The app without the participant's core would be a page that cannot join.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const core = fileURLToPath(new URL("../../sdk/src/core.wasm", import.meta.url));
if (!existsSync(core) && process.env.DARKTOWER_WITHOUT_CORE !== "1") {
  console.error(`${core} is missing: build it with scripts/build-web-core.sh (or "make web").`);
  process.exit(1);
}
