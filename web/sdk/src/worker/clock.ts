/**
 * One media clock for all tracks of this participant, in microseconds of the
 * worker's `performance.now()`. Sources stamp their frames with clocks of their
 * own; each is mapped by the smallest delay seen, so that arrival jitter does
 * not reach the capture time. Pure.
 */
export class CaptureClock {
  #offsetUs: number | null = null;

  /** The capture time of a frame with the source's `timestampUs`, arrived at `nowUs`. */
  capture(nowUs: number, timestampUs: number): number {
    const offset = nowUs - timestampUs;
    if (this.#offsetUs === null || Math.abs(offset - this.#offsetUs) > 1e6) this.#offsetUs = offset;
    else if (offset < this.#offsetUs) this.#offsetUs = offset;
    // The two clocks drift: let the estimate rise by 1 ms in about 3 s.
    else this.#offsetUs += Math.min(10, offset - this.#offsetUs);
    return Math.max(0, Math.round(timestampUs + this.#offsetUs));
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
    this.#soundOffset = fresh ? offset : known + (offset - known) * 0.2;
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

/** Reports come every 100 ms; without one for this long there is no sound. */
const SOUND_FRESH_MS = 500;
const MAX_JITTER_MS = 60;
/** A picture is never held longer, whatever the clocks say. */
const MAX_WAIT_MS = 300;
