/** One remote video track: opened chunks to pictures on its canvases, each when it is due. */
import type { TrackStats, VideoStats } from "../messages.ts";
import type { Picture } from "./core.ts";
import type { PresentationClock } from "./clock.ts";

export interface VideoEvents {
  keyFrameWanted(track: number): void;
  decoded(): void;
  drawn(): void;
  viewSize(view: number, width: number, height: number): void;
}

interface View {
  canvas: OffscreenCanvas;
  context: OffscreenCanvasRenderingContext2D;
}

/** A decoder this far behind starts over at a key frame. */
const MAX_QUEUE = 30;
/** Pictures held until they are due. */
const MAX_HELD = 10;
/** A longer gap between decoded pictures is a freeze. */
const FREEZE_MS = 200;
/** Pictures in the decoder that are remembered. */
const MAX_IN_DECODER = 64;

export class VideoReceiver {
  readonly stats: TrackStats;
  readonly #track: number;
  readonly #clock: PresentationClock;
  readonly #events: VideoEvents;
  readonly #views = new Map<number, View>();
  #codec: string;
  #decoder: VideoDecoder | null = null;
  #needsKey = true;
  readonly #held: { frame: VideoFrame; due: number }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #shown: VideoFrame | null = null;
  readonly #drawnAt: number[] = [];
  readonly #video: VideoStats;
  /** What is known of the pictures in the decoder, by capture time. */
  readonly #inDecoder = new Map<number, Picture>();
  /** When the last picture was decoded; null where a gap would mean nothing. */
  #decodedAt: number | null = null;
  #hidden = false;

  constructor(track: number, codec: string, clock: PresentationClock, events: VideoEvents) {
    this.#track = track;
    this.#codec = codec;
    this.#clock = clock;
    this.#events = events;
    const gaps = { freezes: 0, frozenMs: 0, longestGapMs: 0 };
    this.#video = { layer: null, switches: 0, ...gaps, decoding: false };
    this.stats = {
      track,
      kind: "video",
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
      video: this.#video,
    };
  }

  /**
   * On no screen: what comes is let go and nothing decodes it. The last picture
   * stays, to be seen when it is shown again until there is a newer one.
   */
  set hidden(hidden: boolean) {
    if (hidden === this.#hidden) return;
    this.#hidden = hidden;
    if (!hidden) return;
    this.reset();
    this.pause();
  }

  /** Nothing is expected to come: the time until the next picture is no freeze. */
  pause(): void {
    this.#decodedAt = null;
  }

  take(picture: Picture, bytes: Uint8Array): void {
    if (this.#hidden) return;
    const { key, captureUs } = picture;
    this.stats.frames++;
    this.stats.bytes += bytes.length;
    if (key) this.stats.keyFrames++;
    // The core gives groups from their beginning: this one is in the midst of one that was cut here.
    if (this.#needsKey && !key) return this.#events.keyFrameWanted(this.#track);
    if ((this.#decoder?.decodeQueueSize ?? 0) > MAX_QUEUE) {
      this.reset();
      return this.#events.keyFrameWanted(this.#track);
    }
    try {
      const decoder = this.#ready();
      this.#inDecoder.set(captureUs, picture);
      if (this.#inDecoder.size > MAX_IN_DECODER) this.#inDecoder.delete(this.#inDecoder.keys().next().value!);
      decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: captureUs, data: bytes }));
      this.#needsKey = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  /** What comes next is a key frame; what waits in the decoder is of the past. */
  reset(): void {
    this.#needsKey = true;
    this.#close();
  }

  attach(view: number, canvas: OffscreenCanvas): void {
    const context = canvas.getContext("2d", { alpha: false });
    if (context === null) return;
    this.#views.set(view, { canvas, context });
    if (this.#shown !== null) this.#paint(view, this.#shown);
  }

  detach(view: number): View | undefined {
    const known = this.#views.get(view);
    this.#views.delete(view);
    return known;
  }

  /** Everything counted so far; a freeze that lasts counts too. */
  counted(): TrackStats {
    const now = performance.now();
    const fps = this.#drawnAt.filter((at) => at > now - 1000).length;
    const gap = this.#decodedAt === null ? 0 : now - this.#decodedAt;
    const video = { ...this.#video, decoding: this.#decoder !== null };
    if (gap > FREEZE_MS) {
      video.freezes++;
      video.frozenMs += gap;
    }
    video.longestGapMs = Math.max(video.longestGapMs, gap);
    return { ...this.stats, fps, video };
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#close();
    for (const { frame } of this.#held.splice(0)) frame.close();
    this.#shown?.close();
    this.#shown = null;
  }

  #ready(): VideoDecoder {
    if (this.#decoder?.state === "configured") return this.#decoder;
    this.#decoder = new VideoDecoder({
      output: (frame) => this.#decoded(frame),
      error: (error) => this.#failed(error),
    });
    this.#decoder.configure({ codec: this.#codec, optimizeForLatency: true });
    return this.#decoder;
  }

  #decoded(frame: VideoFrame): void {
    this.stats.decoded++;
    const picture = this.#inDecoder.get(frame.timestamp);
    this.#inDecoder.delete(frame.timestamp);
    if (picture?.behind === true) return frame.close();
    this.#events.decoded();
    const now = performance.now();
    this.#count(now, picture?.layer ?? this.#video.layer);
    this.#held.push({ frame, due: this.#clock.due(now, frame.timestamp) });
    while (this.#held.length > MAX_HELD) this.#skip();
    this.#present();
  }

  #count(now: number, layer: number | null): void {
    const video = this.#video;
    if (video.layer !== null && layer !== video.layer) video.switches++;
    video.layer = layer;
    const gap = this.#decodedAt === null ? 0 : now - this.#decodedAt;
    if (gap > FREEZE_MS) {
      video.freezes++;
      video.frozenMs += gap;
    }
    video.longestGapMs = Math.max(video.longestGapMs, gap);
    this.#decodedAt = now;
  }

  /** Draws the newest picture that is due; older ones that are due too were late. */
  #present(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    while (this.#held.length > 1 && this.#held[1]!.due <= now) this.#skip();
    const next = this.#held[0];
    if (next === undefined) return;
    // Timers are late by about a millisecond.
    if (next.due <= now + 1) {
      this.#held.shift();
      this.#draw(next.frame, now);
    }
    const after = this.#held[0];
    if (after !== undefined)
      this.#timer = setTimeout(() => this.#present(), Math.max(0, after.due - performance.now()));
  }

  #skip(): void {
    this.#held.shift()?.frame.close();
    this.stats.skipped++;
  }

  #draw(frame: VideoFrame, now: number): void {
    this.stats.drawn++;
    this.stats.avSkewMs = this.#clock.skew(now, frame.timestamp);
    this.#drawnAt.push(now);
    if (this.#drawnAt.length > 120) this.#drawnAt.shift();
    this.#shown?.close();
    this.#shown = frame;
    for (const view of this.#views.keys()) this.#paint(view, frame);
    this.#events.drawn();
  }

  #paint(id: number, frame: VideoFrame): void {
    const view = this.#views.get(id);
    if (view === undefined) return;
    const { canvas, context } = view;
    const { displayWidth: width, displayHeight: height } = frame;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      this.#events.viewSize(id, width, height);
    }
    this.stats.width = width;
    this.stats.height = height;
    context.drawImage(frame, 0, 0, width, height);
  }

  #failed(error: unknown): void {
    this.stats.decoderErrors++;
    console.warn("video decoder", error);
    this.reset();
    this.#events.keyFrameWanted(this.#track);
  }

  #close(): void {
    if (this.#decoder !== null && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#inDecoder.clear();
  }
}
