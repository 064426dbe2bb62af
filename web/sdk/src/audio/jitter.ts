/**
 * The jitter buffer of one audio track: samples go in with their capture time,
 * a steady flow comes out. Pure: no clock of its own, time is the playout
 * clock handed in by the caller, in seconds.
 *
 * It waits for `target` before playing, conceals what is missing by fading out
 * and in, and sheds what piles up in small cross-faded bites.
 */

const MIN_TARGET_MS = 40;
const MAX_TARGET_MS = 150;
/** On top of the measured jitter: one packet and a scheduling quantum. */
const MARGIN_MS = 25;
/** How long an arrival counts for the jitter estimate. */
const WINDOW = 250;
/** A gap longer than this is a new spurt of sound, not a loss. */
const SPURT_MS = 200;
/** Capture times are estimates: packets this near to one another are neighbours. */
const WOBBLE_MS = 5;
const FADE_MS = 5;
const SHED_MS = 5;
/** Above target by this much, samples are shed. */
const SLACK_MS = 40;
/** So far above target is no jitter but a standstill. */
const STALL_MS = 300;
const CAPACITY_MS = 1500;

export interface JitterReport {
  playingUs: number | null;
  bufferedMs: number;
  targetMs: number;
  underruns: number;
  concealedMs: number;
  late: number;
}

export class JitterBuffer {
  readonly #rate: number;
  readonly #ring: Float32Array;
  /** Running numbers of samples; the ring holds [read, write). */
  #read = 0;
  #write = 0;
  /** Capture time of sample number 0. */
  #originUs: number | null = null;
  #playing = false;
  #fadeIn = 0;
  /** The last sample played, from which a fade-out starts. */
  #last = 0;
  #fadeOut = 0;
  #sinceShed = 0;
  readonly #delays: number[] = [];
  #pushes = 0;
  #targetMs = 60;
  #underruns = 0;
  #concealed = 0;
  #late = 0;

  constructor(sampleRate: number) {
    this.#rate = sampleRate;
    this.#ring = new Float32Array(this.#samples(CAPACITY_MS));
  }

  /** Takes samples captured at `captureUs`, arrived at `nowS`. */
  push(nowS: number, captureUs: number, samples: Float32Array): void {
    this.#measure(nowS, captureUs);
    if (this.#originUs === null) this.#anchor(captureUs);
    let at = this.#indexOf(captureUs);
    const gap = at - this.#write;
    if (Math.abs(gap) > this.#samples(SPURT_MS)) {
      this.#anchor(captureUs);
      at = this.#write;
    } else if (gap > this.#samples(WOBBLE_MS)) {
      this.#conceal(gap);
    }
    const known = at < this.#write - this.#samples(WOBBLE_MS) ? this.#write - at : 0;
    if (known >= samples.length) {
      this.#late++;
      return;
    }
    this.#append(samples.subarray(known));
  }

  /** Adds the next samples onto `out`. */
  pull(out: Float32Array): void {
    if (!this.#playing) {
      if (this.#buffered() >= this.#samples(this.#targetMs)) this.#start();
      else return this.#decay(out);
    }
    this.#shed(out.length);
    const fade = this.#samples(FADE_MS);
    let i = 0;
    for (; i < out.length && this.#read < this.#write; i++) {
      let sample = this.#at(this.#read++);
      if (this.#fadeIn < fade) sample *= ++this.#fadeIn / fade;
      this.#last = sample;
      out[i]! += sample;
    }
    if (i < out.length) {
      this.#playing = false;
      this.#underruns++;
      this.#fadeOut = fade;
      this.#decay(out.subarray(i));
    }
  }

  /** The buffer's account of itself. */
  report(): JitterReport {
    return {
      playingUs: this.#playing && this.#originUs !== null ? this.#captureOf(this.#read) : null,
      bufferedMs: this.#ms(this.#buffered()),
      targetMs: this.#targetMs,
      underruns: this.#underruns,
      concealedMs: this.#ms(this.#concealed),
      late: this.#late,
    };
  }

  /** How much later than the fastest packet arrivals are, at the 95th percentile. */
  #measure(nowS: number, captureUs: number): void {
    this.#delays.push(nowS * 1000 - captureUs / 1000);
    if (this.#delays.length > WINDOW) this.#delays.shift();
    if (++this.#pushes % 10 !== 0) return;
    const sorted = [...this.#delays].sort((a, b) => a - b);
    const spread = sorted[Math.floor(sorted.length * 0.95)]! - sorted[0]!;
    this.#targetMs = Math.min(MAX_TARGET_MS, Math.max(MIN_TARGET_MS, spread + MARGIN_MS));
  }

  /** A new spurt: what is still buffered belongs to the past. */
  #anchor(captureUs: number): void {
    if (this.#originUs !== null) this.#delays.length = 0;
    this.#read = this.#write;
    this.#originUs = captureUs - (this.#write / this.#rate) * 1e6;
    if (this.#playing) this.#fadeOut = this.#samples(FADE_MS);
    this.#playing = false;
  }

  #start(): void {
    this.#playing = true;
    this.#fadeIn = 0;
    this.#fadeOut = 0;
  }

  /** Fills a hole of lost samples: the end of the known fades, then silence. */
  #conceal(count: number): void {
    const fade = Math.min(count, this.#samples(FADE_MS));
    const from = this.#write > this.#read ? this.#at(this.#write - 1) : 0;
    const fill = new Float32Array(count);
    for (let i = 0; i < fade; i++) fill[i] = from * (1 - (i + 1) / fade);
    this.#append(fill);
    this.#concealed += count;
  }

  #append(samples: Float32Array): void {
    for (const sample of samples) this.#ring[this.#write++ % this.#ring.length] = sample;
    const most = this.#ring.length;
    if (this.#write - this.#read > most) this.#read = this.#write - most;
  }

  /** No samples: the last one played fades to silence instead of clicking. */
  #decay(out: Float32Array): void {
    const fade = this.#samples(FADE_MS);
    for (let i = 0; i < out.length && this.#fadeOut > 0; i++) {
      out[i]! += this.#last * (--this.#fadeOut / fade);
    }
  }

  /** Latency that piled up goes in bites of 5 ms, at most one in 50 ms, cross-faded. */
  #shed(pulled: number): void {
    this.#sinceShed += pulled;
    const over = this.#buffered() - this.#samples(this.#targetMs + SLACK_MS);
    const bite = this.#samples(SHED_MS);
    // Playout stood still (a page that may not sound yet): nobody wants to hear that much of the past.
    if (over > this.#samples(STALL_MS)) {
      this.#read = this.#write - this.#samples(this.#targetMs);
      this.#fadeIn = 0;
      return;
    }
    if (over < bite || this.#sinceShed < this.#samples(50)) return;
    this.#sinceShed = 0;
    for (let i = 0; i < bite; i++) {
      const t = (i + 1) / bite;
      const kept = this.#read + bite + i;
      this.#ring[kept % this.#ring.length] = this.#at(this.#read + i) * (1 - t) + this.#at(kept) * t;
    }
    this.#read += bite;
  }

  #at(index: number): number {
    return this.#ring[index % this.#ring.length]!;
  }

  #buffered(): number {
    return this.#write - this.#read;
  }

  #indexOf(captureUs: number): number {
    return Math.round(((captureUs - (this.#originUs ?? 0)) / 1e6) * this.#rate);
  }

  #captureOf(index: number): number {
    return (this.#originUs ?? 0) + (index / this.#rate) * 1e6;
  }

  #samples(ms: number): number {
    return Math.round((ms / 1000) * this.#rate);
  }

  #ms(samples: number): number {
    return (samples / this.#rate) * 1000;
  }
}
