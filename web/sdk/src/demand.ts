/**
 * What this end's screen shows, from its tiles to what the media handler is
 * told. Pure: new tiles and gone ones are said at once, mere changes of size when
 * they have settled, nothing twice.
 */
import type { View } from "./messages.ts";
import type { Participant } from "./snapshot.ts";

/** A tile that is being dragged larger says so once it rests. */
const SETTLE_MS = 100;
/** Sizes are told in steps of this, so that a pixel more is no news. */
const STEP_PX = 16;

interface Tile extends View {
  /** Its size has been seen, be it none. */
  measured: boolean;
}

export class Demand {
  readonly #tiles = new Map<number, Tile>();
  #hidden = false;
  #said: string | null = null;
  #sizedAt: number | null = null;
  #urgent = false;

  /** A tile shows a track; its size is not known yet. */
  add(tile: number, track: number): void {
    this.#tiles.set(tile, { track, width: 0, height: 0, pinned: false, measured: false });
  }

  remove(tile: number): void {
    if (this.#tiles.delete(tile)) this.#urgent = true;
  }

  /** A tile has so many device pixels now. */
  sized(nowMs: number, tile: number, width: number, height: number): void {
    const known = this.#tiles.get(tile);
    if (known === undefined) return;
    // The first size is what makes the tile count.
    if (known.width === 0) this.#urgent = true;
    else this.#sizedAt = nowMs;
    known.measured = true;
    known.width = steps(width);
    known.height = steps(height);
  }

  pin(tile: number, pinned: boolean): void {
    const known = this.#tiles.get(tile);
    if (known === undefined || known.pinned === pinned) return;
    known.pinned = pinned;
    this.#urgent = true;
  }

  /** Nobody looks at the page: nothing is shown. */
  set hidden(hidden: boolean) {
    this.#hidden = hidden;
    this.#urgent = true;
  }

  /** What to say now, or `null`: nothing new, or not yet. */
  next(nowMs: number): View[] | null {
    const settled = this.#sizedAt !== null && nowMs >= this.#sizedAt + SETTLE_MS;
    if (!this.#urgent && !settled) return null;
    // A picture that moves to another tile is not hidden in between.
    if (!this.#hidden && [...this.#tiles.values()].some((tile) => !tile.measured)) return null;
    this.#urgent = false;
    if (settled) this.#sizedAt = null;
    const views = this.#views();
    const said = JSON.stringify(views);
    // Nothing was ever shown: the handler's own belief stands until something is.
    if (said === this.#said || (this.#said === null && views.length === 0 && !this.#hidden)) return null;
    this.#said = said;
    return views;
  }

  /** When to ask again, if nothing happens before. */
  deadline(): number | null {
    return this.#sizedAt === null ? null : this.#sizedAt + SETTLE_MS;
  }

  /** A track on several tiles counts as large as its largest. */
  #views(): View[] {
    if (this.#hidden) return [];
    const views = new Map<number, View>();
    for (const { track, width, height, pinned } of this.#tiles.values()) {
      if (width === 0 || height === 0) continue;
      const known = views.get(track);
      if (known === undefined) views.set(track, { track, width, height, pinned });
      else {
        known.pinned ||= pinned;
        if (width * height > known.width * known.height) Object.assign(known, { width, height });
      }
    }
    return [...views.values()].sort((a, b) => a.track - b.track);
  }
}

function steps(px: number): number {
  return px <= 0 ? 0 : Math.max(STEP_PX, Math.round(px / STEP_PX) * STEP_PX);
}

/** The same views, and with each track also the one that will take its place: it gets ready unseen. */
export function withSuccessors(views: readonly View[], participants: readonly Participant[]): View[] {
  const all = [...views];
  for (const { tracks } of participants) {
    for (const { id, replaces } of tracks) {
      const place = replaces === 0 ? undefined : views.find((view) => view.track === replaces);
      if (place !== undefined && !views.some((view) => view.track === id)) all.push({ ...place, track: id });
    }
  }
  return all;
}
