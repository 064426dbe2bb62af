/** One remote audio track: opened packets to samples for the playout worklet. */
import type { Packet } from "../audio/sound.ts";
import type { ToPlayout } from "../audio/messages.ts";
import type { TrackStats } from "../messages.ts";

/** What a packet's header says of its sound. */
export type Heading = Pick<Packet, "number" | "captureUs" | "rest">;

export class AudioReceiver {
  readonly stats: TrackStats;
  readonly #track: number;
  readonly #channels: 1 | 2;
  readonly #play: (message: ToPlayout, transfer: Transferable[]) => void;
  #decoder: AudioDecoder | null = null;
  /** Decoders restamp by counting samples; headings wait here. */
  #headings: Heading[] = [];

  constructor(track: number, channels: 1 | 2, play: (message: ToPlayout, transfer: Transferable[]) => void) {
    this.#track = track;
    this.#channels = channels;
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

  take(heading: Heading, bytes: Uint8Array): void {
    this.stats.frames++;
    this.stats.bytes += bytes.length;
    try {
      const decoder = this.#ready();
      decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: heading.captureUs, data: bytes }));
      this.#headings.push(heading);
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
    this.#headings = [];
    this.#decoder = new AudioDecoder({
      output: (data) => this.#decoded(data),
      error: (error) => this.#failed(error),
    });
    this.#decoder.configure({ codec: "opus", sampleRate: 48_000, numberOfChannels: this.#channels });
    return this.#decoder;
  }

  #decoded(data: AudioData): void {
    const heading = this.#headings.shift();
    if (heading !== undefined) {
      this.stats.decoded++;
      const count = data.numberOfFrames;
      const channels = data.numberOfChannels > 1 ? 2 : 1;
      const samples = new Float32Array(channels * count);
      for (let plane = 0; plane < channels; plane++) {
        data.copyTo(samples.subarray(plane * count, (plane + 1) * count), { planeIndex: plane, format: "f32-planar" });
      }
      const packet = { ...heading, track: this.#track, channels, samples } as const;
      this.#play({ type: "packet", packet }, [samples.buffer]);
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
