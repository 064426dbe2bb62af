/** Where cargo puts what it builds. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root, from wherever this file was compiled to. */
export function repository(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "Cargo.toml"))) {
    const up = dirname(directory);
    if (up === directory) throw new Error("the repository's root was not found");
    directory = up;
  }
  return directory;
}

/** A program of this repository: the one the environment names, else the development build. */
export function builtBinary(name: string, variable: string): string {
  return process.env[variable] ?? join(repository(), "target/debug", name);
}
