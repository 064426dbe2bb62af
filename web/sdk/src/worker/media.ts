/**
 * All tracks of the meeting in this worker: senders, receivers, who is heard
 * and what is in step with what.
 */
import type { CoreState, Track } from "../snapshot.ts";
import type { FromPlayout, PlayoutReport, ToPlayout } from "../audio/messages.ts";
import type { SentStats, ToPage, ToWorker, TrackStats, VideoSettings, View } from "../messages.ts";
import { soundModule } from "../audio/module.ts";
import { Sound } from "../audio/sound.ts";
import { AudioReceiver } from "./audio-receiver.ts";
import { AudioSender } from "./audio-sender.ts";
import type { Picture } from "./core.ts";
import { PresentationClock } from "./clock.ts";
import { Speakers } from "./speakers.ts";
import { VideoReceiver } from "./video-receiver.ts";
import { VideoSender, type ChunkSink } from "./video-sender.ts";

export interface MediaEvents extends ChunkSink {
  keyFrameWanted(track: number): void;
  tell(message: ToPage): void;
  mark(name: "first_frame_decoded" | "first_frame_drawn"): void;
}

interface Remote {
  track: Track;
  owner: string;
}

/** Levels go to the page this often, in ms. */
const LEVEL_EVERY_MS = 90;

/** Levels as they travel: silence until the next packet, and what is added for a voice. */
const REST = 127;
const VOICE_FLAG = 128;

export class Media {
  readonly #events: MediaEvents;
  readonly #senders = new Map<number, VideoSender | AudioSender>();
  readonly #muted = new Map<number, boolean>();
  /** Own tracks that the others know. */
  #published = new Set<number>();
  readonly #remotes = new Map<number, Remote>();
  readonly #video = new Map<number, VideoReceiver>();
  readonly #audio = new Map<number, AudioReceiver>();
  readonly #clocks = new Map<string, PresentationClock>();
  readonly #speakers = new Speakers();
  readonly #playouts = new Map<number, PlayoutReport>();
  /** Canvases whose track is not known yet. */
  readonly #waiting = new Map<number, { track: number; canvas: OffscreenCanvas }>();
  readonly #viewTracks = new Map<number, number>();
  /** Judges own sound; null while it loads. */
  #ears: Sound | null = null;
  #earsAsked = false;
  /** Tracks on the screen; null until the page has said. */
  #shown: Set<number> | null = null;
  #me = "";
  #playout: MessagePort | null = null;
  #outputLatencyMs = 0;
  #heardBefore = "";
  #levelAt = 0;

  constructor(events: MediaEvents) {
    this.#events = events;
    setInterval(() => this.#tellHeard(), 100);
  }

  /** Not before there is something to judge: a join needs the processors for what it waits for. */
  async #loadEars(): Promise<void> {
    if (this.#earsAsked) return;
    this.#earsAsked = true;
    try {
      this.#ears = new Sound(await soundModule());
    } catch (error) {
      console.error("nothing can be said", error);
    }
  }

  /** Follows the meeting: tracks come and go, own tracks get somewhere to flow. */
  follow(state: CoreState): void {
    this.#me = state.me?.id ?? "";
    const joined = state.phase === "joined" || state.phase === "reconnecting";
    const published = joined ? state.tracks.filter((own) => own.track !== null) : [];
    this.#published = new Set(published.map((own) => own.handle));
    for (const [handle, sender] of this.#senders) sender.flowing = this.#published.has(handle);
    const seen = new Set<number>();
    for (const participant of state.participants) {
      if (participant.me) continue;
      for (const track of participant.tracks) {
        seen.add(track.id);
        this.#remotes.set(track.id, { track, owner: participant.id });
        if (track.muted || participant.away) this.#video.get(track.id)?.pause();
      }
    }
    for (const id of [...this.#remotes.keys()]) if (!seen.has(id)) this.#forget(id);
    for (const [view, { track, canvas }] of this.#waiting) {
      if (this.#remotes.has(track)) this.#attach(track, view, canvas);
    }
  }

  #forget(id: number): void {
    this.#remotes.delete(id);
    this.#playouts.delete(id);
    this.#video.get(id)?.end();
    this.#video.delete(id);
    this.#audio.get(id)?.end();
    this.#audio.delete(id);
  }

  // ------------------------------------------------------------ own tracks

  input(message: Extract<ToWorker, { type: "video-input" | "audio-input" }>): void {
    const { handle } = message;
    let sender = this.#senders.get(handle);
    if (message.type === "video-input") {
      const tooSlow = (): void => this.#events.tell({ type: "too-slow", handle });
      sender ??= new VideoSender(handle, message.settings, this.#events, tooSlow);
      if (sender instanceof VideoSender) sender.feed(message.input);
    } else {
      void this.#loadEars();
      sender ??= new AudioSender(handle, message.settings, this.#events, {
        sound: () => this.#ears,
        heard: (level, voice) => this.#ownLevel(handle, level, voice),
      });
      if (sender instanceof AudioSender) sender.feed(message.input);
    }
    sender.muted = this.#muted.get(handle) ?? false;
    // Some browsers take longer to hand a track over than the others to hear of it.
    sender.flowing = this.#published.has(handle);
    this.#senders.set(handle, sender);
  }

  inputEnd(handle: number, forget: boolean): void {
    this.#senders.get(handle)?.end();
    if (!forget) return;
    this.#senders.delete(handle);
    this.#muted.delete(handle);
  }

  mute(handle: number, muted: boolean): void {
    this.#muted.set(handle, muted);
    const sender = this.#senders.get(handle);
    if (sender !== undefined) sender.muted = muted;
  }

  key(handle: number, layer: number | null): void {
    this.#videoSender(handle)?.key(layer);
  }

  encode(handle: number, layer: number, bitrate: number): void {
    this.#videoSender(handle)?.encode(layer, bitrate);
  }

  /** Measures another way to encode a track that is not published yet. */
  tryOut(handle: number, settings: VideoSettings): void {
    const told = (ms: number): void => this.#events.tell({ type: "trial", handle, codec: settings.codec, ms });
    this.#videoSender(handle)?.tryOut(settings, told);
  }

  #videoSender(handle: number): VideoSender | null {
    const sender = this.#senders.get(handle);
    return sender instanceof VideoSender ? sender : null;
  }

  #ownLevel(handle: number, level: number, voice: boolean): void {
    const now = performance.now();
    if (this.#me !== "") this.#speakers.heard(now, this.#me, voice);
    if (now - this.#levelAt < LEVEL_EVERY_MS) return;
    this.#levelAt = now;
    // 0 at −60 dBov, 1 at −10.
    this.#events.tell({ type: "level", handle, level: Math.min(1, Math.max(0, (60 - level) / 50)) });
  }

  // --------------------------------------------------------- remote tracks

  /** What the screen shows: everything else is not decoded. Until the first word of it everything counts as shown. */
  show(views: readonly View[]): void {
    this.#shown = new Set(views.map((view) => view.track));
    for (const [id, receiver] of this.#video) receiver.hidden = !this.#shown.has(id);
  }

  video(picture: Picture, bytes: Uint8Array): void {
    const receiver = this.#videoOf(picture.track);
    if (receiver === null) return this.#events.keyFrameWanted(picture.track);
    receiver.take(picture, bytes);
  }

  audio(id: number, number: number, captureUs: number, level: number, bytes: Uint8Array): void {
    const remote = this.#remotes.get(id);
    if (remote === undefined) return;
    this.#speakers.heard(performance.now(), remote.owner, level >= VOICE_FLAG);
    let receiver = this.#audio.get(id);
    if (receiver === undefined) {
      const channels = remote.track.source === "screen_audio" ? 2 : 1;
      receiver = new AudioReceiver(id, channels, (message, transfer) => this.#play(message, transfer));
      this.#audio.set(id, receiver);
    }
    receiver.take({ number, captureUs, rest: level === REST }, bytes);
  }

  #videoOf(id: number): VideoReceiver | null {
    const known = this.#video.get(id);
    if (known !== undefined) return known;
    const remote = this.#remotes.get(id);
    if (remote === undefined || remote.track.kind !== "video") return null;
    const receiver = new VideoReceiver(id, remote.track.codec, this.#clockOf(remote), {
      keyFrameWanted: (track) => this.#events.keyFrameWanted(track),
      decoded: () => this.#events.mark("first_frame_decoded"),
      drawn: () => this.#events.mark("first_frame_drawn"),
      viewSize: (view, width, height) => this.#events.tell({ type: "view-size", view, width, height }),
    });
    receiver.hidden = this.#shown !== null && !this.#shown.has(id);
    this.#video.set(id, receiver);
    return receiver;
  }

  /** Camera and microphone share a clock, the screen and its sound another. */
  #clockOf({ track, owner }: Remote): PresentationClock {
    const key = owner + (track.source.startsWith("screen") ? "/screen" : "");
    let clock = this.#clocks.get(key);
    if (clock === undefined) this.#clocks.set(key, (clock = new PresentationClock()));
    return clock;
  }

  attach(track: number, view: number, canvas: OffscreenCanvas): void {
    this.#viewTracks.set(view, track);
    this.#attach(track, view, canvas);
  }

  #attach(track: number, view: number, canvas: OffscreenCanvas): void {
    const receiver = this.#videoOf(track);
    if (receiver === null) {
      this.#waiting.set(view, { track, canvas });
      return;
    }
    this.#waiting.delete(view);
    receiver.attach(view, canvas);
  }

  detach(view: number): void {
    const track = this.#viewTracks.get(view);
    this.#viewTracks.delete(view);
    this.#waiting.delete(view);
    if (track !== undefined) this.#video.get(track)?.detach(view);
  }

  // ------------------------------------------------------------------ sound

  set playout(port: MessagePort) {
    this.#playout = port;
    port.onmessage = (event: MessageEvent<FromPlayout>) => {
      if (event.data.type === "reports") this.#reported(event.data.reports);
      else console.error("playout broke", event.data.detail);
    };
  }

  /** From leaving the worklet to the ear, in ms. */
  set outputLatency(ms: number) {
    this.#outputLatencyMs = ms;
  }

  #play(message: ToPlayout, transfer: Transferable[]): void {
    this.#playout?.postMessage(message, transfer);
  }

  #reported(reports: PlayoutReport[]): void {
    const now = performance.now();
    for (const report of reports) {
      const remote = this.#remotes.get(report.track);
      if (remote === undefined) continue;
      this.#playouts.set(report.track, report);
      if (report.playingUs === null) continue;
      this.#clockOf(remote).sound(now, report.playingUs, now + this.#outputLatencyMs);
    }
  }

  #tellHeard(): void {
    const speaking = this.#speakers.speaking(performance.now());
    const key = speaking.join();
    if (key === this.#heardBefore) return;
    this.#heardBefore = key;
    this.#events.tell({ type: "heard", speaking });
  }

  // ------------------------------------------------------------------ stats

  received(): TrackStats[] {
    const video = Array.from(this.#video.values(), (receiver) => receiver.counted());
    const audio = Array.from(this.#audio, ([id, receiver]) => ({
      ...receiver.stats,
      playout: this.#playouts.get(id) ?? null,
    }));
    return [...video, ...audio];
  }

  sent(): SentStats[] {
    return Array.from(this.#senders.values(), (sender) => ({ ...sender.stats }));
  }

  /** Lets go of everything. */
  end(): void {
    for (const sender of this.#senders.values()) sender.end();
    for (const id of [...this.#remotes.keys()]) this.#forget(id);
  }
}
