/** One own audio track: samples to Opus packets of 20 ms with their loudness, while there is something to hear. */
import type { Ears, Heard, Sound } from "../audio/sound.ts";
import type { AudioInput, AudioSettings, SentStats } from "../messages.ts";
import { CaptureClock, PacketClock } from "./clock.ts";
import { planes, SAMPLE_RATE } from "./planes.ts";
import { takeAll, type ChunkSink } from "./video-sender.ts";

const PACKET = 960;
const PACKET_US = 20_000;
/** Levels as they travel: silence until the next packet, and what is added for a voice. */
const REST = 127;
const VOICE_FLAG = 128;
/**
 * Opus leans less on packets before this one, as if so many in a hundred were lost. Its own redundancy (FEC) stays off:
 * no browser decodes it, and bundles repeat whole packets.
 */
const LOSS_PERCENT = 5;

/** Who judges what is captured, and who hears of it. */
export interface Listener {
  /** Null while it loads; until then nothing is sent. */
  sound(): Sound | null;
  heard(minusDbov: number, voice: boolean): void;
}

export class AudioSender {
  readonly stats: SentStats;
  readonly #settings: AudioSettings;
  readonly #channels: 1 | 2;
  readonly #sink: ChunkSink;
  readonly #listener: Listener;
  readonly #clock = new CaptureClock();
  readonly #packets = new PacketClock(PACKET_US);
  #ears: Ears | null = null;
  #encoder: AudioEncoder | null = null;
  /** One packet in the making, channel after channel. */
  #block: Float32Array<ArrayBuffer>;
  #filled = 0;
  #blockUs = 0;
  /** The encoder's own timestamps count samples and close up over gaps: stamps wait here. */
  #stamps: { captureUs: number; level: number }[] = [];
  #stop: () => void = () => {};
  #failures = 0;
  flowing = false;
  muted = false;

  constructor(handle: number, settings: AudioSettings, sink: ChunkSink, listener: Listener) {
    this.#settings = settings;
    // A microphone is in one place; a film is not.
    this.#channels = settings.voice ? 1 : 2;
    this.#block = new Float32Array(PACKET * this.#channels);
    this.#sink = sink;
    this.#listener = listener;
    this.stats = { handle, encoded: 0, keyFrames: 0, bytes: 0, dropped: 0, width: 0, height: 0 };
  }

  /** Takes samples from here on from `input`; a former input is let go. */
  feed(input: AudioInput): void {
    this.#stop();
    this.#filled = 0;
    if ("port" in input) {
      const port = input.port;
      let timestampUs = 0;
      port.onmessage = (event: MessageEvent<Float32Array>) => {
        this.#samples([event.data], timestampUs);
        timestampUs += (event.data.length / SAMPLE_RATE) * 1e6;
      };
      this.#stop = () => port.close();
    } else {
      this.#stop = takeAll(input.readable, (data) => this.#take(data));
    }
  }

  end(): void {
    this.#stop();
    this.#stop = () => {};
    this.#ears?.end();
    this.#ears = null;
    this.#close();
  }

  #take(data: AudioData): void {
    try {
      this.#samples(planes(data, this.#channels), data.timestamp);
    } finally {
      data.close();
    }
  }

  #samples(channels: Float32Array[], timestampUs: number): void {
    const captureUs = this.#clock.capture(performance.now() * 1000, timestampUs);
    const length = channels[0]!.length;
    for (let at = 0; at < length;) {
      if (this.#filled === 0) this.#blockUs = captureUs + (at / SAMPLE_RATE) * 1e6;
      const count = Math.min(length - at, PACKET - this.#filled);
      for (let plane = 0; plane < this.#channels; plane++) {
        const channel = channels[plane] ?? channels[0]!;
        this.#block.set(channel.subarray(at, at + count), plane * PACKET + this.#filled);
      }
      this.#filled += count;
      at += count;
      if (this.#filled === PACKET) this.#packet();
    }
  }

  #packet(): void {
    this.#filled = 0;
    const captureUs = this.#packets.next(this.#blockUs);
    try {
      const heard = this.#hear();
      if (heard === null) return;
      this.#listener.heard(this.muted ? REST : heard.level, heard.voice && !this.muted);
      if (!this.flowing || heard.turn === "pause") return;
      this.#encode(captureUs, heard);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Judged also while nothing is sent: the ears know the room when somebody speaks. */
  #hear(): Heard | null {
    this.#ears ??= this.#listener.sound()?.ears(this.#settings.voice) ?? null;
    if (this.#channels === 1) return this.#ears?.hear(this.#block, this.muted) ?? null;
    const [left, right] = [this.#block.subarray(0, PACKET), this.#block.subarray(PACKET)];
    return (
      this.#ears?.hear(
        left.map((sample, i) => (sample + right[i]!) / 2),
        this.muted,
      ) ?? null
    );
  }

  #encode(captureUs: number, { level, voice, turn }: Heard): void {
    const encoder = this.#ready();
    if (encoder === null) return;
    // What was captured while muted goes nowhere.
    if (this.muted) this.#block.fill(0);
    const data = new AudioData({
      format: "f32-planar",
      sampleRate: SAMPLE_RATE,
      numberOfFrames: PACKET,
      numberOfChannels: this.#channels,
      timestamp: captureUs,
      data: this.#block,
    });
    this.#stamps.push({ captureUs, level: turn === "rest" ? REST : level + (voice ? VOICE_FLAG : 0) });
    encoder.encode(data);
    data.close();
  }

  #ready(): AudioEncoder | null {
    if (this.#encoder?.state === "configured") return this.#encoder;
    if (this.#failures > 5) return null;
    this.#stamps = [];
    this.#encoder = new AudioEncoder({
      output: (chunk) => this.#encoded(chunk),
      error: (error) => this.#failed(error),
    });
    this.#encoder.configure({
      codec: "opus",
      sampleRate: SAMPLE_RATE,
      numberOfChannels: this.#channels,
      bitrate: this.#settings.bitrate,
      opus: {
        frameDuration: PACKET_US,
        application: this.#settings.voice ? "voip" : "audio",
        signal: this.#settings.voice ? "voice" : "music",
        packetlossperc: LOSS_PERCENT,
        useinbandfec: false,
        usedtx: false,
      },
    } as AudioEncoderConfig);
    return this.#encoder;
  }

  #encoded(chunk: EncodedAudioChunk): void {
    const stamp = this.#stamps.shift();
    // One packet more than went in comes out of a flush; it carries no sound.
    if (stamp === undefined) return;
    this.#failures = 0;
    this.stats.encoded++;
    this.stats.bytes += chunk.byteLength;
    this.#sink.encoded(this.stats.handle, 0, true, stamp.captureUs, stamp.level, chunk);
  }

  #failed(error: unknown): void {
    this.#failures++;
    console.warn("audio encoder", error);
    this.#close();
  }

  #close(): void {
    if (this.#encoder !== null && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
  }
}
