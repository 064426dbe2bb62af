/** How long the smallest delay counts, in µs: between this and twice this. */
const WINDOW_US = 1_500_000;
/** A change of the estimate beyond this is a jump of the source's clock, not drift. */
const JUMP_US = 20_000;
/** How fast the estimate follows drift upwards, in µs a frame. */
const SLEW_US = 100;

/**
 * One media clock for all tracks of this participant, in microseconds of the
 * worker's `performance.now()`. Sources stamp their frames with clocks of their
 * own; each is mapped by the smallest delay of the last seconds, so that arrival
 * jitter does not reach the capture time, and a source that stamped wrongly once
 * (after a stall) is soon believed again. Pure.
 */
export class CaptureClock {
  #offsetUs: number | null = null;
  #smallest = Infinity;
  #smallestBefore = Infinity;
  #windowEndUs = 0;

  /** The capture time of a frame with the source's `timestampUs`, arrived at `nowUs`. */
  capture(nowUs: number, timestampUs: number): number {
    const delay = nowUs - timestampUs;
    if (nowUs >= this.#windowEndUs) {
      this.#smallestBefore = this.#smallest;
      this.#smallest = Infinity;
      this.#windowEndUs = nowUs + WINDOW_US;
    }
    this.#smallest = Math.min(this.#smallest, delay);
    const wanted = Math.min(this.#smallest, this.#smallestBefore);
    const known = this.#offsetUs;
    if (known === null || wanted < known || wanted > known + JUMP_US) this.#offsetUs = wanted;
    else this.#offsetUs = Math.min(wanted, known + SLEW_US);
    return Math.max(0, Math.round(timestampUs + this.#offsetUs));
  }
}

/** Packets in a row that must be off before the clock is believed over the count. */
const OFF_PACKETS = 10;
const OFF_US = 60_000;
/** Drift that is followed, in µs a packet. */
const DRIFT_US = 40;

/**
 * Sound is continuous: packets follow one another by their length, whatever
 * jitter the source's stamps have. Only a lasting difference (samples were lost,
 * the source began anew) is believed. Pure.
 */
export class PacketClock {
  readonly #lengthUs: number;
  #nextUs: number | null = null;
  #off = 0;

  constructor(lengthUs: number) {
    this.#lengthUs = lengthUs;
  }

  /** The capture time of the next packet, which the capture clock puts at `estimateUs`. */
  next(estimateUs: number): number {
    const counted = this.#nextUs ?? estimateUs;
    const difference = estimateUs - counted;
    this.#off = Math.abs(difference) > OFF_US ? this.#off + 1 : 0;
    const anew = this.#off >= OFF_PACKETS;
    if (anew) this.#off = 0;
    const drift = Math.max(-DRIFT_US, Math.min(DRIFT_US, difference));
    const at = Math.max(0, Math.round(anew ? estimateUs : counted + drift));
    this.#nextUs = at + this.#lengthUs;
    return at;
  }
}

/**
 * When a remote participant's picture is due. It follows the sound of the same
 * participant where there is any, else the fastest frame seen plus the jitter.
 * Pure; times of the local clock in ms.
 */
export class PresentationClock {
  /** local ms − capture ms of the sound that is heard now, and when that was said. */
  #soundOffset: number | null = null;
  #soundAt = -Infinity;
  #fastest: number | null = null;
  #jitter = 0;

  /** The sound captured at `captureUs` is heard at `heardAtMs`. */
  sound(nowMs: number, captureUs: number, heardAtMs: number): void {
    const offset = heardAtMs - captureUs / 1000;
    const known = this.#soundOffset;
    const fresh = known === null || nowMs - this.#soundAt > SOUND_FRESH_MS || Math.abs(offset - known) > 80;
    this.#soundOffset = fresh ? offset : known + (offset - known) * FOLLOW;
    this.#soundAt = nowMs;
  }

  /** A picture captured at `captureUs` was decoded at `nowMs`: when to draw it. */
  due(nowMs: number, captureUs: number): number {
    const offset = nowMs - captureUs / 1000;
    if (this.#fastest === null || Math.abs(offset - this.#fastest) > 2000) {
      this.#fastest = offset;
      this.#jitter = 0;
    }
    this.#fastest = offset < this.#fastest ? offset : this.#fastest + Math.min(0.02, offset - this.#fastest);
    const lateness = offset - this.#fastest;
    this.#jitter = Math.max(this.#jitter * 0.99, Math.min(lateness, MAX_JITTER_MS));
    const sounding = this.#soundOffset !== null && nowMs - this.#soundAt < SOUND_FRESH_MS;
    const base = sounding ? this.#soundOffset! : this.#fastest + this.#jitter;
    return Math.min(nowMs + MAX_WAIT_MS, Math.max(nowMs, captureUs / 1000 + base));
  }

  /** How far ahead of the sound (ms) a picture drawn at `nowMs` is; null without sound. */
  skew(nowMs: number, captureUs: number): number | null {
    if (this.#soundOffset === null || nowMs - this.#soundAt >= SOUND_FRESH_MS) return null;
    return captureUs / 1000 + this.#soundOffset - nowMs;
  }
}

/** Of each report so much is believed: sound that catches up moves by 15 ms between two, and reports come unevenly. */
const FOLLOW = 0.4;
/** Reports come every 100 ms; without one for this long there is no sound. */
const SOUND_FRESH_MS = 500;
const MAX_JITTER_MS = 60;
/** A picture is never held longer, whatever the clocks say. */
const MAX_WAIT_MS = 300;
