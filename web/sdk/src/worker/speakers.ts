/** Who is heard, from the voice flag that travels with each packet. Pure. */

/** Without a packet for this long nobody is heard. */
const SILENT_MS = 400;

export class Speakers {
  readonly #known = new Map<string, { at: number; voiced: number }>();

  /** A packet of 20 ms came from `participant`, with a voice in it or not. */
  heard(nowMs: number, participant: string, voice: boolean): void {
    const voiced = voice ? (this.#known.get(participant)?.voiced ?? 0) + 1 : 0;
    this.#known.set(participant, { at: nowMs, voiced });
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
