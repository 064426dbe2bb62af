/** The tiles of remote pictures on the page: their sizes in device pixels, and whether anybody looks. */
import { Demand } from "./demand.ts";
import type { View } from "./messages.ts";

export class Views {
  readonly #demand = new Demand();
  readonly #show: (views: View[]) => void;
  readonly #observer: ResizeObserver;
  readonly #tiles = new Map<Element, number>();
  readonly #onVisibility = (): void => {
    this.#demand.hidden = document.visibilityState === "hidden";
    this.#say();
  };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = false;

  constructor(show: (views: View[]) => void) {
    this.#show = show;
    this.#observer = new ResizeObserver((entries) => {
      for (const entry of entries) this.#sized(entry);
      this.#say();
    });
    document.addEventListener("visibilitychange", this.#onVisibility);
    if (document.visibilityState === "hidden") this.#demand.hidden = true;
  }

  /** `canvas` shows `track` until the returned function is called. */
  add(tile: number, track: number, canvas: HTMLCanvasElement): () => void {
    this.#demand.add(tile, track);
    this.#tiles.set(canvas, tile);
    this.#observe(canvas);
    return () => {
      this.#observer.unobserve(canvas);
      this.#tiles.delete(canvas);
      this.#demand.remove(tile);
      this.#soon();
    };
  }

  pin(tile: number, pinned: boolean): void {
    this.#demand.pin(tile, pinned);
    this.#soon();
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.#onVisibility);
    this.#observer.disconnect();
    clearTimeout(this.#timer);
    this.#tiles.clear();
  }

  #observe(canvas: HTMLCanvasElement): void {
    try {
      // Also tells when the page is zoomed or moves to another screen.
      this.#observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      this.#observer.observe(canvas);
    }
  }

  #sized(entry: ResizeObserverEntry): void {
    const tile = this.#tiles.get(entry.target);
    if (tile === undefined) return;
    const device = entry.devicePixelContentBoxSize?.[0];
    const { width, height } = entry.contentRect;
    const ratio = devicePixelRatio;
    const size = device ?? { inlineSize: width * ratio, blockSize: height * ratio };
    this.#demand.sized(performance.now(), tile, size.inlineSize, size.blockSize);
  }

  /** A page that is drawn anew takes tiles away and adds others: that is one thing to say. */
  #soon(): void {
    if (this.#asked) return;
    this.#asked = true;
    setTimeout(() => {
      this.#asked = false;
      this.#say();
    }, 0);
  }

  #say(): void {
    clearTimeout(this.#timer);
    const views = this.#demand.next(performance.now());
    if (views !== null) this.#show(views);
    const deadline = this.#demand.deadline();
    if (deadline !== null) this.#timer = setTimeout(() => this.#say(), Math.max(0, deadline - performance.now()));
  }
}
