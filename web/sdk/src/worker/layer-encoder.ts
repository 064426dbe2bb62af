/** One layer of an own video track: pictures to chunks at the rate that the core allows. */
import type { LayerStats, VideoSettings } from "../messages.ts";
import { screenPace, type LayerOffer } from "../layers.ts";
import { fit } from "./size.ts";

export interface LayerSink {
  encoded(layer: number, temporal: number, key: boolean, captureUs: number, chunk: EncodedVideoChunk): void;
}

/** With so many in the encoder the next picture is dropped: they hold the camera's buffers, and it would stall for all. */
const MAX_BEHIND = 3;
/** An encoder that fails this often in a row is not made anew. */
const MAX_FAILURES = 5;

export class LayerEncoder {
  readonly stats: LayerStats;
  readonly #settings: VideoSettings;
  readonly #offer: LayerOffer;
  readonly #sink: LayerSink;
  #encoder: VideoEncoder | null = null;
  #size = { width: 0, height: 0 };
  #configured = { bitrate: 0, every: 1 };
  #bitrate: number;
  #shed = false;
  #keyWanted = true;
  #failures = 0;
  /** Without temporal layers: not every browser has them. */
  #plain = false;
  #pictures = 0;
  readonly #begun: number[] = [];

  constructor(layer: number, settings: VideoSettings, sink: LayerSink) {
    this.#settings = settings;
    this.#offer = settings.layers[layer]!;
    this.#sink = sink;
    this.#bitrate = this.#offer.bitrate;
    const counts = { encoded: 0, keyFrames: 0, bytes: 0, dropped: 0, topTemporal: 0, width: 0, height: 0, encodeMs: 0 };
    this.stats = { layer, on: true, bitrate: this.#bitrate, ...counts };
  }

  /** Wanted, and within what the path carries. */
  get wanted(): boolean {
    return this.#bitrate > 0;
  }

  /** Bits per second from now on; 0 pauses the layer and lets its encoder go. */
  set bitrate(bitrate: number) {
    const resumed = this.#bitrate === 0 && bitrate > 0;
    this.#bitrate = bitrate;
    this.stats.bitrate = bitrate;
    if (resumed) this.#keyWanted = true;
    this.#rest();
  }

  /** Given up for now, because the machine does not keep up. */
  set shed(shed: boolean) {
    if (this.#shed && !shed) this.#keyWanted = true;
    this.#shed = shed;
    this.#rest();
  }

  /** Pictures handed over and not encoded yet. The encoder's own `encodeQueueSize` leaves out those it is busy with. */
  get behind(): number {
    return this.#begun.length;
  }

  /** The next picture is a key frame. */
  key(): void {
    this.#keyWanted = true;
  }

  /** Makes the encoder for pictures like this one, so that the first need not wait for it. */
  warm(frame: VideoFrame): void {
    if (this.stats.on) this.#ready(frame);
  }

  take(frame: VideoFrame, every: number): void {
    if (!this.stats.on) return;
    const detail = this.#settings.detail;
    const pace = Math.max(every, detail ? screenPace(this.#bitrate, this.#offer.bitrate) : 1);
    // What was asked for anew is not kept waiting by the pace.
    if (this.#pictures++ % pace !== 0 && !this.#keyWanted) return;
    try {
      const encoder = this.#ready(frame, pace);
      if (encoder === null) return;
      if (this.behind >= MAX_BEHIND) {
        this.stats.dropped++;
        return;
      }
      encoder.encode(frame, { keyFrame: this.#keyWanted });
      this.#begun.push(performance.now());
      this.#keyWanted = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  end(): void {
    this.#close();
  }

  #rest(): void {
    this.stats.on = this.#bitrate > 0 && !this.#shed;
    if (!this.stats.on) this.#close();
  }

  #ready(frame: VideoFrame, every = 1): VideoEncoder | null {
    const size = fit(frame.displayWidth, frame.displayHeight, this.#offer.width, this.#offer.height);
    const [known, { width, height }] = [this.#encoder, this.#size];
    if (known?.state === "configured" && size.width === width && size.height === height) {
      // A new rate needs no key frame.
      if (this.#configured.bitrate !== this.#bitrate || this.#configured.every !== every) this.#configure(known, every);
      return known;
    }
    if (this.#failures > MAX_FAILURES) return null;
    this.#close();
    const encoder = new VideoEncoder({
      output: (chunk, metadata) => this.#encoded(encoder, chunk, metadata),
      error: (error) => this.#failed(error),
    });
    this.#encoder = encoder;
    this.#size = size;
    this.#configure(encoder, every);
    Object.assign(this.stats, size);
    // A new size starts a new group, so that whoever begins here can decode.
    this.#keyWanted = true;
    return encoder;
  }

  /** The encoder itself scales pictures of another size, as its standard demands. */
  #configure(encoder: VideoEncoder, every: number): void {
    const { codec, frameRate, detail } = this.#settings;
    this.#configured = { bitrate: this.#bitrate, every };
    const temporal = this.#plain ? 1 : this.#offer.temporal_layers;
    encoder.configure({
      codec,
      ...this.#size,
      bitrate: this.#bitrate,
      framerate: frameRate / every,
      latencyMode: "realtime",
      bitrateMode: "variable",
      contentHint: detail ? "text" : "motion",
      ...(temporal > 1 ? { scalabilityMode: `L1T${temporal}` } : {}),
      ...(codec.startsWith("avc1") ? { avc: { format: "annexb" } } : {}),
    } as VideoEncoderConfig);
  }

  #encoded(from: VideoEncoder, chunk: EncodedVideoChunk, metadata: EncodedVideoChunkMetadata | undefined): void {
    // The last words of an encoder that was let go belong to a group that is over.
    if (from !== this.#encoder) return;
    const begun = this.#begun.shift();
    if (begun !== undefined) {
      const ms = performance.now() - begun;
      this.stats.encodeMs = this.stats.encoded === 0 ? ms : this.stats.encodeMs + (ms - this.stats.encodeMs) / 16;
    }
    const svc = (metadata as { svc?: { temporalLayerId?: number } } | undefined)?.svc;
    const temporal = svc?.temporalLayerId ?? 0;
    const key = chunk.type === "key";
    this.#failures = 0;
    this.stats.encoded++;
    this.stats.bytes += chunk.byteLength;
    this.stats.topTemporal = Math.max(this.stats.topTemporal, temporal);
    if (key) this.stats.keyFrames++;
    this.#sink.encoded(this.stats.layer, temporal, key, chunk.timestamp, chunk);
  }

  #failed(error: unknown): void {
    // The encoder is made anew for the next picture, a few times.
    this.#failures++;
    if (this.stats.encoded === 0) this.#plain = true;
    console.warn("video encoder", this.#settings.codec, this.#size.width, this.#size.height, error);
    this.#close();
  }

  #close(): void {
    if (this.#encoder !== null && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
    this.#begun.length = 0;
  }
}
