import { type Access, lookup } from "./api.ts";
import { Player } from "./audio/player.ts";
import { withSuccessors } from "./demand.ts";
import { code as codes } from "./error.ts";
import type { Command, Mark, ToPage, ToWorker, View, WorkerStats } from "./messages.ts";
import { Publications } from "./publications.ts";
import { idleState, type CoreState, type Snapshot, type Source } from "./snapshot.ts";
import { Views } from "./views.ts";

/** How long the API may take to say where the meeting is. */
const LOOKUP_MS = 5000;

export interface MeetingOptions {
  /** The codec to publish video with, as long as the others decode it and the machine keeps up (measurements). */
  codec?: string | null;
  /** A `traceparent` for each thing asked of the service. */
  traceparent?: () => string;
}

/** A remote picture on a canvas. */
export interface AttachedVideo {
  /** Fixed to the screen by the person: goes before others where the path is narrow. */
  pin(pinned: boolean): void;
  detach(): void;
}

/**
 * One attendance of a meeting. State is a plain snapshot; everything that has
 * keys, frames or connections lives in a worker.
 */
export class Meeting {
  /**
   * The worker runs, or never will. Its thread is made by this one: what keeps this one busy
   * before, such as drawing a page, holds a join up.
   */
  readonly started: Promise<void>;
  #tellStarted!: () => void;
  readonly #worker: Worker;
  readonly #player: Player;
  readonly #options: MeetingOptions;
  readonly #listeners = new Set<(snapshot: Snapshot) => void>();
  readonly #levelListeners = new Set<(level: number) => void>();
  readonly #own: Publications;
  readonly #shown: Views;
  readonly #asked = new Map<number, (stats: WorkerStats) => void>();
  readonly #sized = new Map<number, (width: number, height: number) => void>();
  readonly #marks: Partial<Record<Mark, number>> = {};
  #latencyTimer: ReturnType<typeof setInterval> | undefined;
  #state: CoreState = idleState;
  #speaking: string[] = [];
  #code: string | null = null;
  #hostKey: string | null = null;
  #lookingUp = false;
  #snapshot: Snapshot;
  #views: View[] | null = null;
  #demand = "";
  #playerAsked = false;
  #nextNumber = 1;
  #closed = false;

  /** Starts the worker, which loads the core; nothing is connected yet. */
  constructor(options: MeetingOptions = {}) {
    this.#options = options;
    this.started = new Promise((resolve) => (this.#tellStarted = resolve));
    this.#worker = new Worker(new URL("./worker/worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<ToPage>) => this.#heard(event.data);
    this.#worker.onerror = (event) => this.#broken(event.message);
    this.#player = new Player(() => this.#changed());
    this.#own = new Publications(
      {
        command: (command) => this.#command(command),
        post: (message, transfer) => this.#post(message, transfer),
        broken: (detail) => this.#broken(detail),
        changed: () => this.#changed(),
      },
      () => this.#nextNumber++,
      options.codec ?? null,
    );
    this.#shown = new Views((views) => {
      this.#views = views;
      this.#show();
    });
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
   * former snapshot the seat it belongs to is taken again instead. Who came with
   * the `hostKey` is the host also where the API has to be asked again.
   */
  enter(access: Access, options: { linkSecret: string | null; resume?: string | null; hostKey?: string | null }): void {
    const asked = { access, link_secret: options.linkSecret, traceparent: this.#traceparent() };
    const resume = options.resume ?? null;
    this.#code = access.meeting.code;
    this.#hostKey = options.hostKey ?? null;
    if (resume === null) this.#command({ do: "enter", ...asked });
    else {
      this.#own.announce();
      this.#command({ do: "resume", resume, ...asked });
    }
  }

  /** Enters the meeting with what is published so far; before the lobby is reached it goes out as soon as it can. */
  join(name: string): void {
    this.mark("click");
    const tracks = this.#own.announce();
    this.#command({ do: "join", name, tracks, traceparent: this.#traceparent() });
    void this.resumeSound();
  }

  /** Leaves in order. */
  leave(): void {
    this.#command({ do: "leave" });
    this.#own.leave();
    this.#changed();
  }

  /**
   * Asks the browser for its codecs, which holds this thread up: where somebody waits for a
   * picture, after it. To be called before devices are opened.
   */
  learnCodecs(): void {
    this.#own.learn();
  }

  /** Offers a captured track to the others; the number returned stands for it here. */
  publish(source: Source, track: MediaStreamTrack, options: { muted?: boolean } = {}): number {
    return this.#own.publish(source, track, options.muted ?? false);
  }

  /** Lets another captured track take the place of a published one; `null` stops capturing. */
  replace(handle: number, track: MediaStreamTrack | null): void {
    this.#own.replace(handle, track);
  }

  /** Takes a track back. */
  unpublish(handle: number): void {
    this.#own.unpublish(handle);
  }

  /** Own silence (or darkness): nothing is sent and the others are told. */
  mute(handle: number, muted: boolean): void {
    this.#own.mute(handle, muted);
  }

  /** Whether this end wants a track; it does by default. */
  want(track: number, wanted: boolean): void {
    this.#command({ do: "subscribe", track, wanted });
  }

  /**
   * Draws a remote video track on a canvas (once per canvas, which then belongs
   * to the worker) until it is detached. What is attached, visible and how large
   * decides what is received. `sized` tells of each new size of the picture, the first
   * time when it is there.
   */
  attachVideo(
    track: number,
    canvas: HTMLCanvasElement,
    sized?: (width: number, height: number) => void,
  ): AttachedVideo {
    const view = this.#nextNumber++;
    const offscreen = canvas.transferControlToOffscreen();
    if (sized !== undefined) this.#sized.set(view, sized);
    this.#post({ type: "attach", track, view, canvas: offscreen }, [offscreen]);
    const gone = this.#shown.add(view, track, canvas);
    return {
      pin: (pinned) => this.#shown.pin(view, pinned),
      detach: () => {
        gone();
        this.#sized.delete(view);
        this.#post({ type: "detach", view });
      },
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
    this.#own.close();
    this.#shown.close();
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

  /** Says what is shown, with what gets ready unseen, where that is news. */
  #show(): void {
    if (this.#views === null) return;
    const views = withSuccessors(this.#views, this.#state.participants);
    const demand = JSON.stringify(views);
    if (demand === this.#demand) return;
    this.#demand = demand;
    this.#command({ do: "show", views });
  }

  #heard(message: ToPage): void {
    switch (message.type) {
      case "started":
        return this.#tellStarted();
      case "state":
        this.#state = message.state;
        this.#own.follow(message.state);
        this.#show();
        if (message.state.phase === "lobby" || message.state.phase === "joined") void this.#openPlayer();
        return this.#changed();
      case "heard":
        this.#speaking = message.speaking;
        return this.#changed();
      case "level":
        for (const listener of this.#levelListeners) listener(message.level);
        return;
      case "view-size":
        return this.#sized.get(message.view)?.(message.width, message.height);
      case "too-slow":
        return this.#own.tooSlow(message.handle);
      case "trial":
        return this.#own.tried(message.handle, message.codec, message.ms);
      case "stats":
        this.#asked.get(message.id)?.(message.stats);
        this.#asked.delete(message.id);
        return;
      case "mark":
        this.#marks[message.name] ??= message.at;
        return;
      case "event":
        if (message.event["type"] === "look_up") void this.#lookUp();
        return;
      case "fatal":
        return this.#broken(message.detail);
    }
  }

  /** Asks which controller has the meeting now, where none that is known answers; the core asks again where it is in vain. */
  async #lookUp(): Promise<void> {
    if (this.#code === null || this.#lookingUp) return;
    this.#lookingUp = true;
    try {
      const traceparent = this.#traceparent();
      // Who is in the meeting is shown the way; who is not may have to be let in anew.
      const hostKey = this.#state.phase === "reconnecting" ? null : this.#hostKey;
      const access = await lookup(this.#code, {
        signal: AbortSignal.timeout(LOOKUP_MS),
        traceparent,
        ...(hostKey === null ? {} : { hostKey }),
      });
      this.#command({ do: "found", access });
    } catch (error) {
      console.warn("the meeting could not be looked up again", error);
    } finally {
      this.#lookingUp = false;
    }
  }

  /** The worker cannot go on; whoever shows this may start a new meeting object. */
  #broken(detail: string): void {
    console.error("the meeting's worker broke:", detail);
    this.#tellStarted();
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
    const { blocked: soundBlocked } = this.#player;
    return { ...this.#state, speaking: this.#speaking, soundBlocked, published: this.#own.list() };
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
