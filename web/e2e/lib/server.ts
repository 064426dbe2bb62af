/** The program under test: the `darktower` binary on free ports, with data of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { builtBinary } from "./built.ts";

const START_MS = 30_000;

export class Server {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #directory: string;
  /** What it logged, line by line. */
  readonly log: string[];

  private constructor(url: string, process: ChildProcess, directory: string, log: string[]) {
    this.url = url;
    this.#process = process;
    this.#directory = directory;
    this.log = log;
  }

  /** Starts all services in one process; `env` adds settings. */
  static async start(env: Record<string, string> = {}): Promise<Server> {
    const directory = mkdtempSync(join(tmpdir(), "darktower-e2e-"));
    const child = spawn(builtBinary("darktower", "DARKTOWER_BIN"), [], {
      cwd: directory,
      env: {
        ...process.env,
        DARKTOWER_NODE__DATA_DIR: directory,
        DARKTOWER_NODE__STOP_WITHIN: "1s",
        DARKTOWER_GLOBAL__HTTP: "127.0.0.1:0",
        DARKTOWER_GLOBAL__HTTPS: "127.0.0.1:0",
        DARKTOWER_GLOBAL__CREATIONS_PER_SECOND: "1000",
        DARKTOWER_GLOBAL__CREATION_BURST: "1000",
        DARKTOWER_GLOBAL__LOOKUPS_PER_SECOND: "1000",
        DARKTOWER_GLOBAL__LOOKUP_BURST: "1000",
        DARKTOWER_MEETING__LISTEN: "127.0.0.1:0",
        DARKTOWER_MEDIA__LISTEN: "127.0.0.1:0",
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log: string[] = [];
    const url = await new Promise<string>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the server did not start:\n${log.join("\n")}`)), START_MS);
      const settle = (act: () => void): void => {
        clearTimeout(late);
        act();
      };
      child.once("error", (error) => settle(() => reject(error)));
      child.once("exit", (code) =>
        settle(() => reject(new Error(`the server ended with ${code}:\n${log.join("\n")}`))),
      );
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream! }).on("line", (line) => {
          log.push(line);
          const found = /^open (http:\/\/\S+)/.exec(line);
          if (found) settle(() => resolve(found[1]!));
        });
      }
    });
    return new Server(url, child, directory, log);
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) resolve();
      else this.#process.once("exit", () => resolve());
    });
    this.#process.kill("SIGTERM");
    const force = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(force);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
