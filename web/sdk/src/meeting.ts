import type { Access } from "./api.ts";
import { Player } from "./audio/player.ts";
import { audioFeed, type Feed, videoFeed } from "./capture/input.ts";
import { code as codes } from "./error.ts";
import type {
  AudioSettings,
  Command,
  Mark,
  ToPage,
  ToWorker,
  TrackOffer,
  VideoSettings,
  WorkerStats,
} from "./messages.ts";
import { idleState, type CoreState, type Snapshot, type Source } from "./snapshot.ts";
import { fit } from "./worker/size.ts";

/** What a published video track is encoded to. */
const CAMERA: VideoSettings = {
  codec: "vp8",
  maxWidth: 640,
  maxHeight: 360,
  bitrate: 700_000,
  frameRate: 30,
  temporalLayers: 2,
  detail: false,
};
const SCREEN: VideoSettings = {
  codec: "vp8",
  maxWidth: 1280,
  maxHeight: 720,
  bitrate: 1_500_000,
  frameRate: 15,
  temporalLayers: 2,
  detail: true,
};
const VOICE: AudioSettings = { bitrate: 32_000, voice: true };
const SOUND: AudioSettings = { bitrate: 64_000, voice: false };

export interface MeetingOptions {
  /** Overrides of how the camera is encoded. */
  camera?: Partial<VideoSettings>;
  /** A `traceparent` for each thing asked of the service. */
  traceparent?: () => string;
}

interface Own {
  offer: TrackOffer;
  feed: Feed<unknown> | null;
}

/**
 * One attendance of a meeting. State is a plain snapshot; everything that has
 * keys, frames or connections lives in a worker.
 */
export class Meeting {
  readonly #worker: Worker;
  readonly #player: Player;
  readonly #options: MeetingOptions;
  readonly #listeners = new Set<(snapshot: Snapshot) => void>();
  readonly #levelListeners = new Set<(level: number) => void>();
  readonly #own = new Map<number, Own>();
  readonly #asked = new Map<number, (stats: WorkerStats) => void>();
  readonly #views = new Map<number, (width: number, height: number) => void>();
  readonly #marks: Partial<Record<Mark, number>> = {};
  #latencyTimer: ReturnType<typeof setInterval> | undefined;
  #state: CoreState = idleState;
  #speaking: string[] = [];
  #snapshot: Snapshot;
  #joinAsked = false;
  #playerAsked = false;
  #nextNumber = 1;
  #closed = false;

  /** Starts the worker, which loads the core; nothing is connected yet. */
  constructor(options: MeetingOptions = {}) {
    this.#options = options;
    this.#worker = new Worker(new URL("./worker/worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<ToPage>) => this.#heard(event.data);
    this.#worker.onerror = (event) => this.#broken(event.message);
    this.#player = new Player(() => this.#changed());
    this.#snapshot = this.#compose();
    void this.#loadCore();
  }

  /** The picture now. Never changed in place. */
  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Calls `listener` with the picture now and at each change, until the returned function is called. */
  subscribe(listener: (snapshot: Snapshot) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#snapshot);
    return () => this.#listeners.delete(listener);
  }

  /** The own microphone's loudness, 0 to 1, about ten times a second. */
  onLevel(listener: (level: number) => void): () => void {
    this.#levelListeners.add(listener);
    return () => this.#levelListeners.delete(listener);
  }

  /**
   * Opens both sessions and enters the lobby; with a `resume` string of a
   * former snapshot the seat it belongs to is taken again instead.
   */
  enter(access: Access, options: { linkSecret: string | null; resume?: string | null }): void {
    const asked = { access, link_secret: options.linkSecret, traceparent: this.#traceparent() };
    const resume = options.resume ?? null;
    if (resume === null) this.#command({ do: "enter", ...asked });
    else {
      this.#joinAsked = true;
      this.#command({ do: "resume", resume, ...asked });
    }
  }

  /** Enters the meeting with what is published so far; before the lobby is reached it goes out as soon as it can. */
  join(name: string): void {
    this.mark("click");
    this.#joinAsked = true;
    const tracks = Array.from(this.#own.values(), ({ offer }) => offer);
    this.#command({ do: "join", name, tracks, traceparent: this.#traceparent() });
    void this.resumeSound();
  }

  /** Leaves in order. */
  leave(): void {
    this.#command({ do: "leave" });
    for (const handle of [...this.#own.keys()]) this.#forget(handle);
  }

  /** Offers a captured track to the others; the number returned stands for it here. */
  publish(source: Source, track: MediaStreamTrack, options: { muted?: boolean } = {}): number {
    const handle = this.#nextNumber++;
    const offer: TrackOffer = { handle, source, codec: "opus", muted: options.muted ?? false, label: "" };
    if (track.kind === "video") {
      const settings = this.#videoSettings(source);
      const { width = settings.maxWidth, height = settings.maxHeight } = track.getSettings();
      Object.assign(offer, fit(width, height, settings.maxWidth, settings.maxHeight), {
        codec: settings.codec,
        bitrate: settings.bitrate,
        temporal_layers: settings.temporalLayers,
      });
    } else {
      Object.assign(offer, { bitrate: this.#audioSettings(source).bitrate, sample_rate: 48_000, channels: 1 });
    }
    this.#own.set(handle, { offer, feed: null });
    this.#post({ type: "mute", handle, muted: offer.muted });
    if (this.#joinAsked) this.#command({ do: "publish", track: { ...offer } });
    this.replace(handle, track);
    this.#changed();
    return handle;
  }

  /** Lets another captured track take the place of a published one; `null` stops capturing. */
  replace(handle: number, track: MediaStreamTrack | null): void {
    const own = this.#own.get(handle);
    if (own === undefined) return;
    own.feed?.stop();
    own.feed = null;
    if (track === null) return this.#post({ type: "input-end", handle });
    if (track.kind === "video") {
      const feed = videoFeed(track);
      own.feed = feed;
      const settings = this.#videoSettings(own.offer.source);
      return this.#post({ type: "video-input", handle, input: feed.input, settings }, feed.transfer);
    }
    void this.#feedAudio(handle, own, track);
  }

  async #feedAudio(handle: number, own: Own, track: MediaStreamTrack): Promise<void> {
    try {
      const feed = await audioFeed(track);
      if (this.#own.get(handle) !== own || this.#closed) return feed.stop();
      own.feed = feed;
      const settings = this.#audioSettings(own.offer.source);
      this.#post({ type: "audio-input", handle, input: feed.input, settings }, feed.transfer);
    } catch (error) {
      this.#broken(`the microphone cannot be read: ${String(error)}`);
    }
  }

  /** Takes a track back. */
  unpublish(handle: number): void {
    if (!this.#own.has(handle)) return;
    if (this.#joinAsked) this.#command({ do: "unpublish", handle });
    this.#forget(handle);
    this.#changed();
  }

  /** Own silence (or darkness): nothing is sent and the others are told. */
  mute(handle: number, muted: boolean): void {
    const own = this.#own.get(handle);
    if (own === undefined || own.offer.muted === muted) return;
    own.offer.muted = muted;
    this.#post({ type: "mute", handle, muted });
    if (this.#joinAsked) this.#command({ do: "mute", handle, muted });
    this.#changed();
  }

  /** Whether this end wants a track; it does by default. */
  want(track: number, wanted: boolean): void {
    this.#command({ do: "subscribe", track, wanted });
  }

  /**
   * Draws a remote video track on a canvas (once per canvas, which then belongs
   * to the worker) until the returned function is called.
   */
  attachVideo(track: number, canvas: HTMLCanvasElement, sized?: (width: number, height: number) => void): () => void {
    const view = this.#nextNumber++;
    const offscreen = canvas.transferControlToOffscreen();
    if (sized !== undefined) this.#views.set(view, sized);
    this.#post({ type: "attach", track, view, canvas: offscreen }, [offscreen]);
    return () => {
      this.#views.delete(view);
      this.#post({ type: "detach", view });
    };
  }

  /** As a host: sends a participant out. */
  remove(participant: string): void {
    this.#command({ do: "remove", participant });
  }

  /** As a host: ends the meeting for everybody. */
  end(): void {
    this.#command({ do: "end" });
  }

  /** Lets sound out; browsers want this from a click. */
  async resumeSound(): Promise<void> {
    try {
      await this.#player.resume();
    } catch (error) {
      console.warn("sound stays off", error);
    }
  }

  async setSpeaker(deviceId: string): Promise<void> {
    await this.#player.setSpeaker(deviceId);
  }

  /** What is heard, for meters and recordings. */
  get output(): AudioNode | null {
    return this.#player.output;
  }

  /** Notes a moment for {@link stats}, the first time. */
  mark(name: "click"): void {
    this.#marks[name] ??= performance.timeOrigin + performance.now();
    performance.mark(name);
  }

  /** Everything measurable, now. */
  async stats(): Promise<WorkerStats> {
    const id = this.#nextNumber++;
    const stats = await new Promise<WorkerStats>((resolve) => {
      this.#asked.set(id, resolve);
      this.#post({ type: "stats", id });
    });
    return { ...stats, marks: { ...stats.marks, ...this.#marks } };
  }

  /** Ends the worker; call {@link leave} before where the seat shall be given up. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#latencyTimer);
    for (const { feed } of this.#own.values()) feed?.stop();
    this.#own.clear();
    this.#player.close();
    this.#worker.terminate();
    this.#listeners.clear();
    this.#levelListeners.clear();
  }

  /** Compiled here, so that it is fetched at the same time as the worker's script. */
  async #loadCore(): Promise<void> {
    try {
      const module = await WebAssembly.compileStreaming(fetch(new URL("./core.wasm", import.meta.url)));
      this.#post({ type: "core", module });
    } catch (error) {
      this.#broken(`the core could not be loaded: ${String(error)}`);
    }
  }

  /** Opening the sound device holds this thread up: what a join waits for goes first. */
  async #openPlayer(): Promise<void> {
    if (this.#playerAsked || this.#closed) return;
    this.#playerAsked = true;
    try {
      const port = await this.#player.open();
      this.#post({ type: "playout", port }, [port]);
      this.#latencyTimer = setInterval(() => this.#post({ type: "latency", ms: this.#player.latencyMs }), 1000);
    } catch (error) {
      console.warn("no sound can be played", error);
    }
  }

  #forget(handle: number): void {
    this.#own.get(handle)?.feed?.stop();
    this.#own.delete(handle);
    this.#post({ type: "input-forget", handle });
  }

  #heard(message: ToPage): void {
    switch (message.type) {
      case "state":
        this.#state = message.state;
        if (message.state.phase === "lobby" || message.state.phase === "joined") void this.#openPlayer();
        return this.#changed();
      case "heard":
        this.#speaking = message.speaking;
        return this.#changed();
      case "level":
        for (const listener of this.#levelListeners) listener(message.level);
        return;
      case "view-size":
        return this.#views.get(message.view)?.(message.width, message.height);
      case "stats":
        this.#asked.get(message.id)?.(message.stats);
        this.#asked.delete(message.id);
        return;
      case "mark":
        this.#marks[message.name] ??= message.at;
        return;
      case "event":
        return;
      case "fatal":
        return this.#broken(message.detail);
    }
  }

  /** The worker cannot go on; whoever shows this may start a new meeting object. */
  #broken(detail: string): void {
    console.error("the meeting's worker broke:", detail);
    const error = { code: "internal", number: codes.internal, retryable: true, detail };
    this.#state = { ...this.#state, phase: "failed", error };
    this.#changed();
  }

  #changed(): void {
    if (this.#closed) return;
    this.#snapshot = this.#compose();
    for (const listener of this.#listeners) listener(this.#snapshot);
  }

  #compose(): Snapshot {
    const published = Array.from(this.#own.values(), ({ offer: { handle, source, muted } }) => ({
      handle,
      source,
      muted,
    }));
    return { ...this.#state, speaking: this.#speaking, soundBlocked: this.#player.blocked, published };
  }

  #videoSettings(source: Source): VideoSettings {
    return source === "screen" ? SCREEN : { ...CAMERA, ...this.#options.camera };
  }

  #audioSettings(source: Source): AudioSettings {
    return source === "screen_audio" ? SOUND : VOICE;
  }

  #traceparent(): string {
    return this.#options.traceparent?.() ?? "";
  }

  #command(command: Command): void {
    this.#post({ type: "command", command });
  }

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    if (!this.#closed) this.#worker.postMessage(message, transfer);
  }
}
