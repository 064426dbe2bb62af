/** Which tiles there are, which of them are seen, and where. Pure. */
import type { Participant, Track } from "@darktower/sdk";
import { arrange, capacity, SHAPES } from "./layout.ts";

/** Something this person captures beside the first camera. */
export interface OwnSource {
  id: string;
  kind: "camera" | "screen";
  stream: MediaStream;
  label: string;
  /** Of a camera. */
  deviceId: string;
}

/** One picture on the screen, or the face that stands for it. */
export interface Tile {
  /** The same while the picture is the same, whatever track carries it. */
  key: string;
  participant: Participant;
  kind: "person" | "camera" | "screen";
  /** What to draw of somebody else; null: nothing, or it is an own picture. */
  track: Track | null;
  /** An own capture; null: the first camera, or somebody else's picture. */
  own: OwnSource | null;
}

/** Every tile, in the order of the participants. */
export function tilesOf(people: readonly Participant[], own: readonly OwnSource[]): Tile[] {
  return people.flatMap((participant) => (participant.me ? ownTiles(participant, own) : theirTiles(participant)));
}

function ownTiles(participant: Participant, own: readonly OwnSource[]): Tile[] {
  const person: Tile = { key: participant.id, participant, kind: "person", track: null, own: null };
  const more = own.map((one): Tile => ({ key: `own/${one.id}`, participant, kind: one.kind, track: null, own: one }));
  return [person, ...more];
}

function theirTiles(participant: Participant): Tile[] {
  const here = new Set(participant.tracks.map((track) => track.id));
  // What takes another's place is seen when that one is gone.
  const seen = participant.tracks.filter(
    (track) => track.kind === "video" && !(track.replaces !== 0 && here.has(track.replaces)),
  );
  const [first, ...cameras] = seen.filter((track) => track.source !== "screen");
  const screens = seen.filter((track) => track.source === "screen");
  const shown = first !== undefined && !first.muted ? first : null;
  const tiles: Tile[] = [{ key: participant.id, participant, kind: "person", track: shown, own: null }];
  for (const [kind, tracks] of [["camera", cameras] as const, ["screen", screens] as const]) {
    for (const track of tracks) {
      if (track.muted) continue;
      const key = `${participant.id}/${track.replaces || track.id}`;
      tiles.push({ key, participant, kind, track, own: null });
    }
  }
  return tiles;
}

export type Look = "grid" | "speaker";

/** What goes large: what was pinned, else shared screens, else (in speaker view) who speaks. */
export function featured(tiles: readonly Tile[], look: Look, pinned: string | null, speaker: string | null): Tile[] {
  const one = tiles.find((tile) => tile.key === pinned);
  if (one !== undefined) return [one];
  const screens = tiles.filter((tile) => tile.kind === "screen");
  if (screens.length > 0) return screens;
  if (look === "grid" || tiles.length < 2) return [];
  const others = tiles.filter((tile) => !tile.participant.me && tile.kind === "person");
  const speaking = others.find((tile) => tile.participant.id === speaker) ?? others[0];
  return speaking === undefined ? [] : [speaking];
}

/**
 * The tiles that are seen where not all fit: oneself, and who was heard last. Who
 * is seen stays until somebody unseen is heard later, so that nothing hops about.
 */
export function lastHeard(
  tiles: readonly Tile[],
  room: number,
  before: ReadonlySet<string>,
  heardAt: ReadonlyMap<string, number>,
): Tile[] {
  if (tiles.length <= room) return [...tiles];
  const rank = (tile: Tile): number =>
    tile.participant.me && tile.kind === "person" ? Infinity : (heardAt.get(tile.participant.id) ?? -1);
  const ranked = tiles
    .map((tile, i) => ({ tile, i, stays: before.has(tile.key) ? 1 : 0 }))
    .sort((a, b) => rank(b.tile) - rank(a.tile) || b.stays - a.stays || a.i - b.i);
  const picked = new Set(ranked.slice(0, Math.max(1, room - 1)).map(({ tile }) => tile.key));
  return tiles.filter((tile) => picked.has(tile.key));
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The areas for large tiles and for the others in a space of so many px. */
export function areas(width: number, height: number, gap: number, large: boolean): { main: Box | null; rest: Box } {
  const all = { x: 0, y: 0, width, height };
  if (!large) return { main: null, rest: all };
  if (width > 700 && width > height) {
    const strip = Math.min(240, Math.max(150, Math.round(width * 0.18)));
    return {
      main: { ...all, width: width - strip - gap },
      rest: { ...all, x: width - strip, width: strip },
    };
  }
  const main = Math.round(Math.min(height * 0.6, width * 0.7));
  return { main: { ...all, height: main }, rest: { ...all, y: main + gap, height: Math.max(0, height - main - gap) } };
}

/** Boxes for large tiles: one has the whole area, several are as wide as screens are. */
export function largeBoxes(count: number, area: Box, gap: number): Box[] {
  if (count === 1) return [area];
  return boxes(count, area, gap, [16 / 9]);
}

/** How many tiles an area takes. */
export function room(area: Box): number {
  return capacity(area.width, area.height);
}

/** `count` boxes that fill an area, centred, row by row. */
export function boxes(count: number, area: Box, gap: number, shapes = SHAPES): Box[] {
  const { columns, rows, width, height } = arrange(count, area.width, area.height, gap, shapes);
  const top = area.y + (area.height - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, i) => {
    const row = Math.floor(i / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = area.x + (area.width - inRow * width - (inRow - 1) * gap) / 2;
    return { x: left + (i % columns) * (width + gap), y: top + row * (height + gap), width, height };
  });
}
