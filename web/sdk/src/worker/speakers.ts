/**
 * Who is heard, from the loudness that travels with each packet. Pure: a
 * participant speaks from the second voiced packet until 400 ms after the last.
 */
const HOLD_MS = 400;

export class Speakers {
  readonly #last = new Map<string, { at: number; run: number }>();

  /** A packet with the level byte of RFC 6464 (−1: none) from `participant`. */
  heard(nowMs: number, participant: string, level: number): void {
    if (level < 0 || (level & 0x80) === 0) return;
    const known = this.#last.get(participant);
    const run = known !== undefined && nowMs - known.at < HOLD_MS ? known.run + 1 : 1;
    this.#last.set(participant, { at: nowMs, run });
  }

  /** Who speaks at `nowMs`, sorted so that equal answers are equal. */
  speaking(nowMs: number): string[] {
    const ids: string[] = [];
    for (const [id, { at, run }] of this.#last) {
      if (nowMs - at >= HOLD_MS) this.#last.delete(id);
      else if (run >= 2) ids.push(id);
    }
    return ids.sort();
  }
}
