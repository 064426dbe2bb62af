import { JitterBuffer } from "./jitter.ts";
import type { PlayoutReport } from "./messages.ts";

/** All tracks of a meeting into one signal. Pure, as the buffers are. */
export class Mixer {
  readonly #rate: number;
  readonly #tracks = new Map<number, JitterBuffer>();

  constructor(sampleRate: number) {
    this.#rate = sampleRate;
  }

  push(nowS: number, track: number, captureUs: number, samples: Float32Array): void {
    let buffer = this.#tracks.get(track);
    if (buffer === undefined) this.#tracks.set(track, (buffer = new JitterBuffer(this.#rate)));
    buffer.push(nowS, captureUs, samples);
  }

  /** The track ended. */
  forget(track: number): void {
    this.#tracks.delete(track);
  }

  /** Writes the next samples of everybody. */
  mix(out: Float32Array): void {
    out.fill(0);
    for (const buffer of this.#tracks.values()) buffer.pull(out);
    if (this.#tracks.size < 2) return;
    // Several voices may add up beyond full scale: bend instead of clipping.
    for (let i = 0; i < out.length; i++) {
      const sample = out[i]!;
      if (sample > 0.8 || sample < -0.8)
        out[i] = Math.sign(sample) * (0.8 + 0.2 * Math.tanh((Math.abs(sample) - 0.8) / 0.2));
    }
  }

  reports(): PlayoutReport[] {
    return Array.from(this.#tracks, ([track, buffer]) => ({ track, ...buffer.report() }));
  }
}
