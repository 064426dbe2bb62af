/** One own video track: frames from the camera or screen to the chunks of its layers. */
import type { SentStats, VideoInput, VideoSettings } from "../messages.ts";
import { CaptureClock } from "./clock.ts";
import { LayerEncoder } from "./layer-encoder.ts";
import { left, Shedding, steps } from "./shedding.ts";
import { Trial } from "./trial.ts";

/** Where chunks go. */
export interface ChunkSink {
  encoded(
    handle: number,
    temporal: number,
    key: boolean,
    captureUs: number,
    level: number,
    chunk: EncodedVideoChunk | EncodedAudioChunk,
    layer?: number,
  ): void;
}

/** So many pictures in an encoder when the next comes, and it is late. */
const LATE_BEHIND = 2;

export class VideoSender {
  readonly #handle: number;
  readonly #settings: VideoSettings;
  readonly #clock = new CaptureClock();
  readonly #layers: LayerEncoder[];
  readonly #shedding: Shedding;
  readonly #tooSlow: () => void;
  #told = false;
  #trial: Trial | null = null;
  #every = 1;
  #flowing = false;
  #muted = false;
  #stop: () => void = () => {};
  #over = false;
  /**
   * A screen's newest picture: a key frame cannot wait for the next, which a still screen never has. A camera's next is
   * there at once, and browsers stop a camera whose few buffers are held.
   */
  #newest: VideoFrame | null = null;
  #captureUs = -1;

  /** `tooSlow` is called once, when this machine does not keep up with the codec. */
  constructor(handle: number, settings: VideoSettings, sink: ChunkSink, tooSlow: () => void) {
    this.#handle = handle;
    this.#settings = settings;
    this.#tooSlow = tooSlow;
    this.#shedding = new Shedding(steps(settings.layers.length));
    this.#layers = settings.layers.map(
      (_, layer) =>
        new LayerEncoder(layer, settings, {
          encoded: (layer, temporal, key, captureUs, chunk) =>
            sink.encoded(handle, temporal, key, captureUs, -1, chunk, layer),
        }),
    );
  }

  /** Takes frames from here on from `input`; a former input is let go. */
  feed(input: VideoInput): void {
    this.#stop();
    this.#over = false;
    this.#forget();
    this.key(null);
    this.#stop = takeFrames(input, (frame) => this.#take(frame));
  }

  /** Whether the track is published, so that chunks have somewhere to go. */
  set flowing(flowing: boolean) {
    const begins = flowing && !this.#flowing;
    this.#flowing = flowing;
    if (begins) this.key(null);
  }

  set muted(muted: boolean) {
    const begins = !muted && this.#muted;
    this.#muted = muted;
    if (begins) this.key(null);
  }

  /** A key frame of a layer (`null`: of each): the next picture, or at once the one there is. */
  key(layer: number | null): void {
    const layers = this.#layers.filter((_, at) => layer === null || at === layer);
    for (const one of layers) one.key();
    if (!this.#flowing || this.#muted || this.#over || this.#newest === null) return;
    // It was encoded before, and no encoder takes the same time twice.
    this.#captureUs += 1;
    try {
      this.#encode(this.#newest, this.#captureUs, layers);
    } catch (error) {
      console.warn("a key frame waits for the next picture", error);
    }
  }

  /** What a layer may make from now on, in bits per second; 0 pauses it. */
  encode(layer: number, bitrate: number): void {
    const one = this.#layers[layer];
    if (one !== undefined) one.bitrate = bitrate;
    this.#share();
  }

  /** Measures, beside all this, what `settings` would take. */
  tryOut(settings: VideoSettings, told: (ms: number) => void): void {
    this.#trial = new Trial(settings, told);
  }

  end(): void {
    this.#over = true;
    this.#stop();
    this.#stop = () => {};
    this.#forget();
    for (const layer of this.#layers) layer.end();
  }

  #forget(): void {
    this.#newest?.close();
    this.#newest = null;
  }

  get stats(): SentStats {
    const layers = this.#layers.map(({ stats }) => ({ ...stats }));
    const sum = (of: (layer: (typeof layers)[number]) => number): number => layers.reduce((n, one) => n + of(one), 0);
    const largest = layers.findLast((one) => one.on && one.width > 0);
    return {
      handle: this.#handle,
      encoded: sum((one) => one.encoded),
      keyFrames: sum((one) => one.keyFrames),
      bytes: sum((one) => one.bytes),
      dropped: sum((one) => one.dropped),
      width: largest?.width ?? 0,
      height: largest?.height ?? 0,
      codec: this.#settings.codec,
      screen: this.#settings.detail,
      shed: this.#shedding.level,
      layers,
    };
  }

  #take(frame: VideoFrame): void {
    try {
      if (this.#over) return;
      const nowUs = performance.now() * 1000;
      this.#captureUs = Math.max(this.#clock.capture(nowUs, frame.timestamp), this.#captureUs + 1);
      if (this.#settings.detail) {
        this.#forget();
        this.#newest = frame.clone();
      }
      if (this.#trial?.take(frame) === false) this.#trial = null;
      if (!this.#flowing || this.#muted) {
        // In the lobby, so that the encoders are there at the click.
        if (!this.#muted) for (const layer of this.#layers) layer.warm(frame);
        return;
      }
      this.#judge(nowUs / 1000);
      this.#encode(frame, this.#captureUs, this.#layers);
    } catch (error) {
      console.warn("a picture could not be encoded", error);
    } finally {
      frame.close();
    }
  }

  #encode(frame: VideoFrame, captureUs: number, layers: LayerEncoder[]): void {
    const stamped = new VideoFrame(frame, { timestamp: captureUs });
    try {
      for (const layer of layers) layer.take(stamped, this.#every);
    } finally {
      stamped.close();
    }
  }

  #judge(nowMs: number): void {
    const late = this.#layers.some((layer) => layer.behind >= LATE_BEHIND);
    const change = this.#shedding.picture(nowMs, late);
    if (change === null) return;
    if (change === "more" && !this.#told) {
      this.#told = true;
      this.#tooSlow();
    }
    this.#share();
  }

  /** Lets as much of what is wanted be encoded as the machine can. */
  #share(): void {
    const wanted = this.#layers.filter((layer) => layer.wanted);
    const { layers, every } = left(this.#shedding.level, wanted.length, this.#settings.detail);
    this.#every = every;
    for (const layer of this.#layers) layer.shed = layer.wanted && wanted.indexOf(layer) >= layers;
  }
}

/** Calls `take` with every frame (which then owns it) until the returned function is called. */
function takeFrames(input: VideoInput, take: (frame: VideoFrame) => void): () => void {
  if ("port" in input) {
    const port = input.port;
    port.onmessage = (event: MessageEvent<VideoFrame | null>) => {
      if (event.data !== null) take(event.data);
    };
    // The page cannot keep a steady beat while hidden; a worker can.
    const beat = setInterval(() => port.postMessage("grab"), 1000 / 30);
    return () => {
      clearInterval(beat);
      port.close();
    };
  }
  return takeAll(input.readable, take);
}

/** Reads a stream of frames to its end; the returned function cancels it. */
export function takeAll<T extends { close(): void }>(
  readable: ReadableStream<T>,
  take: (frame: T) => void,
): () => void {
  const reader = readable.getReader();
  let over = false;
  void (async () => {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        if (over) value.close();
        else take(value);
      }
    } catch (error) {
      if (!over) console.warn("a capture source broke", error);
    }
  })();
  return () => {
    over = true;
    reader.cancel().catch(() => {
      // The source is gone already.
    });
  };
}
