/**
 * The WebTransport sessions as the core sees them: numbered streams and
 * datagrams. Effects only; what bytes mean is the core's business.
 */
import { code as codes } from "../error.ts";
import type { LinkId } from "./core.ts";

/** Who is told what arrived. */
export interface Arrivals {
  linkUp(link: LinkId, maxDatagram: number): void;
  linkDown(link: LinkId, code: number): void;
  streamData(link: LinkId, stream: number, bytes: Uint8Array, fin: boolean): void;
  streamEnd(link: LinkId, stream: number): void;
  streamReset(link: LinkId, stream: number): void;
  streamBacklog(link: LinkId, stream: number, bytes: number): void;
  datagram(bytes: Uint8Array): void;
}

/** Below this much unsent on a stream there is nothing to tell. */
const BACKLOG_BYTES = 4_096;
/** How long a farewell may take to be written before the session is closed. */
const FAREWELL_MS = 300;

export class Link {
  readonly counts = { streamsOpened: 0, streamsTaken: 0, datagramsIn: 0, datagramsOut: 0, refusedOpens: 0 };
  readonly #id: LinkId;
  readonly #arrivals: Arrivals;
  readonly #session: WebTransport;
  readonly #datagrams: WritableStreamDefaultWriter<Uint8Array>;
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #incoming = new Map<number, ReadableStreamDefaultReader<Uint8Array>>();
  #nextIncoming = 1;
  #stands = false;
  #over = false;

  constructor(id: LinkId, url: string, certificateHashes: Uint8Array<ArrayBuffer>[], arrivals: Arrivals) {
    this.#id = id;
    this.#arrivals = arrivals;
    const options: WebTransportOptions = { congestionControl: "low-latency" };
    if (certificateHashes.length > 0) {
      options.serverCertificateHashes = certificateHashes.map((value) => ({ algorithm: "sha-256", value }));
    }
    this.#session = new WebTransport(url, options);
    // The readers are taken before `ready`, else what the server pushed at once waits.
    const streams = this.#session.incomingUnidirectionalStreams.getReader() as ReadableStreamDefaultReader<
      ReadableStream<Uint8Array>
    >;
    const datagrams = this.#session.datagrams.readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#datagrams = this.#session.datagrams.writable.getWriter();
    this.#datagrams.closed.catch(ignoredBecauseTheSessionTells);
    void this.#takeStreams(streams);
    void this.#takeDatagrams(datagrams);
    void this.#live();
  }

  /** Whether it is open, which `linkUp` has told. */
  get stands(): boolean {
    return this.#stands;
  }

  /** The largest datagram it takes, once it stands. */
  get maxDatagram(): number {
    return this.#session.datagrams.maxDatagramSize;
  }

  async #live(): Promise<void> {
    this.#session.ready.then(() => {
      this.#stands = true;
      if (!this.#over) this.#arrivals.linkUp(this.#id, this.maxDatagram);
    }, ignoredBecauseTheSessionTells);
    try {
      const info = await this.#session.closed;
      this.#down(info.closeCode ?? 0);
    } catch {
      this.#down(this.#stands ? codes.connectionLost : codes.connectFailed);
    }
  }

  #down(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#arrivals.linkDown(this.#id, code);
  }

  /** Closes without telling the core, which decided it; what it said before is written first. */
  close(closeCode: number, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    const written = Promise.allSettled(Array.from(this.#outgoing.values(), (outgoing) => outgoing.written));
    this.#outgoing.clear();
    this.#incoming.clear();
    const late = new Promise((resolve) => setTimeout(resolve, FAREWELL_MS));
    void Promise.race([written, late]).then(() => this.#close(closeCode, reason));
  }

  /**
   * Gives up a session that may still be opening, while another goes on. Chromium holds back whatever a page opens in the
   * next five minutes the longer the more of its handshakes failed or were broken off (ten: 5 s, thirteen: 40 s), so
   * this one may come to its end by itself.
   */
  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#session.ready.then(() => this.#close(0, ""), ignoredBecauseTheSessionTells);
  }

  #close(closeCode: number, reason: string): void {
    try {
      this.#session.close({ closeCode, reason });
    } catch {
      // Already closed, or never open: there is nothing left to close.
    }
  }

  openUni(stream: number, priority: number): void {
    // `sendOrder` is a hint that some browsers do not know and ignore.
    const opening = this.#session.createUnidirectionalStream({ sendOrder: priority });
    this.#opened(
      stream,
      opening.then((writable) => writable as WritableStream<Uint8Array>),
    );
  }

  openBi(stream: number): void {
    const opening = this.#session.createBidirectionalStream().then((pair) => {
      void this.#read(stream, (pair.readable as ReadableStream<Uint8Array>).getReader());
      return pair.writable as WritableStream<Uint8Array>;
    });
    this.#opened(stream, opening);
  }

  #opened(stream: number, opening: Promise<WritableStream<Uint8Array>>): void {
    this.counts.streamsOpened++;
    const outgoing = new Outgoing(opening, {
      backlog: (bytes) => this.#tell(() => this.#arrivals.streamBacklog(this.#id, stream, bytes)),
      broken: (opened) => {
        if (!this.#outgoing.delete(stream)) return;
        if (!opened) this.counts.refusedOpens++;
        this.#tell(() => this.#arrivals.streamReset(this.#id, stream));
      },
      done: () => this.#outgoing.delete(stream),
    });
    this.#outgoing.set(stream, outgoing);
  }

  write(stream: number, bytes: Uint8Array, fin: boolean): void {
    this.#outgoing.get(stream)?.write(bytes, fin);
  }

  reset(stream: number, code: number): void {
    const outgoing = this.#outgoing.get(stream);
    this.#outgoing.delete(stream);
    outgoing?.reset(code);
  }

  stop(stream: number, code: number): void {
    const reader = this.#incoming.get(stream);
    this.#incoming.delete(stream);
    reader?.cancel(streamError(code)).catch(ignoredBecauseTheSessionTells);
  }

  datagram(bytes: Uint8Array): void {
    this.counts.datagramsOut++;
    this.#datagrams.write(bytes.slice()).catch(ignoredBecauseTheSessionTells);
  }

  async #takeStreams(reader: ReadableStreamDefaultReader<ReadableStream<Uint8Array>>): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const stream = this.#nextIncoming;
        this.#nextIncoming += 2;
        this.counts.streamsTaken++;
        void this.#read(stream, value.getReader());
      }
    } catch {
      // The session is over, which `closed` tells.
    }
  }

  /** Every stream is read to its end: an unread one would hold up the peer's limit. */
  async #read(stream: number, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    this.#incoming.set(stream, reader);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (!this.#incoming.has(stream)) return;
        if (done) break;
        this.#tell(() => this.#arrivals.streamData(this.#id, stream, value, false));
      }
      this.#tell(() => this.#arrivals.streamEnd(this.#id, stream));
    } catch {
      if (this.#incoming.has(stream)) this.#tell(() => this.#arrivals.streamReset(this.#id, stream));
    } finally {
      this.#incoming.delete(stream);
    }
  }

  async #takeDatagrams(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.counts.datagramsIn++;
        this.#tell(() => this.#arrivals.datagram(value));
      }
    } catch {
      // The session is over, which `closed` tells.
    }
  }

  #tell(arrival: () => void): void {
    if (!this.#over) arrival();
  }
}

interface Told {
  backlog(bytes: number): void;
  broken(opened: boolean): void;
  done(): void;
}

/** The sending half of a stream: writes queue up while it opens. */
class Outgoing {
  #writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #early: { bytes: Uint8Array; fin: boolean }[] = [];
  #unsent = 0;
  #toldBacklog = false;
  #resetCode: number | null = null;
  readonly #told: Told;
  /** Settles when what was given so far is with the network. */
  written: Promise<unknown>;

  constructor(opening: Promise<WritableStream<Uint8Array>>, told: Told) {
    this.#told = told;
    this.written = opening;
    opening.then(
      (writable) => this.#open(writable.getWriter()),
      () => told.broken(false),
    );
  }

  #open(writer: WritableStreamDefaultWriter<Uint8Array>): void {
    this.#writer = writer;
    writer.closed.catch(() => this.#told.broken(true));
    if (this.#resetCode !== null) return this.reset(this.#resetCode);
    const early = this.#early;
    this.#early = [];
    for (const { bytes, fin } of early) this.#send(bytes, fin);
  }

  /** Copies: the bytes are a view of the core's memory. */
  write(bytes: Uint8Array, fin: boolean): void {
    const copy = bytes.slice();
    this.#unsent += copy.length;
    if (this.#writer === null) this.#early.push({ bytes: copy, fin });
    else this.#send(copy, fin);
    if (this.#unsent > BACKLOG_BYTES) this.#tellBacklog();
  }

  #send(bytes: Uint8Array, fin: boolean): void {
    const writer = this.#writer!;
    if (bytes.length > 0) {
      this.written = writer.write(bytes);
      this.written.then(() => {
        this.#unsent -= bytes.length;
        if (this.#toldBacklog) this.#tellBacklog();
      }, ignoredBecauseTheSessionTells);
    }
    if (fin) writer.close().then(() => this.#told.done(), ignoredBecauseTheSessionTells);
  }

  #tellBacklog(): void {
    this.#toldBacklog = this.#unsent > 0;
    this.#told.backlog(this.#unsent);
  }

  reset(code: number): void {
    this.#resetCode = code;
    this.#early = [];
    this.#writer?.abort(streamError(code)).catch(ignoredBecauseTheSessionTells);
  }
}

/** Both shapes of the constructor are in the field: an init object, and message plus init. */
function streamError(streamErrorCode: number): WebTransportError {
  type Shape = new (...args: unknown[]) => WebTransportError;
  const Constructor = WebTransportError as unknown as Shape;
  try {
    return new Constructor({ message: "", streamErrorCode });
  } catch {
    return new Constructor("", { streamErrorCode });
  }
}

/** A rejection that only repeats what `closed` of the session or stream says. */
function ignoredBecauseTheSessionTells(): void {}
