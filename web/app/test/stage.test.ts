import { describe, expect, it } from "vitest";
import type { Participant, Snapshot, Track, WorkerStats } from "@darktower/sdk";
import { bridged, receivedRows, sentRows } from "../src/lib/diagnostics.ts";
import { connectionState, pictureState, rateText, Steady } from "../src/lib/quality.ts";
import { areas, boxes, featured, largeBoxes, lastHeard, room, tilesOf, type OwnSource } from "../src/lib/tiles.ts";

function track(id: number, change: Partial<Track> = {}): Track {
  const none = { layer: null, temporal: null, paused: false, replaces: 0 };
  const size = { width: 1280, height: 720, layers: 3 };
  return { id, source: "camera", kind: "video", codec: "vp8", label: "", muted: false, ...size, ...none, ...change };
}

function person(id: string, tracks: Track[] = [], change: Partial<Participant> = {}): Participant {
  return { id, name: id.toUpperCase(), role: "guest", me: false, away: false, tracks, ...change };
}

const keys = (tiles: { key: string }[]): string[] => tiles.map((tile) => tile.key);

describe("tiles", () => {
  it("are one for each person, each further camera and each screen", () => {
    const screen = { source: "screen" } as const;
    const ada = person("ada", [track(1), track(2), track(3, screen), track(4, screen), track(5, { muted: true })]);
    const own: OwnSource[] = [{ id: "screen-1", kind: "screen", stream: {} as MediaStream, label: "", deviceId: "" }];
    const tiles = tilesOf([person("me", [], { me: true }), ada], own);
    expect(keys(tiles)).toEqual(["me", "own/screen-1", "ada", "ada/2", "ada/3", "ada/4"]);
    expect(tiles.map((tile) => tile.track?.id ?? null)).toEqual([null, null, 1, 2, 3, 4]);
  });

  it("show a face where the camera is dark, and keep the picture of whoever is away", () => {
    expect(tilesOf([person("a", [track(1, { muted: true })])], [])[0]!.track).toBeNull();
    expect(tilesOf([person("a", [track(1)], { away: true })], [])[0]!.track?.id).toBe(1);
  });

  it("stay the same when one track takes another's place", () => {
    const old = track(1);
    const next = track(7, { replaces: 1 });
    expect(tilesOf([person("a", [old, next])], []).map((tile) => tile.track?.id)).toEqual([1]);
    expect(tilesOf([person("a", [next])], []).map((tile) => [tile.key, tile.track?.id])).toEqual([["a", 7]]);
    const screens = [track(2, { source: "screen" }), track(8, { source: "screen", replaces: 2 })];
    const before = tilesOf([person("a", screens)], []);
    const after = tilesOf([person("a", screens.slice(1))], []);
    expect(keys(after)).toEqual(keys(before));
  });
});

describe("stage", () => {
  const people = [person("me", [], { me: true }), person("a", [track(1)]), person("b", [track(2)])];
  const tiles = tilesOf(people, []);

  it("makes large what is pinned, else screens, else who speaks", () => {
    const sharing = tilesOf([...people, person("c", [track(3), track(4, { source: "screen" })])], []);
    expect(keys(featured(tiles, "grid", null, "b"))).toEqual([]);
    expect(keys(featured(tiles, "speaker", null, "b"))).toEqual(["b"]);
    expect(keys(featured(tiles, "speaker", null, null))).toEqual(["a"]);
    expect(keys(featured(tiles, "grid", "a", "b"))).toEqual(["a"]);
    expect(keys(featured(tiles, "grid", "gone", "b"))).toEqual([]);
    expect(keys(featured(sharing, "speaker", null, "b"))).toEqual(["c/4"]);
    expect(keys(featured(sharing, "grid", "me", "b"))).toEqual(["me"]);
  });

  it("shows who was heard last where not all fit, and lets nobody hop", () => {
    const crowd = tilesOf([people[0]!, ...Array.from({ length: 9 }, (_, i) => person(`p${i}`))], []);
    const first = lastHeard(crowd, 5, new Set(), new Map());
    expect(keys(first)).toEqual(["me", "p0", "p1", "p2"]);
    const heard = new Map([["p8", 1]]);
    const second = lastHeard(crowd, 5, new Set(keys(first)), heard);
    expect(keys(second)).toEqual(["me", "p0", "p1", "p8"]);
    // Who was shown stays, though another came earlier.
    expect(keys(lastHeard(crowd, 5, new Set(["me", "p5", "p6", "p8"]), heard))).toEqual(["me", "p5", "p6", "p8"]);
    expect(lastHeard(crowd, 10, new Set(), new Map())).toHaveLength(10);
  });

  it("has boxes that fit and do not overlap, on any screen", () => {
    for (const [width, height] of [
      [1280, 660],
      [390, 640],
      [844, 300],
    ] as const) {
      for (const large of [0, 1, 2, 3]) {
        const { main, rest } = areas(width, height, 8, large > 0);
        const count = room(rest);
        const all = [...(main === null ? [] : largeBoxes(large, main, 8)), ...boxes(count, rest, 8)];
        all.forEach((box, i) => {
          expect(box.x).toBeGreaterThanOrEqual(0);
          expect(box.y).toBeGreaterThanOrEqual(0);
          expect(box.x + box.width).toBeLessThanOrEqual(width);
          expect(box.y + box.height).toBeLessThanOrEqual(height);
          for (const other of all.slice(i + 1)) {
            const apart =
              box.x + box.width <= other.x ||
              other.x + other.width <= box.x ||
              box.y + box.height <= other.y ||
              other.y + other.height <= box.y;
            expect(apart).toBe(true);
          }
        });
      }
    }
  });
});

describe("quality", () => {
  it("of a picture is judged by its tile", () => {
    expect(pictureState(track(1, { layer: 2 }), 900)).toBe("good");
    expect(pictureState(track(1, { layer: 0 }), 200)).toBe("good");
    expect(pictureState(track(1, { layer: 0 }), 600)).toBe("reduced");
    expect(pictureState(track(1, { paused: true }), 100)).toBe("paused");
    expect(pictureState(track(1), 900)).toBe("good");
  });

  it("of the connection is judged by what it carries", () => {
    const snapshot = (down: number | null, loss: number | null, paused = false): Snapshot =>
      ({
        phase: "joined",
        links: { signal: "up", media: "up", media_refused: null },
        estimates: { down_bps: down, up_bps: null, up_loss: loss },
        participants: [person("a", [track(1, { paused })])],
      }) as unknown as Snapshot;
    expect(connectionState(snapshot(null, null))).toBe("good");
    expect(connectionState(snapshot(5e6, 10))).toBe("good");
    expect(connectionState(snapshot(400_000, 10))).toBe("slow");
    expect(connectionState(snapshot(5e6, 10, true))).toBe("slow");
    expect(connectionState(snapshot(5e6, 50))).toBe("slow");
    expect(connectionState(snapshot(100_000, 10))).toBe("poor");
    expect(connectionState({ ...snapshot(5e6, 0), links: { signal: "up", media: "down", media_refused: null } })).toBe(
      "none",
    );
  });

  it("is said in figures that can be read", () => {
    expect([4_230_000, 999_600, 870_400, 96_000].map(rateText)).toEqual([
      "4.2 Mbit/s",
      "1.0 Mbit/s",
      "870 kbit/s",
      "100 kbit/s",
    ]);
  });

  it("is said once it lasts, and taken back at once", () => {
    const steady = new Steady("good", 1000);
    expect(steady.at(0, "paused")).toBe("good");
    expect(steady.at(500, "good")).toBe("good");
    expect(steady.at(600, "paused")).toBe("good");
    expect(steady.deadline()).toBe(1600);
    expect(steady.at(1600, "paused")).toBe("paused");
    expect(steady.deadline()).toBeNull();
    expect(steady.at(1700, "good")).toBe("good");
  });
});

describe("diagnostics", () => {
  const counts = { frames: 0, keyFrames: 0, bytes: 0, decoded: 0, drawn: 0, skipped: 0, decoderErrors: 0 };
  const video = { layer: 1, switches: 0, freezes: 0, frozenMs: 0, longestGapMs: 0, decoding: true };
  const shape = { kind: "video", fps: 30, width: 640, height: 360, avSkewMs: null, playout: null } as const;

  it("name each picture that comes or waits", () => {
    const people = [person("a", [track(1)]), person("b", [track(2, { paused: true })]), person("c", [track(3)])];
    const stats = { received: [{ track: 1, ...counts, ...shape, video }] } as unknown as WorkerStats;
    const rows = receivedRows({ participants: people } as unknown as Snapshot, { at: 0, stats });
    expect(rows.map(({ what, size, rate, layer }) => [what, size, rate, layer])).toEqual([
      ["A, camera", "640 × 360", "30 / s", "2 of 3"],
      ["B, camera", "", "", "paused"],
    ]);
  });

  it("tell the rate of each layer since the look before", () => {
    const layer = { layer: 0, on: true, bitrate: 1, encoded: 0, keyFrames: 0, dropped: 0, topTemporal: 2, encodeMs: 1 };
    const look = (at: number, bytes: number) => {
      const layers = [{ ...layer, bytes, width: 320, height: 180 }];
      return { at, stats: { sent: [{ handle: 1, screen: true, layers }] } as unknown as WorkerStats };
    };
    expect(sentRows(look(0, 0), look(2000, 37_500))).toMatchObject([{ what: "Screen", rate: "150 kbit/s" }]);
    expect(sentRows(null, look(2000, 37_500))).toMatchObject([{ rate: "" }]);
  });

  it("tell how much sound was bridged over", () => {
    const look = (at: number, concealedMs: number) => ({
      at,
      stats: { received: [{ track: 1, playout: { concealedMs } }] } as unknown as WorkerStats,
    });
    expect(bridged(look(0, 0), look(2000, 20))).toBe(10);
    expect(bridged(null, look(2000, 20))).toBeNull();
  });
});
