/** What the media worker and the audio thread say to one another. */
import type { Packet } from "./sound.ts";

/** The jitter buffer's account of one track; counts since its beginning. */
export interface PlayoutReport {
  track: number;
  /** Capture time of the sound that leaves the buffer now; null where none did for a second. */
  playingUs: number | null;
  /** How much later than its fastest packet would be the sound is played, and how much later it should be. */
  delayMs: number;
  targetMs: number;
  /** Sound that waits for its time. */
  bufferedMs: number;
  played: number;
  /** Packets that came after their time, never came, and were given up to catch up. */
  late: number;
  lost: number;
  skipped: number;
  /** Times when nothing was there to play outside of a pause. */
  underruns: number;
  /** Sound that was made up. */
  concealedMs: number;
  /** Packets played faster or slower. */
  stretched: number;
}

/** Worker to playout worklet. */
export type ToPlayout =
  { type: "packet"; packet: Packet & { samples: Float32Array<ArrayBuffer> } } | { type: "gone"; track: number };

/** Playout worklet to worker. */
export type FromPlayout = { type: "reports"; reports: PlayoutReport[] } | { type: "broken"; detail: string };

/** What the playout worklet is made with. */
export interface PlayoutOptions {
  module: WebAssembly.Module;
}
