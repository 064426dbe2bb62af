/** One own audio track: samples to Opus packets of 20 ms with their loudness. */
import { levelByte, minusDbov, VoiceDetector } from "../audio/level.ts";
import type { AudioInput, AudioSettings, SentStats } from "../messages.ts";
import { CaptureClock, PacketClock } from "./clock.ts";
import { takeAll, type ChunkSink } from "./video-sender.ts";

export const SAMPLE_RATE = 48_000;
const PACKET = 960;
const PACKET_US = 20_000;

export class AudioSender {
  readonly stats: SentStats;
  readonly #settings: AudioSettings;
  readonly #sink: ChunkSink;
  readonly #heard: (minusDbov: number) => void;
  readonly #clock = new CaptureClock();
  readonly #packets = new PacketClock(PACKET_US);
  readonly #voice = new VoiceDetector();
  #encoder: AudioEncoder | null = null;
  #block = new Float32Array(PACKET);
  #filled = 0;
  #blockUs = 0;
  /** The encoder's own timestamps count samples and close up over gaps: stamps wait here. */
  #stamps: { captureUs: number; level: number }[] = [];
  #stop: () => void = () => {};
  #failures = 0;
  flowing = false;
  muted = false;

  constructor(handle: number, settings: AudioSettings, sink: ChunkSink, heard: (minusDbov: number) => void) {
    this.#settings = settings;
    this.#sink = sink;
    this.#heard = heard;
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
        this.#samples(event.data, timestampUs);
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
    this.#close();
  }

  #take(data: AudioData): void {
    try {
      this.#samples(mono(data), data.timestamp);
    } finally {
      data.close();
    }
  }

  #samples(samples: Float32Array, timestampUs: number): void {
    const captureUs = this.#clock.capture(performance.now() * 1000, timestampUs);
    for (let at = 0; at < samples.length;) {
      if (this.#filled === 0) this.#blockUs = captureUs + (at / SAMPLE_RATE) * 1e6;
      const part = samples.subarray(at, at + PACKET - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === PACKET) this.#packet();
    }
  }

  #packet(): void {
    this.#filled = 0;
    const captureUs = this.#packets.next(this.#blockUs);
    const loudness = minusDbov(this.#block);
    const voice = this.#voice.take(loudness);
    this.#heard(this.muted ? 127 : loudness);
    try {
      const encoder = this.#ready();
      if (encoder === null || !this.flowing || this.muted) return;
      const data = new AudioData({
        format: "f32-planar",
        sampleRate: SAMPLE_RATE,
        numberOfFrames: PACKET,
        numberOfChannels: 1,
        timestamp: captureUs,
        data: this.#block,
      });
      this.#stamps.push({ captureUs, level: levelByte(loudness, voice) });
      encoder.encode(data);
      data.close();
    } catch (error) {
      this.#failed(error);
    }
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
      numberOfChannels: 1,
      bitrate: this.#settings.bitrate,
      opus: {
        frameDuration: PACKET_US,
        application: this.#settings.voice ? "voip" : "audio",
        signal: this.#settings.voice ? "voice" : "music",
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

/** All channels of `data` as one, at 48 kHz. */
function mono(data: AudioData): Float32Array {
  const frames = data.numberOfFrames;
  const sum = new Float32Array(frames);
  const channel = new Float32Array(frames);
  for (let i = 0; i < data.numberOfChannels; i++) {
    data.copyTo(channel, { planeIndex: i, format: "f32-planar" });
    for (let j = 0; j < frames; j++) sum[j]! += channel[j]! / data.numberOfChannels;
  }
  return data.sampleRate === SAMPLE_RATE ? sum : resample(sum, data.sampleRate);
}

/** Linear interpolation: microphones that do not run at 48 kHz are rare. */
function resample(samples: Float32Array, rate: number): Float32Array {
  const out = new Float32Array(Math.round((samples.length * SAMPLE_RATE) / rate));
  for (let i = 0; i < out.length; i++) {
    const at = Math.min(samples.length - 1, (i * rate) / SAMPLE_RATE);
    const low = Math.floor(at);
    const high = Math.min(samples.length - 1, low + 1);
    out[i] = samples[low]! + (samples[high]! - samples[low]!) * (at - low);
  }
  return out;
}
