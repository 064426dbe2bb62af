/** Spans of the program: the collector of `bench/load`, and one join drawn as their tree. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { builtBinary } from "../lib/built.ts";

/** A step of the page, in ms since the click. */
export interface Step {
  name: string;
  /** The span id that the page told the services, where it is known. */
  span?: string;
  began_ms: number;
  ended_ms: number;
}

export interface TracedJoin {
  title: string;
  trace: string;
  click_unix_ms: number;
  total_ms: number;
  steps: Step[];
}

/** Spans without which a join's trace is not complete. */
const WANTED = ["http_request", "session", "join", "media session"];

export class Spans {
  /** What makes a program export to this collector. */
  readonly environment: Record<string, string>;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(environment: Record<string, string>, process: ChildProcess, lines: AsyncIterator<string>) {
    this.environment = environment;
    this.#process = process;
    this.#lines = lines;
  }

  static async start(): Promise<Spans> {
    const child = spawn(builtBinary("bench-spans", "BENCH_SPANS"), [], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { environment } = (await next(lines)) as { environment: Record<string, string> };
    return new Spans(environment, child, lines);
  }

  /** Waits until the spans of the join have arrived. */
  async tree(join: TracedJoin): Promise<string> {
    this.#process.stdin!.write(`${JSON.stringify({ join, wanted: WANTED })}\n`);
    const answer = (await next(this.#lines)) as { tree?: string; error?: string };
    if (answer.tree === undefined) throw new Error(`no spans: ${answer.error}`);
    return answer.tree;
  }

  /** It stops when its input ends. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin!.end();
    await ended;
  }
}

async function next(lines: AsyncIterator<string>): Promise<unknown> {
  const line = await lines.next();
  if (line.done === true) throw new Error("the collector of spans ended");
  return JSON.parse(line.value);
}
