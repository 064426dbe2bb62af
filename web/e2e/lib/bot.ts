/** A native participant in the meeting: the `darktower-bot` binary, told and asked in JSON lines. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { builtBinary } from "./built.ts";

/** One line that it said. */
export interface Said {
  event: string;
  t_ms: number;
  [fact: string]: unknown;
}

export interface BotTrack {
  kind: "audio" | "video";
  frames: number;
  keys: number;
  first_is_key: boolean;
  undecodable: number;
  malformed: number;
  /** The longest time between two frames since it was last counted. */
  longest_gap_ms: number;
}

/** As the bot's own options are named. */
export interface BotOptions {
  video?: string;
  audio?: string;
  /** Where it reaches the media handler, such as at a relay. */
  "media-via"?: string;
}

export class Bot {
  readonly name: string;
  /** Everything it said, oldest first. */
  readonly said: Said[] = [];
  /** When each of them was heard here, wall time in ms. */
  readonly heardAt: number[] = [];
  readonly #process: ChildProcess;
  readonly #errors: string[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #ended: Promise<number | null>;

  private constructor(name: string, process: ChildProcess) {
    this.name = name;
    this.#process = process;
    createInterface({ input: process.stdout! }).on("line", (line) => {
      this.heardAt.push(Date.now());
      this.said.push(JSON.parse(line) as Said);
      for (const look of [...this.#waiting]) look();
    });
    createInterface({ input: process.stderr! }).on("line", (line) => this.#errors.push(line));
    this.#ended = new Promise((resolve) => process.once("close", (code) => resolve(code)));
  }

  /** On the way into the meeting of a full link. */
  static start(link: string, name: string, options: BotOptions = {}): Bot {
    const given = Object.entries(options).flatMap(([kind, value]) => [`--${kind}`, value]);
    const child = spawn(builtBinary("darktower-bot", "DARKTOWER_BOT"), ["--meeting", link, "--name", name, ...given], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    return new Bot(name, child);
  }

  /** Gives it an order. */
  tell(order: object): void {
    this.#process.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  /** Resolves once it is in the meeting. */
  async joined(): Promise<void> {
    await this.until(() => this.last("joined"));
  }

  /** The newest line of a kind. */
  last(event: string): Said | undefined {
    return this.said.findLast((one) => one.event === event);
  }

  /** Waits for a line, or a state of the lines. */
  async until<T>(look: () => T | undefined | false, within = 15_000): Promise<T> {
    const found = look();
    if (found) return found;
    return await new Promise<T>((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(late);
        this.#waiting.delete(again);
        act();
      };
      const again = (): void => {
        const found = look();
        if (found) settle(() => resolve(found));
      };
      const tail = (): string => [...this.said.slice(-5).map((it) => JSON.stringify(it)), ...this.#errors].join("\n");
      const late = setTimeout(
        () => settle(() => reject(new Error(`${this.name} does not get there; it said last:\n${tail()}`))),
        within,
      );
      this.#waiting.add(again);
      void this.#ended.then((code) => settle(() => reject(new Error(`${this.name} ended with ${code}:\n${tail()}`))));
    });
  }

  /** What it counted, no older than `frames` frames of each kind. */
  async received(frames: number): Promise<{ tracks: BotTrack[]; counters: Record<string, number> }> {
    return await this.until(() => {
      const counted = this.last("counters") as unknown as
        { tracks: BotTrack[]; counters: Record<string, number> } | undefined;
      const enough = (kind: string): boolean =>
        counted?.tracks.some((track) => track.kind === kind && track.frames >= frames) ?? false;
      return enough("video") && enough("audio") && counted;
    });
  }

  /** Leaves in order; its last word says whether all it received was well. */
  async leave(): Promise<Said> {
    this.#process.stdin!.end(`{"do":"leave"}\n`);
    const force = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await this.#ended;
    clearTimeout(force);
    const summary = this.last("summary");
    if (summary === undefined) throw new Error(`${this.name} left without a summary:\n${this.#errors.join("\n")}`);
    return summary;
  }

  /** For the end of a test that may have failed: gone whatever it does. */
  async stop(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }
}
