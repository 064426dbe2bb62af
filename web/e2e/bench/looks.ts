/** What a page tells of a meeting on a bad network, look after look, and what follows from that. */
import type { Person } from "../lib/browser.ts";

/** Time between two looks at a page. */
const LOOK_MS = 20;

/** One look; times are wall times in ms. Counts are since the page's tracks came. */
export interface Look {
  at: number;
  /** Of the first picture of somebody else, in the sense of {@link VideoStats}. */
  layer: number | null;
  decoded: number;
  freezes: number;
  frozenMs: number;
  longestGapMs: number;
  bytes: number;
  /** Of the first sound of somebody else: packets played, and what was made up. */
  played: number;
  concealedMs: number;
  /** Of the own camera: what its layers together may make, bit/s; pictures of the largest; what the machine had to give up. */
  mayMake: number;
  encoded: number;
  shed: number;
  /** What the ways are believed to carry, bit/s. */
  downBps: number | null;
  upBps: number | null;
}

/** A page's looks, and when its media session came up. */
export interface Watched {
  looks: Look[];
  mediaReady: number;
}

/** From its first moment up to its last, in ms. */
export interface Span {
  from: number;
  to: number;
}

interface Watcher {
  watched(): Promise<Watched>;
}

/** Runs inside the page, from its beginning on. */
function install(every: number): void {
  const looks: Look[] = [];

  async function look(): Promise<void> {
    const meeting = globalThis.darktower;
    if (meeting === undefined) return;
    const { received, sent } = await meeting.stats();
    const { estimates } = meeting.snapshot;
    const picture = received.find(({ kind }) => kind === "video");
    const sound = received.find(({ kind }) => kind === "audio")?.playout;
    const camera = sent.find(({ layers }) => layers !== undefined);
    looks.push({
      at: performance.timeOrigin + performance.now(),
      layer: picture?.video?.layer ?? null,
      decoded: picture?.decoded ?? 0,
      freezes: picture?.video?.freezes ?? 0,
      frozenMs: picture?.video?.frozenMs ?? 0,
      longestGapMs: picture?.video?.longestGapMs ?? 0,
      bytes: picture?.bytes ?? 0,
      played: sound?.played ?? 0,
      concealedMs: sound?.concealedMs ?? 0,
      mayMake: camera?.layers?.reduce((sum, layer) => sum + layer.bitrate, 0) ?? 0,
      encoded: camera?.layers?.at(-1)?.encoded ?? 0,
      shed: camera?.shed ?? 0,
      downBps: estimates.down_bps,
      upBps: estimates.up_bps,
    });
  }

  async function watch(): Promise<never> {
    for (;;) {
      await look();
      await new Promise((resolve) => setTimeout(resolve, every));
    }
  }

  const watcher: Watcher = {
    watched: async () => {
      const { marks } = await globalThis.darktower.stats();
      return { looks, mediaReady: marks.media_ready ?? Number.NaN };
    },
  };
  (globalThis as unknown as { watcher: Watcher }).watcher = watcher;
  void watch();
}

/** The pages that this person opens from now on are looked at. */
export async function watch(person: Person): Promise<void> {
  await person.context.addInitScript(install, LOOK_MS);
}

/** All looks at the person's page so far. */
export async function watched(person: Person): Promise<Watched> {
  return await person.page.evaluate(() => (globalThis as unknown as { watcher: Watcher }).watcher.watched());
}

function inside(looks: readonly Look[], { from, to }: Span): Look[] {
  return looks.filter(({ at }) => at >= from && at < to);
}

/** How long after `from` the layer, or one above, was first seen. */
export function reaches(looks: readonly Look[], layer: number, from: number): number | null {
  const found = looks.find((look) => look.at >= from && (look.layer ?? -1) >= layer);
  return found === undefined ? null : found.at - from;
}

/** How long after `from` a smaller layer was first seen; null also where a smaller one was seen before. */
export function falls(looks: readonly Look[], layer: number, from: number): number | null {
  const before = looks.findLast(({ at }) => at < from);
  if ((before?.layer ?? -1) < layer) return null;
  const found = looks.find((look) => look.at >= from && (look.layer ?? -1) < layer);
  return found === undefined ? null : found.at - from;
}

/** How long after the span's beginning the layer, or one above, was seen and remained until its end. */
export function holds(looks: readonly Look[], layer: number, span: Span): number | null {
  const all = inside(looks, span);
  const first = all[all.findLastIndex((look) => (look.layer ?? -1) < layer) + 1];
  return first === undefined ? null : first.at - span.from;
}

/** How long after `from` all layers of the camera together were told to make no more than `bps`. */
export function sheds(looks: readonly Look[], bps: number, from: number): number | null {
  const found = looks.find((look) => look.at >= from && look.mayMake <= bps);
  return found === undefined ? null : found.at - from;
}

/** By how much a count grew in the span. */
export function grown(looks: readonly Look[], span: Span, of: (look: Look) => number): number {
  const all = inside(looks, span);
  return all.length === 0 ? 0 : of(all.at(-1)!) - of(all[0]!);
}

/** So many a second. */
export function rate(looks: readonly Look[], span: Span, of: (look: Look) => number): number {
  return (grown(looks, span, of) * 1000) / (span.to - span.from);
}

/** Sound that was made up, in percent of what was played. */
export function concealed(looks: readonly Look[], span: Span): number {
  const madeUp = grown(looks, span, (look) => look.concealedMs);
  const played = grown(looks, span, (look) => look.played) * 20;
  return (100 * madeUp) / Math.max(1, played + madeUp);
}

/** How late the latest look of the span was: what is as late as that may be the machine's doing. */
export function latest(looks: readonly Look[], span: Span): number {
  const all = inside(looks, span);
  const late = all.slice(1).map(({ at }, before) => at - all[before]!.at - LOOK_MS);
  return Math.max(0, ...late);
}

/** The looks in words, a line for each tenth of a second since `from`. */
export function told(looks: readonly Look[], from: number): string {
  const tenths = looks.filter(({ at }, n) => n > 0 && Math.floor(at / 100) > Math.floor(looks[n - 1]!.at / 100));
  const kbps = (bps: number | null): string => (bps === null ? "–" : (bps / 1000).toFixed(0)).padStart(5);
  const lines = tenths.map((look, n) => {
    const { at, layer, decoded, freezes, frozenMs, concealedMs, mayMake, encoded, downBps, upBps } = look;
    const came = ((look.bytes - (tenths[n - 1]?.bytes ?? 0)) * 8000) / (at - (tenths[n - 1]?.at ?? 0));
    const head = `${((at - from) / 1000).toFixed(2).padStart(7)} down ${kbps(downBps)} came ${kbps(came)} layer ${layer ?? "–"}`;
    const seen = `decoded ${decoded} freezes ${freezes} (${frozenMs.toFixed(0)} ms) concealed ${concealedMs.toFixed(0)} ms`;
    return `${head} ${seen} | up ${kbps(upBps)} may make ${kbps(mayMake)} largest encoded ${encoded}\n`;
  });
  return lines.join("");
}
