/** What is said of connections, in words a person understands. Pure. */
import type { Snapshot, Track } from "@darktower/sdk";

export type PictureState = "good" | "reduced" | "paused";

/** A picture that is this much lower than its tile looks soft. */
const SOFT = 1.6;

/** How a remote picture does on a tile of so many device pixels. */
export function pictureState(track: Track, tileHeight: number): PictureState {
  if (track.paused) return "paused";
  if (track.layer === null || track.layer >= track.layers - 1 || track.height === 0) return "good";
  // Each layer is about half as high as the one above.
  const height = track.height / 2 ** (track.layers - 1 - track.layer);
  return tileHeight > height * SOFT ? "reduced" : "good";
}

export type ConnectionState = "good" | "slow" | "poor" | "none";

/** Thousandths of lost sound that redundancy still covers without being heard, and that it does not. */
const LOSS = { slow: 30, poor: 150 };
/** Below the first a picture of a usual tile does not fit, below the second hardly any does. */
const RATE = { slow: 600_000, poor: 200_000 };

/** How the connection to the others does. */
export function connectionState(snapshot: Snapshot): ConnectionState {
  if (snapshot.links.media !== "up" || snapshot.phase === "reconnecting") return "none";
  const { down_bps: down, up_bps: up, up_loss: loss } = snapshot.estimates;
  const remote = snapshot.participants.filter((one) => !one.me).flatMap((one) => one.tracks);
  const rate = Math.min(down ?? Infinity, up ?? Infinity);
  if (rate < RATE.poor || (loss ?? 0) >= LOSS.poor) return "poor";
  const paused = remote.some((track) => track.paused);
  if (paused || rate < RATE.slow || (loss ?? 0) >= LOSS.slow) return "slow";
  return "good";
}

/** "4.2 Mbit/s", "350 kbit/s". */
export function rateText(bps: number): string {
  return bps >= 999_500 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e4) * 10} kbit/s`;
}

/** Says a state only once it has lasted, so that a moment of it is not shown. A return to `calm` shows at once. */
export class Steady<T> {
  #shown: T;
  #next: T;
  #since = 0;
  readonly #calm: T;
  readonly #lastMs: number;

  constructor(calm: T, lastMs: number) {
    this.#calm = calm;
    this.#shown = calm;
    this.#next = calm;
    this.#lastMs = lastMs;
  }

  /** What to show at `nowMs`, where `state` is what is so. */
  at(nowMs: number, state: T): T {
    if (state !== this.#next) {
      this.#next = state;
      this.#since = nowMs;
    }
    if (state === this.#calm || nowMs - this.#since >= this.#lastMs) this.#shown = state;
    return this.#shown;
  }

  /** When {@link at} would say something else with nothing new; null: never. */
  deadline(): number | null {
    return this.#next === this.#shown ? null : this.#since + this.#lastMs;
  }
}
