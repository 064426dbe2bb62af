/**
 * The participant's core (WASM, `crates/web-core`) behind its bytes-in,
 * bytes-out interface. This file knows the calling convention and nothing of
 * the wire, the keys or the meeting.
 */
import type { CoreState } from "../snapshot.ts";
import type { Command } from "../messages.ts";

/** The two WebTransport sessions. */
export type LinkId = 0 | 1;
export const SIGNAL: LinkId = 0;
export const MEDIA: LinkId = 1;

/** What is known of an encoded picture of somebody's track. */
export interface Picture {
  track: number;
  layer: number;
  key: boolean;
  /** No newer than one before it: to be decoded, for others need it, and not to be shown. */
  behind: boolean;
  captureUs: number;
}

/** What the core asks for. Views of bytes are valid only during the call. */
export interface Effects {
  /** `beside`: the link that stands goes on. */
  connect(link: LinkId, beside: boolean, url: string, certificateHashes: Uint8Array<ArrayBuffer>[]): void;
  /** Give up the one beside the link that stands. */
  keep(link: LinkId): void;
  /** Give up the link that stands for the one beside it, which may still be opened. */
  replace(link: LinkId): void;
  close(link: LinkId, code: number, reason: string): void;
  openUni(link: LinkId, stream: number, priority: number): void;
  openBi(link: LinkId, stream: number): void;
  write(link: LinkId, stream: number, bytes: Uint8Array, fin: boolean): void;
  reset(link: LinkId, stream: number, code: number): void;
  stop(link: LinkId, stream: number, code: number): void;
  datagram(link: LinkId, bytes: Uint8Array): void;
  video(picture: Picture, bytes: Uint8Array): void;
  /** `level` as it travels: −dBov, 128 more for a voice; −1 where it was not told. */
  audio(track: number, number: number, captureUs: number, level: number, bytes: Uint8Array): void;
  keyFrame(handle: number, layer: number): void;
  /** What an own layer's encoder may make from now on, in bits per second; 0 pauses it. */
  encode(handle: number, layer: number, bitrate: number): void;
  state(state: CoreState): void;
  event(event: Record<string, unknown>): void;
  /** The core is gone for good; its keys with it. */
  broken(detail: string): void;
}

interface Exports {
  memory: WebAssembly.Memory;
  dt_alloc(len: number): number;
  dt_free(ptr: number, len: number): void;
  dt_record(): number;
  dt_command(now: number, wall: number, ptr: number, len: number): number;
  dt_link_up(now: number, wall: number, link: number, maxDatagram: number): number;
  dt_link_beside(now: number, wall: number, link: number): number;
  dt_link_down(now: number, wall: number, link: number, code: number): number;
  dt_stream_data(
    now: number,
    wall: number,
    link: number,
    stream: number,
    ptr: number,
    len: number,
    fin: number,
  ): number;
  dt_stream_reset(now: number, wall: number, link: number, stream: number): number;
  dt_stream_backlog(now: number, wall: number, link: number, stream: number, bytes: number): number;
  dt_datagram(now: number, wall: number, ptr: number, len: number): number;
  dt_encoded(
    now: number,
    handle: number,
    layer: number,
    temporal: number,
    key: number,
    captureUs: number,
    level: number,
    ptr: number,
    len: number,
  ): number;
  dt_key_frame_wanted(now: number, wall: number, track: number): number;
  dt_tick(now: number, wall: number): number;
  dt_deadline(): number;
  dt_poll(): number;
}

const NO_BYTES = new Uint8Array(0);
/** Longest sleep handed to a timer; the core is asked again then. */
const MAX_SLEEP_MS = 60_000;

export class Core {
  readonly #exports: Exports;
  readonly #effects: Effects;
  #scratch = { ptr: 0, len: 0 };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wakeAt = Infinity;
  #draining = false;
  readonly #waiting: (() => number)[] = [];
  #broken = false;
  /** Codes the core answered calls with, by number. */
  readonly refused = new Map<number, number>();

  /** Brings the compiled module to life. */
  static async start(module: WebAssembly.Module, effects: Effects): Promise<Core> {
    let instance: WebAssembly.Instance | null = null;
    const bytes = (ptr: number, len: number): Uint8Array<ArrayBuffer> =>
      new Uint8Array((instance!.exports as unknown as Exports).memory.buffer as ArrayBuffer, ptr, len);
    let panic = "";
    const imports = {
      env: {
        host_random: (ptr: number, len: number) => {
          // getRandomValues fills at most 64 kB at once.
          for (let at = 0; at < len; at += 65_536) {
            crypto.getRandomValues(bytes(ptr + at, Math.min(65_536, len - at)));
          }
        },
        host_panic: (ptr: number, len: number) => {
          panic = new TextDecoder().decode(bytes(ptr, len));
        },
      },
    };
    instance = await WebAssembly.instantiate(module, imports);
    return new Core(instance.exports as unknown as Exports, effects, () => panic);
  }

  readonly #panic: () => string;

  private constructor(exports: Exports, effects: Effects, panic: () => string) {
    this.#exports = exports;
    this.#effects = effects;
    this.#panic = panic;
  }

  command(command: Command): void {
    const json = new TextEncoder().encode(JSON.stringify(command));
    this.#call((now, wall) => this.#with(json, (ptr, len) => this.#exports.dt_command(now, wall, ptr, len)));
  }

  /** The link is open; datagrams up to `maxDatagram` bytes fit. */
  linkUp(link: LinkId, maxDatagram: number): void {
    this.#call((now, wall) => this.#exports.dt_link_up(now, wall, link, maxDatagram));
  }

  /** The one beside the link that stands, stands as well. */
  linkBeside(link: LinkId): void {
    this.#call((now, wall) => this.#exports.dt_link_beside(now, wall, link));
  }

  /** The link is gone: the peer's close code, or what happened instead. */
  linkDown(link: LinkId, code: number): void {
    this.#call((now, wall) => this.#exports.dt_link_down(now, wall, link, code));
  }

  streamData(link: LinkId, stream: number, bytes: Uint8Array, fin: boolean): void {
    this.#call((now, wall) =>
      this.#with(bytes, (ptr, len) => this.#exports.dt_stream_data(now, wall, link, stream, ptr, len, fin ? 1 : 0)),
    );
  }

  streamEnd(link: LinkId, stream: number): void {
    this.streamData(link, stream, NO_BYTES, true);
  }

  /** The peer gave up a stream that is read here, or does not want one that is written. */
  streamReset(link: LinkId, stream: number): void {
    this.#call((now, wall) => this.#exports.dt_stream_reset(now, wall, link, stream));
  }

  /** So many bytes of a stream are accepted and not sent. */
  streamBacklog(link: LinkId, stream: number, bytes: number): void {
    this.#call((now, wall) => this.#exports.dt_stream_backlog(now, wall, link, stream, bytes));
  }

  /** One came on the media link. */
  datagram(bytes: Uint8Array): void {
    this.#call((now, wall) => this.#with(bytes, (ptr, len) => this.#exports.dt_datagram(now, wall, ptr, len)));
  }

  /** One encoded chunk of an own track; `level` −1 where it has none. */
  encoded(
    handle: number,
    temporal: number,
    key: boolean,
    captureUs: number,
    level: number,
    chunk: EncodedVideoChunk | EncodedAudioChunk,
    layer = 0,
  ): void {
    this.#call((now) => {
      const len = chunk.byteLength;
      const ptr = this.#reserve(len);
      chunk.copyTo(new Uint8Array(this.#exports.memory.buffer, ptr, len));
      return this.#exports.dt_encoded(now, handle, layer, temporal, key ? 1 : 0, captureUs, level, ptr, len);
    });
  }

  /** The decoder of a received track cannot go on without a key frame. */
  keyFrameWanted(track: number): void {
    this.#call((now, wall) => this.#exports.dt_key_frame_wanted(now, wall, track));
  }

  /** Every entrance: hand in the fact, perform what is decided, set the timer. */
  #call(enter: (now: number, wall: number) => number): void {
    if (this.#broken) return;
    const work = (): number => enter(performance.now(), Date.now());
    this.#waiting.push(work);
    // An effect that reports at once must wait until the decisions are performed.
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        const code = next();
        if (code !== 0) this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
        for (let kind = this.#exports.dt_poll(); kind !== 0; kind = this.#exports.dt_poll()) this.#perform(kind);
      }
      this.#sleep();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#draining = false;
    }
  }

  #perform(kind: number): void {
    const effects = this.#effects;
    const memory = this.#exports.memory.buffer;
    const record = this.#exports.dt_record();
    const n = new Float64Array(memory, record, 4);
    const [dataPtr, dataLen, textPtr, textLen] = new Uint32Array(memory, record + 32, 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    const data = new Uint8Array(memory, dataPtr, dataLen);
    const text = (): string => new TextDecoder().decode(new Uint8Array(memory, textPtr, textLen));
    const link = n[0] as LinkId;
    switch (kind) {
      case 1: {
        const request = JSON.parse(text()) as { url: string; certificate_sha256: number[][] };
        const hashes = request.certificate_sha256.map((hash) => Uint8Array.from(hash));
        return effects.connect(link, n[1] !== 0, request.url, hashes);
      }
      case 2:
        return effects.close(link, n[1]!, text());
      case 3:
        return effects.openUni(link, n[1]!, n[2]!);
      case 4:
        return effects.openBi(link, n[1]!);
      case 5:
        return effects.write(link, n[1]!, data, n[2] !== 0);
      case 6:
        return effects.reset(link, n[1]!, n[2]!);
      case 7:
        return effects.datagram(link, data);
      case 8:
        return effects.video(
          { track: n[0]!, layer: n[1]!, key: (n[2]! & 1) !== 0, behind: n[2]! > 1, captureUs: n[3]! },
          data,
        );
      case 9:
        return effects.audio(n[0]!, n[3]!, n[1]!, n[2]!, data);
      case 10:
        return effects.keyFrame(n[0]!, n[1]!);
      case 11:
        return effects.state(JSON.parse(text()) as CoreState);
      case 12:
        return effects.event(JSON.parse(text()) as Record<string, unknown>);
      case 13:
        return effects.stop(link, n[1]!, n[2]!);
      case 14:
        return effects.encode(n[0]!, n[1]!, n[2]!);
      case 15:
        return effects.keep(link);
      case 16:
        return effects.replace(link);
      default:
        throw new Error(`the core asks for something unknown: ${kind}`);
    }
  }

  #sleep(): void {
    const deadline = this.#exports.dt_deadline();
    if (deadline === this.#wakeAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAt = deadline;
    if (!Number.isFinite(deadline)) return;
    const wait = Math.min(MAX_SLEEP_MS, Math.max(0, deadline - performance.now()));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#call((now, wall) => this.#exports.dt_tick(now, wall));
    }, wait);
  }

  #with(bytes: Uint8Array, use: (ptr: number, len: number) => number): number {
    const ptr = this.#reserve(bytes.length);
    new Uint8Array(this.#exports.memory.buffer, ptr, bytes.length).set(bytes);
    return use(ptr, bytes.length);
  }

  /** Room for an argument. It stays ours: the core copies what it keeps. */
  #reserve(len: number): number {
    if (len > this.#scratch.len || this.#scratch.ptr === 0) {
      if (this.#scratch.ptr !== 0) this.#exports.dt_free(this.#scratch.ptr, this.#scratch.len);
      const room = Math.max(65_536, 2 ** Math.ceil(Math.log2(len + 1)));
      this.#scratch = { ptr: this.#exports.dt_alloc(room), len: room };
    }
    return this.#scratch.ptr;
  }

  /** A trap leaves the module's memory in an unknown state: it is never entered again. */
  #fail(error: unknown): void {
    this.#broken = true;
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
    this.#effects.broken(this.#panic() || String(error));
  }
}
