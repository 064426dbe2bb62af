/**
 * What a sender gives up when the machine does not keep up with encoding. Pure:
 * it is told of each picture whether an encoder was still behind when it came.
 */

/** Pictures of so long are judged together. */
const WINDOW_MS = 2_000;
/** This share of late pictures is too much: people begin to see it. */
const TOO_LATE = 0.25;
/** This share is none to speak of. */
const CALM = 0.05;
/** After so long without trouble a step back up is tried; each failure doubles it. */
const RETRY_MS = 15_000;
/** A step up that fails within this was wrong. */
const PROOF_MS = 10_000;
const MAX_DOUBLINGS = 5;

export class Shedding {
  /** How many steps have been given up. */
  level = 0;
  readonly #steps: number;
  #since: number | null = null;
  #pictures = 0;
  #late = 0;
  #calmSince: number | null = null;
  #raisedAt = -Infinity;
  #doublings = 0;

  constructor(steps: number) {
    this.#steps = steps;
  }

  /** A picture came; `late`: an encoder still had two to do. Says "more" or "less" where the level changed. */
  picture(nowMs: number, late: boolean): "more" | "less" | null {
    this.#since ??= nowMs;
    this.#pictures++;
    if (late) this.#late++;
    if (nowMs - this.#since < WINDOW_MS) return null;
    const share = this.#late / this.#pictures;
    const enough = this.#pictures >= 8;
    this.#since = nowMs;
    this.#pictures = 0;
    this.#late = 0;
    if (!enough) return null;
    if (share > TOO_LATE) return this.#shed(nowMs);
    if (share > CALM) {
      this.#calmSince = null;
      return null;
    }
    this.#calmSince ??= nowMs;
    const wait = RETRY_MS * 2 ** this.#doublings;
    if (this.level === 0 || nowMs - this.#calmSince < wait) return null;
    this.level--;
    this.#calmSince = null;
    this.#raisedAt = nowMs;
    return "less";
  }

  #shed(nowMs: number): "more" | null {
    this.#calmSince = null;
    if (nowMs - this.#raisedAt < PROOF_MS) {
      this.#doublings = Math.min(MAX_DOUBLINGS, this.#doublings + 1);
      this.#raisedAt = -Infinity;
    }
    if (this.level === this.#steps) return null;
    this.level++;
    return "more";
  }
}

/** What is left at a level: how many of the layers that are on, and every how many-th picture. */
export interface Left {
  layers: number;
  every: number;
}

/** Steps there are with so many layers. */
export function steps(layers: number): number {
  return layers - 1 + PACES.length - 1;
}

const PACES = [1, 2, 4];

/** Cameras give up size and keep moving; screens give up motion and stay sharp. */
export function left(level: number, layers: number, screen: boolean): Left {
  const first = screen ? PACES.length - 1 : Math.max(0, layers - 1);
  const [one, two] = [Math.min(level, first), Math.max(0, level - first)];
  const [paces, sizes] = screen ? [one, two] : [two, one];
  return { layers: Math.max(1, layers - sizes), every: PACES[Math.min(paces, PACES.length - 1)]! };
}
