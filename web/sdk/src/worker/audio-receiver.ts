/** One remote audio track: opened packets to samples for the playout worklet. */
import type { ToPlayout } from "../audio/messages.ts";
import type { TrackStats } from "../messages.ts";

export class AudioReceiver {
  readonly stats: TrackStats;
  readonly #track: number;
  readonly #play: (message: ToPlayout, transfer: Transferable[]) => void;
  #decoder: AudioDecoder | null = null;
  /** Decoders restamp by counting samples; capture times wait here. */
  #stamps: number[] = [];

  constructor(track: number, play: (message: ToPlayout, transfer: Transferable[]) => void) {
    this.#track = track;
    this.#play = play;
    this.stats = {
      track,
      kind: "audio",
      frames: 0,
      keyFrames: 0,
      bytes: 0,
      decoded: 0,
      drawn: 0,
      skipped: 0,
      decoderErrors: 0,
      fps: 0,
      width: 0,
      height: 0,
      avSkewMs: null,
      playout: null,
    };
  }

  take(captureUs: number, bytes: Uint8Array): void {
    this.stats.frames++;
    this.stats.bytes += bytes.length;
    try {
      const decoder = this.#ready();
      decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: captureUs, data: bytes }));
      this.#stamps.push(captureUs);
    } catch (error) {
      this.#failed(error);
    }
  }

  end(): void {
    this.#close();
    this.#play({ type: "gone", track: this.#track }, []);
  }

  #ready(): AudioDecoder {
    if (this.#decoder?.state === "configured") return this.#decoder;
    this.#stamps = [];
    this.#decoder = new AudioDecoder({
      output: (data) => this.#decoded(data),
      error: (error) => this.#failed(error),
    });
    this.#decoder.configure({ codec: "opus", sampleRate: 48_000, numberOfChannels: 1 });
    return this.#decoder;
  }

  #decoded(data: AudioData): void {
    const captureUs = this.#stamps.shift();
    if (captureUs !== undefined) {
      this.stats.decoded++;
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      this.#play({ type: "samples", track: this.#track, captureUs, samples }, [samples.buffer]);
    }
    data.close();
  }

  #failed(error: unknown): void {
    this.stats.decoderErrors++;
    console.warn("audio decoder", error);
    this.#close();
  }

  #close(): void {
    if (this.#decoder !== null && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
  }
}
