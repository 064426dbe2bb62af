/** What the media worker and the audio thread say to one another. */

/** The jitter buffer's account of one track. */
export interface PlayoutReport {
  track: number;
  /** Capture time of the sample that leaves the buffer now; null while it fills. */
  playingUs: number | null;
  bufferedMs: number;
  targetMs: number;
  underruns: number;
  concealedMs: number;
  late: number;
}

/** Worker to playout worklet. */
export type ToPlayout =
  | { type: "samples"; track: number; captureUs: number; samples: Float32Array<ArrayBuffer> }
  | { type: "gone"; track: number };

/** Playout worklet to worker. */
export type FromPlayout = { type: "reports"; reports: PlayoutReport[] };
