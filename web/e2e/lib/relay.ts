/** The impairing relay (`tests/link`) before one door of the program. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { createInterface, type Interface } from "node:readline";
import { builtBinary } from "./built.ts";

const ANSWER_MS = 10_000;

/** Some of a link's conditions, as `tests/link/src/control.rs` has them; what is not named stays. */
export interface Conditions {
  /** Both where it is not said. */
  direction?: "up" | "down";
  delay_ms?: number;
  /** 0 is no limit; what waits for it longer than `queue_ms` is dropped. */
  rate_bps?: number;
  queue_ms?: number;
  blackout?: boolean;
}

export class Relay {
  /** Where clients reach it, on UDP and TCP. */
  readonly address: string;
  readonly #process: ChildProcess;
  readonly #lines: Interface;

  private constructor(address: string, process: ChildProcess, lines: Interface) {
    this.address = address;
    this.#process = process;
    this.#lines = lines;
  }

  static async start(to: string): Promise<Relay> {
    const child = spawn(builtBinary("darktower-link", "DARKTOWER_LINK"), ["--to", to, "--control"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout! });
    const { listen } = JSON.parse(await line(lines, child)) as { listen: string };
    return new Relay(listen, child, lines);
  }

  get port(): string {
    return this.address.slice(this.address.lastIndexOf(":") + 1);
  }

  /** From now on, half of it each way. */
  async setRoundTrip(ms: number): Promise<void> {
    await this.set({ delay_ms: ms / 2 });
  }

  /** From now on nothing passes, or everything does. */
  async setBlackout(dark: boolean): Promise<void> {
    await this.set({ blackout: dark });
  }

  /** It is like this from now on. */
  async set(conditions: Conditions): Promise<void> {
    const answer = line(this.#lines, this.#process);
    this.#process.stdin!.write(`${JSON.stringify(conditions)}\n`);
    const { ok } = JSON.parse(await answer) as { ok: boolean };
    if (!ok) throw new Error(`the relay refuses ${JSON.stringify(conditions)}`);
  }

  /** It stops when its input ends. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin!.end();
    const force = setTimeout(() => this.#process.kill("SIGKILL"), ANSWER_MS);
    await ended;
    clearTimeout(force);
  }
}

function line(lines: Interface, from: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (): void => settle(() => reject(new Error("the relay does not answer")));
    const settle = (act: () => void): void => {
      clearTimeout(late);
      lines.off("line", got);
      from.off("exit", fail);
      from.off("error", fail);
      act();
    };
    const got = (text: string): void => settle(() => resolve(text));
    const late = setTimeout(fail, ANSWER_MS);
    lines.once("line", got);
    from.once("exit", fail);
    from.once("error", fail);
  });
}

/** A UDP port that was free a moment ago: a service must know its own before it tells it to anybody. */
export async function freeUdp(): Promise<string> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(0, "127.0.0.1", resolve);
  });
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return `127.0.0.1:${port}`;
}
