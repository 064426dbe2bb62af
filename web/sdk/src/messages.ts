/** What page and worker say to one another. Both are ours, so there is no version. */
import type { Access } from "./api.ts";
import type { PlayoutReport } from "./audio/messages.ts";
import type { LayerOffer } from "./layers.ts";
import type { CoreState, Source } from "./snapshot.ts";

/** How a track is announced; the core's own words. */
export interface TrackOffer {
  handle: number;
  source: Source;
  codec: string;
  muted: boolean;
  label: string;
  layers?: LayerOffer[];
  /** The number of an own track that this one takes the place of. */
  replaces?: number;
  sample_rate?: number;
  channels?: number;
}

/** How a video source is encoded. */
export interface VideoSettings {
  codec: string;
  frameRate: number;
  /** Favour sharpness (screens) over motion (cameras). */
  detail: boolean;
  /** The smallest first. */
  layers: LayerOffer[];
}

/** A remote video track on the screen, in device pixels. */
export interface View {
  track: number;
  width: number;
  height: number;
  pinned: boolean;
}

export interface AudioSettings {
  bitrate: number;
  voice: boolean;
}

/** Where the worker gets frames: a stream of them, or a port (browsers without stream processors). */
export type VideoInput = { readable: ReadableStream<VideoFrame> } | { port: MessagePort };
export type AudioInput = { readable: ReadableStream<AudioData> } | { port: MessagePort };

export type Command =
  | { do: "enter"; access: Access; link_secret: string | null; traceparent: string }
  | { do: "resume"; resume: string; access: Access; link_secret: string | null; traceparent: string }
  | { do: "found"; access: Access }
  | { do: "join"; name: string; tracks: TrackOffer[]; traceparent: string }
  | { do: "publish"; track: TrackOffer }
  | { do: "unpublish"; handle: number }
  | { do: "mute"; handle: number; muted: boolean }
  | { do: "subscribe"; track: number; wanted: boolean }
  | { do: "decodes"; codecs: readonly string[] }
  | { do: "show"; views: View[] }
  | { do: "remove"; participant: string }
  | { do: "end" }
  | { do: "leave" };

export type ToWorker =
  | { type: "core"; module: WebAssembly.Module }
  | { type: "command"; command: Command }
  | { type: "video-input"; handle: number; input: VideoInput; settings: VideoSettings }
  | { type: "audio-input"; handle: number; input: AudioInput; settings: AudioSettings }
  | { type: "trial"; handle: number; settings: VideoSettings }
  | { type: "input-end"; handle: number }
  | { type: "input-forget"; handle: number }
  | { type: "mute"; handle: number; muted: boolean }
  | { type: "attach"; track: number; view: number; canvas: OffscreenCanvas }
  | { type: "detach"; view: number }
  | { type: "playout"; port: MessagePort }
  | { type: "latency"; ms: number }
  | { type: "stats"; id: number };

export type ToPage =
  | { type: "started" }
  | { type: "state"; state: CoreState }
  | { type: "event"; event: Record<string, unknown> }
  | { type: "heard"; speaking: string[] }
  | { type: "level"; handle: number; level: number }
  | { type: "mark"; name: Mark; at: number }
  | { type: "view-size"; view: number; width: number; height: number }
  | { type: "too-slow"; handle: number }
  | { type: "trial"; handle: number; codec: string; ms: number }
  | { type: "stats"; id: number; stats: WorkerStats }
  | { type: "fatal"; detail: string };

/** Moments of a join, in ms of wall time (`performance.timeOrigin + performance.now()`). */
export type Mark =
  | "click"
  | "enter"
  | "core_ready"
  | "signal_ready"
  | "media_ready"
  | "joined"
  | "keys_ready"
  | "first_frame_decrypted"
  | "first_frame_decoded"
  | "first_frame_drawn";

export interface WorkerStats {
  marks: Partial<Record<Mark, number>>;
  received: TrackStats[];
  sent: SentStats[];
  links: {
    link: number;
    streamsOpened: number;
    streamsTaken: number;
    datagramsIn: number;
    datagramsOut: number;
    refusedOpens: number;
  }[];
  counters: Record<string, number>;
}

export interface TrackStats {
  track: number;
  kind: "audio" | "video";
  /** Opened frames given to the decoder. */
  frames: number;
  keyFrames: number;
  bytes: number;
  decoded: number;
  drawn: number;
  /** Decoded but never shown: a newer one was due. */
  skipped: number;
  decoderErrors: number;
  /** Drawn in the last second. */
  fps: number;
  width: number;
  height: number;
  /** Video ahead of the same participant's sound, ms, at the last drawn frame. */
  avSkewMs: number | null;
  playout: PlayoutReport | null;
  video?: VideoStats;
}

/** Of a video track that is shown; times while it was hidden or muted do not count. */
export interface VideoStats {
  /** The layer of the picture decoded last; null before the first. */
  layer: number | null;
  /** How often the layer changed. */
  switches: number;
  /** Gaps of more than 200 ms between decoded pictures, all of them together, and the longest gap of any size. */
  freezes: number;
  frozenMs: number;
  longestGapMs: number;
  /** Something decodes it. */
  decoding: boolean;
}

export interface SentStats {
  handle: number;
  encoded: number;
  keyFrames: number;
  bytes: number;
  /** Not encoded because the encoder was behind. */
  dropped: number;
  width: number;
  height: number;
  /** Of video: the rest is of all layers together. */
  codec?: string;
  screen?: boolean;
  /** Steps given up because the machine does not keep up. */
  shed?: number;
  layers?: LayerStats[];
}

export interface LayerStats {
  layer: number;
  /** It is encoded now. */
  on: boolean;
  /** What it may make, in bits per second. */
  bitrate: number;
  encoded: number;
  keyFrames: number;
  bytes: number;
  dropped: number;
  /** The highest temporal layer that its encoder told of. */
  topTemporal: number;
  width: number;
  height: number;
  /** From a picture's handing over to its chunk, of late. */
  encodeMs: number;
}
