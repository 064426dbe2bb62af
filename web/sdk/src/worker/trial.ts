/** Measures how long a codec takes for a picture of this camera, beside what is going on anyway. */
import type { VideoSettings } from "../messages.ts";
import { LayerEncoder } from "./layer-encoder.ts";

/** Enough that the first key frame does not decide. */
const PICTURES = 24;

export class Trial {
  readonly #encoder: LayerEncoder;
  readonly #told: (ms: number) => void;
  #taken = 0;
  #over = false;

  /** `told` gets the time of a picture of the largest layer in ms; infinite where it does not keep up. */
  constructor(settings: VideoSettings, told: (ms: number) => void) {
    this.#told = told;
    this.#encoder = new LayerEncoder(settings.layers.length - 1, settings, { encoded: () => this.#encoded() });
  }

  /** False once it is over. */
  take(frame: VideoFrame): boolean {
    if (this.#over) return false;
    this.#encoder.take(frame, 1);
    if (++this.#taken > 2 * PICTURES) this.#end(Infinity);
    return !this.#over;
  }

  #encoded(): void {
    const { encoded, encodeMs, dropped } = this.#encoder.stats;
    if (encoded >= PICTURES) this.#end(dropped > 0 ? Infinity : encodeMs);
  }

  #end(ms: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#encoder.end();
    this.#told(ms);
  }
}
