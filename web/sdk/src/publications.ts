/**
 * What this participant publishes: captured tracks with the codec and the layers
 * that they are offered with, and their way into the worker.
 */
import { audioFeed, type Feed, videoFeed } from "./capture/input.ts";
import { type Abilities, abilities, choose, family, isHeavy, unasked } from "./codecs.ts";
import { layersOf } from "./layers.ts";
import type { AudioSettings, Command, ToWorker, TrackOffer, VideoSettings } from "./messages.ts";
import type { CoreState, Source } from "./snapshot.ts";

const VOICE: AudioSettings = { bitrate: 32_000, voice: true };
/** In stereo. */
const SOUND: AudioSettings = { bitrate: 96_000, voice: false };
const FRAME_RATE = { camera: 30, screen: 15 };
/** A camera's picture where the browser does not say. */
const USUAL = { width: 1280, height: 720 };
/** A machine with fewer cores has enough to do with the lightest codec. */
const CORES_TO_SPARE = 4;
/** A picture of the largest layer may take so long: a quarter of the time until the next. */
const FAST_MS = 8;
/** Both tracks are sent for so long when one takes the other's place: a group and a round trip. */
const HANDOVER_MS = 1_000;

export interface PublicationEvents {
  command(command: Command): void;
  post(message: ToWorker, transfer?: Transferable[]): void;
  broken(detail: string): void;
  changed(): void;
}

interface Own {
  offer: TrackOffer;
  track: MediaStreamTrack | null;
  feed: Feed<unknown> | null;
}

export class Publications {
  readonly #events: PublicationEvents;
  /** By the number that the page was given; the offer's own number changes with its codec. */
  readonly #own = new Map<number, Own>();
  readonly #first: string | null;
  readonly #newNumber: () => number;
  /** Families that this machine was seen to keep up with, and those it was not. */
  readonly #fast = new Set<string>();
  readonly #slow = new Set<string>();
  #able: Abilities = unasked;
  #asked = false;
  /** What all the others decode; null where anything will do. */
  #decodable: readonly string[] | null = null;
  /** Offers go out as they are made; before, all of them go with the join. */
  #announced = false;
  #closed = false;

  constructor(events: PublicationEvents, newNumber: () => number, codec: string | null) {
    this.#events = events;
    this.#newNumber = newNumber;
    this.#first = codec;
  }

  /** Asks the browser for its codecs, once, and tells the others what it decodes. */
  learn(): void {
    if (this.#asked) return;
    this.#asked = true;
    void abilities().then((able) => {
      this.#able = able;
      this.#events.command({ do: "decodes", codecs: able.decodes });
      for (const own of this.#own.values()) this.#tryOut(own);
    });
  }

  /** From now on each change is said at once; what there is so far is returned. */
  announce(): TrackOffer[] {
    this.#announced = true;
    return Array.from(this.#own.values(), ({ offer }) => offer);
  }

  /** What is published, by the page's numbers. */
  list(): { handle: number; source: Source; muted: boolean }[] {
    return Array.from(this.#own, ([handle, { offer }]) => ({ handle, source: offer.source, muted: offer.muted }));
  }

  publish(source: Source, track: MediaStreamTrack, muted: boolean): number {
    this.learn();
    const handle = this.#newNumber();
    const offer: TrackOffer = { handle, source, codec: "opus", muted, label: "" };
    if (track.kind === "video") this.#form(offer, track, this.#choice(source));
    else Object.assign(offer, { sample_rate: 48_000, channels: source === "screen_audio" ? 2 : 1 });
    const own: Own = { offer, track: null, feed: null };
    this.#own.set(handle, own);
    this.#events.post({ type: "mute", handle, muted });
    if (this.#announced) this.#events.command({ do: "publish", track: offer });
    this.#feed(own, track);
    this.#tryOut(own);
    this.#events.changed();
    return handle;
  }

  replace(handle: number, track: MediaStreamTrack | null): void {
    const own = this.#own.get(handle);
    if (own === undefined) return;
    if (track === null || track.kind !== "video") return this.#feed(own, track);
    const { offer } = own;
    const { width, height } = sizeOf(track);
    const layers = layersOf(offer.source, offer.codec, width, height);
    const decodable = this.#isDecodable(offer.codec);
    if (decodable && layers.length === offer.layers?.length) return this.#feed(own, track);
    // Another camera with a smaller or larger picture: other layers, so another track.
    own.track = track;
    this.#change(own, decodable ? offer.codec : this.#choice(offer.source));
  }

  unpublish(handle: number): void {
    const own = this.#own.get(handle);
    if (own === undefined) return;
    if (this.#announced) this.#events.command({ do: "unpublish", handle: own.offer.handle });
    this.#own.delete(handle);
    this.#drop(own);
    this.#events.changed();
  }

  mute(handle: number, muted: boolean): void {
    const own = this.#own.get(handle);
    if (own === undefined || own.offer.muted === muted) return;
    own.offer.muted = muted;
    this.#events.post({ type: "mute", handle: own.offer.handle, muted });
    if (this.#announced) this.#events.command({ do: "mute", handle: own.offer.handle, muted });
    this.#events.changed();
  }

  /** Follows what all the others decode: another codec where somebody cannot decode this one, or all can a better one. */
  follow({ decodable }: CoreState): void {
    if (JSON.stringify(decodable) === JSON.stringify(this.#decodable)) return;
    this.#decodable = decodable;
    for (const own of [...this.#own.values()]) {
      const { codec, layers, source } = own.offer;
      if (layers === undefined) continue;
      const best = this.#choice(source);
      if (family(best) !== family(codec)) this.#change(own, best);
    }
  }

  /** An encoder in the worker does not keep up. No light codec is so much lighter than another that a change helps. */
  tooSlow(handle: number): void {
    const own = [...this.#own.values()].find(({ offer }) => offer.handle === handle);
    if (own === undefined || !isHeavy(own.offer.codec)) return;
    this.#slow.add(family(own.offer.codec));
    const other = this.#choice(own.offer.source);
    if (family(other) !== family(own.offer.codec)) this.#change(own, other);
  }

  /** A picture took so long in a trial. */
  tried(handle: number, codec: string, ms: number): void {
    const own = [...this.#own.values()].find(({ offer }) => offer.handle === handle);
    if (ms > FAST_MS) return;
    this.#fast.add(family(codec));
    // Once others know the track, a better codec is not worth a new one.
    if (own !== undefined && !this.#announced) this.#change(own, codec);
  }

  leave(): void {
    for (const own of this.#own.values()) this.#drop(own);
    this.#own.clear();
  }

  close(): void {
    this.#closed = true;
    for (const { feed } of this.#own.values()) feed?.stop();
    this.#own.clear();
  }

  // ------------------------------------------------------------------ codecs

  #choice(source: Source): string {
    const keepsUp = (codec: string): boolean =>
      !this.#slow.has(family(codec)) && (!isHeavy(codec) || this.#fast.has(family(codec)));
    const first = this.#first;
    const fits = first !== null && this.#isDecodable(first) && !this.#slow.has(family(first));
    return fits ? first : choose(source, this.#able, this.#decodable, keepsUp);
  }

  #isDecodable(codec: string): boolean {
    return this.#decodable?.includes(family(codec)) ?? true;
  }

  #form(offer: TrackOffer, track: MediaStreamTrack, codec: string): void {
    const { width, height } = sizeOf(track);
    Object.assign(offer, { codec, layers: layersOf(offer.source, codec, width, height) });
  }

  /** In the lobby there is time to find out whether a better codec is not too much. */
  #tryOut(own: Own): void {
    const { offer } = own;
    if (offer.layers === undefined || this.#announced) return;
    const best = choose(offer.source, this.#able, this.#decodable, () => true);
    if (this.#first !== null || !isHeavy(best) || navigator.hardwareConcurrency < CORES_TO_SPARE) return;
    const settings = { ...settingsOf(offer), codec: best };
    this.#events.post({ type: "trial", handle: offer.handle, settings });
  }

  #change(own: Own, codec: string): void {
    if (this.#announced) return this.#succeed(own, codec);
    const { track, offer } = own;
    if (track === null) return;
    this.#events.post({ type: "input-forget", handle: offer.handle });
    this.#form(offer, track, codec);
    this.#events.post({ type: "mute", handle: offer.handle, muted: offer.muted });
    this.#feed(own, track);
  }

  /**
   * Publishes the same source as another track, and takes the old one back when
   * the others have had time to see the new one: nobody's picture blinks.
   */
  #succeed(own: Own, codec: string): void {
    const { track, feed, offer: former } = own;
    if (track === null) return;
    const offer: TrackOffer = { ...former, handle: this.#newNumber(), replaces: former.handle };
    this.#form(offer, track, codec);
    own.offer = offer;
    own.feed = null;
    this.#events.post({ type: "mute", handle: offer.handle, muted: offer.muted });
    if (this.#announced) this.#events.command({ do: "publish", track: offer });
    this.#feed(own, track);
    setTimeout(() => {
      if (this.#closed) return;
      if (this.#announced) this.#events.command({ do: "unpublish", handle: former.handle });
      feed?.stop();
      this.#events.post({ type: "input-forget", handle: former.handle });
    }, HANDOVER_MS);
  }

  // -------------------------------------------------------------------- feeds

  #feed(own: Own, track: MediaStreamTrack | null): void {
    own.feed?.stop();
    own.feed = null;
    own.track = track;
    if (track === null) return this.#events.post({ type: "input-end", handle: own.offer.handle });
    if (track.kind !== "video") return void this.#feedAudio(own, track);
    track.contentHint = own.offer.source === "screen" ? "text" : "motion";
    const feed = videoFeed(track);
    own.feed = feed;
    const message = { type: "video-input", handle: own.offer.handle, input: feed.input } as const;
    this.#events.post({ ...message, settings: settingsOf(own.offer) }, feed.transfer);
  }

  async #feedAudio(own: Own, track: MediaStreamTrack): Promise<void> {
    try {
      const feed = await audioFeed(track);
      if (own.track !== track || this.#closed) return feed.stop();
      own.feed = feed;
      const settings = own.offer.source === "screen_audio" ? SOUND : VOICE;
      const message = { type: "audio-input", handle: own.offer.handle, input: feed.input, settings } as const;
      this.#events.post(message, feed.transfer);
    } catch (error) {
      this.#events.broken(`the microphone cannot be read: ${String(error)}`);
    }
  }

  #drop(own: Own): void {
    own.feed?.stop();
    own.track = null;
    this.#events.post({ type: "input-forget", handle: own.offer.handle });
  }
}

function settingsOf({ source, codec, layers = [] }: TrackOffer): VideoSettings {
  const detail = source === "screen";
  return { codec, frameRate: detail ? FRAME_RATE.screen : FRAME_RATE.camera, detail, layers };
}

function sizeOf(track: MediaStreamTrack): { width: number; height: number } {
  const { width = USUAL.width, height = USUAL.height } = track.getSettings();
  return { width, height };
}
