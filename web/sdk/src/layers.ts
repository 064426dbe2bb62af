/** What a captured picture is encoded to: sizes, rates and temporal layers, the smallest first. Pure. */
import type { Source } from "./snapshot.ts";
import { family } from "./codecs.ts";
import { fit } from "./worker/size.ts";

/** One layer as it is announced and encoded; the core's own words. */
export interface LayerOffer {
  width: number;
  height: number;
  /** Bits per second at most. */
  bitrate: number;
  temporal_layers: number;
}

interface Rung {
  width: number;
  height: number;
  bitrate: number;
}

/** Rates are those at which VP8 stops looking worse than the picture that came from the camera. */
const CAMERA: readonly Rung[] = [
  { width: 320, height: 180, bitrate: 150_000 },
  { width: 640, height: 360, bitrate: 500_000 },
  { width: 1280, height: 720, bitrate: 1_700_000 },
];
/** Half the size still shows what a slide is about; only the whole can be read. */
const SCREEN: readonly Rung[] = [
  { width: 960, height: 540, bitrate: 500_000 },
  { width: 1920, height: 1080, bitrate: 2_500_000 },
];
/** What better codecs need of that for the same picture. */
const SHARE: Record<string, number> = { vp09: 0.75, av01: 0.65 };
/** A layer must be this much larger than the one below it to be worth its encoder. */
const WORTH = 1.3;

/** The layers of a source whose picture is `width` × `height`; a small picture has fewer. */
export function layersOf(source: Source, codec: string, width: number, height: number): LayerOffer[] {
  const layers: LayerOffer[] = [];
  for (const rung of source === "screen" ? SCREEN : CAMERA) {
    const size = fit(width, height, rung.width, rung.height);
    const below = layers.at(-1);
    if (below !== undefined && size.height < below.height * WORTH && size.width < below.width * WORTH) continue;
    const full = Math.min(1, (size.width * size.height) / (rung.width * rung.height));
    // A picture with fewer pixels needs fewer bits, but not in proportion.
    const bitrate = Math.round((rung.bitrate * Math.max(0.5, full) * (SHARE[family(codec)] ?? 1)) / 1000) * 1000;
    layers.push({ ...size, bitrate, temporal_layers: 3 });
  }
  return layers;
}

/** Every how many-th picture of a screen to encode at `bitrate` of at most `most`: text stays sharp, motion gives way. */
export function screenPace(bitrate: number, most: number): number {
  if (bitrate >= most * 0.6) return 1;
  return bitrate >= most * 0.3 ? 2 : 4;
}
