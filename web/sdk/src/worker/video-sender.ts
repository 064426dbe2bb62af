/** One own video track: frames from the camera or screen to encoded chunks. */
import type { SentStats, VideoInput, VideoSettings } from "../messages.ts";
import { CaptureClock } from "./clock.ts";
import { fit } from "./size.ts";

/** Where chunks go. */
export interface ChunkSink {
  encoded(
    handle: number,
    temporal: number,
    key: boolean,
    captureUs: number,
    level: number,
    chunk: EncodedVideoChunk | EncodedAudioChunk,
  ): void;
}

/** More than this waiting in the encoder and a frame is dropped instead. */
const MAX_QUEUE = 2;

export class VideoSender {
  readonly stats: SentStats;
  readonly #settings: VideoSettings;
  readonly #sink: ChunkSink;
  readonly #clock = new CaptureClock();
  #encoder: VideoEncoder | null = null;
  #size = { width: 0, height: 0 };
  #keyWanted = true;
  #flowing = false;
  #muted = false;
  #stop: () => void = () => {};
  #over = false;
  #failures = 0;

  constructor(handle: number, settings: VideoSettings, sink: ChunkSink) {
    this.#settings = settings;
    this.#sink = sink;
    this.stats = { handle, encoded: 0, keyFrames: 0, bytes: 0, dropped: 0, width: 0, height: 0 };
  }

  /** Takes frames from here on from `input`; a former input is let go. */
  feed(input: VideoInput): void {
    this.#stop();
    this.#over = false;
    this.#keyWanted = true;
    this.#stop = takeFrames(input, (frame) => this.#take(frame));
  }

  /** Whether the track is published, so that chunks have somewhere to go. */
  set flowing(flowing: boolean) {
    if (flowing && !this.#flowing) this.#keyWanted = true;
    this.#flowing = flowing;
  }

  set muted(muted: boolean) {
    if (!muted && this.#muted) this.#keyWanted = true;
    this.#muted = muted;
  }

  /** The next frame is a key frame. */
  key(): void {
    this.#keyWanted = true;
  }

  end(): void {
    this.#over = true;
    this.#stop();
    this.#stop = () => {};
    this.#close();
  }

  #take(frame: VideoFrame): void {
    try {
      if (this.#over) return;
      const now = performance.now() * 1000;
      const captureUs = this.#clock.capture(now, frame.timestamp);
      const encoder = this.#ready(frame);
      if (encoder === null || !this.#flowing || this.#muted) return;
      if (encoder.encodeQueueSize > MAX_QUEUE) {
        this.stats.dropped++;
        return;
      }
      const stamped = new VideoFrame(frame, { timestamp: captureUs });
      try {
        encoder.encode(stamped, { keyFrame: this.#keyWanted });
        this.#keyWanted = false;
      } finally {
        stamped.close();
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      frame.close();
    }
  }

  /** The encoder for a picture of this size; also in the lobby, so that it is warm at the click. */
  #ready(frame: VideoFrame): VideoEncoder | null {
    const { maxWidth, maxHeight } = this.#settings;
    const size = fit(frame.displayWidth, frame.displayHeight, maxWidth, maxHeight);
    const encoder = this.#encoder;
    if (encoder?.state === "configured" && size.width === this.#size.width && size.height === this.#size.height) {
      return encoder;
    }
    if (this.#failures > 5) return null;
    this.#close();
    this.#encoder = new VideoEncoder({
      output: (chunk, metadata) => this.#encoded(chunk, metadata),
      error: (error) => this.#failed(error),
    });
    this.#encoder.configure({
      codec: this.#settings.codec,
      ...size,
      bitrate: this.#settings.bitrate,
      framerate: this.#settings.frameRate,
      latencyMode: "realtime",
      bitrateMode: "variable",
      contentHint: this.#settings.detail ? "detail" : "motion",
      ...(this.#settings.temporalLayers > 1 ? { scalabilityMode: `L1T${this.#settings.temporalLayers}` } : {}),
    } as VideoEncoderConfig);
    this.#size = size;
    this.stats.width = size.width;
    this.stats.height = size.height;
    // A new size starts a new group, so that whoever begins here can decode.
    this.#keyWanted = true;
    return this.#encoder;
  }

  #encoded(chunk: EncodedVideoChunk, metadata: EncodedVideoChunkMetadata | undefined): void {
    const svc = (metadata as { svc?: { temporalLayerId?: number } } | undefined)?.svc;
    const key = chunk.type === "key";
    this.#failures = 0;
    this.stats.encoded++;
    this.stats.bytes += chunk.byteLength;
    if (key) this.stats.keyFrames++;
    this.#sink.encoded(this.stats.handle, svc?.temporalLayerId ?? 0, key, chunk.timestamp, -1, chunk);
  }

  #failed(error: unknown): void {
    // The encoder is made anew for the next frame, a few times.
    this.#failures++;
    console.warn("video encoder", error);
    this.#close();
  }

  #close(): void {
    if (this.#encoder !== null && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
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
