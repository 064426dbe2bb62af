/**
 * What is heard (`sound.wasm`, `crates/core/sound`) behind its calling
 * convention: the audio thread mixes with it, the worker listens with it. This
 * file knows no rule. A trap leaves an instance useless: whoever gets an error
 * from here drops it.
 */
import type { PlayoutReport } from "./messages.ts";

interface Exports {
  memory: WebAssembly.Memory;
  snd_input(count: number): number;
  snd_push(
    now: number,
    track: number,
    number: number,
    captureUs: number,
    rest: number,
    samples: number,
    channels: number,
  ): number;
  snd_forget(track: number): void;
  snd_mix(now: number, samples: number): number;
  snd_report(now: number): number;
  snd_reports(): number;
  snd_ear(kind: number): number;
  snd_hear(ear: number, samples: number, muted: number): number;
  snd_ear_end(ear: number): void;
}

/** A decoded packet of a remote track. */
export interface Packet {
  track: number;
  /** One more for each packet of the track. */
  number: number;
  captureUs: number;
  /** Its level is 127: nothing worth hearing follows until the next one. */
  rest: boolean;
  channels: 1 | 2;
  /** Channel after channel, 48 kHz. */
  samples: Float32Array;
}

/** What becomes of a captured packet. */
export interface Heard {
  /** −dBov (RFC 6464): 0 the loudest, 127 silence. */
  level: number;
  voice: boolean;
  turn: "send" | "rest" | "pause";
}

const TURNS = ["send", "rest", "pause"] as const;
const REPORT_NUMBERS = 12;

/** One instance of the module; times are seconds of the caller's clock. */
export class Sound {
  readonly #exports: Exports;

  constructor(module: WebAssembly.Module) {
    this.#exports = new WebAssembly.Instance(module).exports as unknown as Exports;
  }

  /** Takes a packet that came at `now`. */
  push(now: number, packet: Packet): void {
    const { track, number, captureUs, rest, channels, samples } = packet;
    this.#input(samples);
    this.#exports.snd_push(now, track, number, captureUs, rest ? 1 : 0, samples.length / channels, channels);
  }

  /** The track ended. */
  forget(track: number): void {
    this.#exports.snd_forget(track);
  }

  /** Writes what everybody is heard to say from `now` on. */
  mix(now: number, left: Float32Array, right: Float32Array | undefined): void {
    const count = left.length;
    const at = this.#exports.snd_mix(now, count);
    const mixed = new Float32Array(this.#exports.memory.buffer, at, 2 * count);
    left.set(mixed.subarray(0, count));
    right?.set(mixed.subarray(count));
  }

  /** Each track's account of itself. */
  reports(now: number): PlayoutReport[] {
    const count = this.#exports.snd_report(now);
    const numbers = new Float64Array(this.#exports.memory.buffer, this.#exports.snd_reports(), count * REPORT_NUMBERS);
    return Array.from({ length: count }, (_, i) => report(numbers.subarray(i * REPORT_NUMBERS)));
  }

  /** Listens to an own track: a voice, or any other sound. */
  ears(voice: boolean): Ears {
    const ear = this.#exports.snd_ear(voice ? 0 : 1);
    return {
      hear: (samples, muted) => {
        this.#input(samples);
        const bits = this.#exports.snd_hear(ear, samples.length, muted ? 1 : 0);
        return { level: bits & 0x7f, voice: (bits & 0x80) !== 0, turn: TURNS[(bits >> 8) & 3] ?? "send" };
      },
      end: () => this.#exports.snd_ear_end(ear),
    };
  }

  #input(samples: Float32Array): void {
    const at = this.#exports.snd_input(samples.length);
    new Float32Array(this.#exports.memory.buffer, at, samples.length).set(samples);
  }
}

export interface Ears {
  /** Judges the next packet: 20 ms, one channel. */
  hear(samples: Float32Array, muted: boolean): Heard;
  end(): void;
}

function report(numbers: Float64Array): PlayoutReport {
  const [track, playing, delay, target, buffered, played, late, lost, skipped, underruns, concealed, stretched] =
    numbers as unknown as number[];
  return {
    track: track!,
    playingUs: playing! < 0 ? null : playing!,
    delayMs: delay! / 1000,
    targetMs: target! / 1000,
    bufferedMs: buffered! / 1000,
    played: played!,
    late: late!,
    lost: lost!,
    skipped: skipped!,
    underruns: underruns!,
    concealedMs: concealed! / 1000,
    stretched: stretched!,
  };
}
