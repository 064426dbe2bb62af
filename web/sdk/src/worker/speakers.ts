/**
 * Who is heard, from the loudness that travels with each packet. Pure: a
 * participant speaks while its packets stand out of its own noise.
 */
import { VoiceDetector } from "../audio/level.ts";

/** Without a packet for this long nobody is heard. */
const SILENT_MS = 400;

export class Speakers {
  readonly #known = new Map<string, { detector: VoiceDetector; at: number; voiced: number }>();

  /** A packet of 20 ms with −dBov (−1: not told) came from `participant`. */
  heard(nowMs: number, participant: string, level: number): void {
    if (level < 0) return;
    let known = this.#known.get(participant);
    if (known === undefined)
      this.#known.set(participant, (known = { detector: new VoiceDetector(), at: 0, voiced: 0 }));
    known.at = nowMs;
    known.voiced = known.detector.take(level) ? known.voiced + 1 : 0;
  }

  /** Who speaks at `nowMs`, sorted so that equal answers are equal; one click is no word. */
  speaking(nowMs: number): string[] {
    const ids: string[] = [];
    for (const [id, { at, voiced }] of this.#known) {
      if (nowMs - at < SILENT_MS && voiced >= 2) ids.push(id);
    }
    return ids.sort();
  }
}
