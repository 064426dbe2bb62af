import { describe, expect, it } from "vitest";
import { choose, family } from "../src/codecs.ts";
import { Demand, withSuccessors } from "../src/demand.ts";
import { layersOf, screenPace } from "../src/layers.ts";
import type { Participant, Track } from "../src/snapshot.ts";
import { left, Shedding, steps } from "../src/worker/shedding.ts";

function track(id: number, change: Partial<Track> = {}): Track {
  const none = { layer: null, temporal: null, paused: false, replaces: 0 };
  return {
    id,
    source: "camera",
    kind: "video",
    codec: "vp8",
    label: "",
    muted: false,
    width: 1280,
    height: 720,
    layers: 3,
    ...none,
    ...change,
  };
}

function participant(id: string, tracks: Track[], me = false): Participant {
  return { id, name: id, role: "guest", me, away: false, tracks };
}

describe("layers", () => {
  it("are three of a large camera, fewer of a small one, and never larger than the picture", () => {
    const sizes = (width: number, height: number): string[] =>
      layersOf("camera", "vp8", width, height).map((one) => `${one.width}x${one.height}`);
    expect(sizes(1280, 720)).toEqual(["320x180", "640x360", "1280x720"]);
    expect(sizes(1920, 1080)).toEqual(["320x180", "640x360", "1280x720"]);
    expect(sizes(640, 360)).toEqual(["320x180", "640x360"]);
    expect(sizes(640, 480)).toEqual(["240x180", "480x360", "640x480"]);
    expect(sizes(320, 180)).toEqual(["320x180"]);
    expect(sizes(720, 1280)).toEqual(["180x320", "360x640", "720x1280"]);
    // The last step is not worth an encoder.
    expect(sizes(720, 400)).toEqual(["320x178", "640x356"]);
  });

  it("are the whole and the half of a screen", () => {
    const sizes = layersOf("screen", "vp8", 2560, 1440).map((one) => one.height);
    expect(sizes).toEqual([540, 1080]);
    expect(layersOf("screen", "vp8", 800, 600)).toHaveLength(1);
  });

  it("take less with a better codec, and more the larger they are", () => {
    const rates = (codec: string): number[] => layersOf("camera", codec, 1280, 720).map((one) => one.bitrate);
    expect(rates("vp8")).toEqual([150_000, 500_000, 1_700_000]);
    rates("vp09.00.31.08").forEach((rate, i) => expect(rate).toBeLessThan(rates("vp8")[i]!));
  });

  it("of a screen give up motion before sharpness", () => {
    expect([2500, 1600, 1000, 300].map((kbps) => screenPace(kbps * 1000, 2_500_000))).toEqual([1, 1, 2, 4]);
  });
});

describe("codecs", () => {
  const able = { encodes: ["vp09.00.31.08", "vp8", "avc1.42e01f"], decodes: [] };
  const all = (): boolean => true;

  it("are the best that the machine keeps up with", () => {
    expect(choose("camera", able, null, all)).toBe("vp09.00.31.08");
    expect(choose("camera", able, null, (codec) => family(codec) !== "vp09")).toBe("vp8");
    expect(choose("camera", able, null, (codec) => family(codec) === "avc1")).toBe("avc1.42e01f");
    expect(choose("camera", able, ["vp8"], all)).toBe("vp8");
    expect(choose("camera", able, ["av01"], all)).toBe("vp8");
  });
});

describe("shedding", () => {
  /** Pictures at 30 a second until `end` (s), late where told: the changes, each with its second. */
  function run(shedding: Shedding, end: number, late: (second: number) => boolean): [string, number][] {
    const changes: [string, number][] = [];
    for (let i = 0; i < end * 30; i++) {
      const change = shedding.picture((i * 1000) / 30, late(i / 30));
      if (change !== null) changes.push([change, Math.floor(i / 30)]);
    }
    return changes;
  }

  it("begins within about two seconds and leaves hiccups alone", () => {
    expect(run(new Shedding(3), 60, (second) => second % 3 < 0.2)).toEqual([]);
    expect(run(new Shedding(3), 3, () => true)).toEqual([["more", 2]]);
  });

  it("goes back after calm, and waits longer after it was wrong", () => {
    // Too much at first, and again as soon as the level is raised.
    const shedding = new Shedding(3);
    const changes = run(shedding, 100, (second) => second < 2 || shedding.level === 0);
    expect(changes.map(([change]) => change)).toEqual(["more", "less", "more", "less", "more"]);
    const [, up, down, upAgain] = changes.map(([, second]) => second);
    expect(up).toBeGreaterThanOrEqual(17);
    expect(upAgain! - down!).toBeGreaterThanOrEqual(30);
  });

  it("ends somewhere", () => {
    const shedding = new Shedding(steps(3));
    run(shedding, 60, () => true);
    expect(shedding.level).toBe(4);
  });

  it("takes size from cameras and motion from screens first", () => {
    expect([0, 1, 2, 3, 4].map((level) => left(level, 3, false))).toEqual([
      { layers: 3, every: 1 },
      { layers: 2, every: 1 },
      { layers: 1, every: 1 },
      { layers: 1, every: 2 },
      { layers: 1, every: 4 },
    ]);
    expect([0, 1, 2, 3].map((level) => left(level, 2, true))).toEqual([
      { layers: 2, every: 1 },
      { layers: 2, every: 2 },
      { layers: 2, every: 4 },
      { layers: 1, every: 4 },
    ]);
    expect(left(1, 0, false)).toEqual({ layers: 1, every: 2 });
  });
});

describe("demand", () => {
  it("says new tiles and gone ones at once, and nothing twice", () => {
    const demand = new Demand();
    demand.add(1, 10);
    expect(demand.next(0)).toBeNull();
    demand.sized(5, 1, 641, 359);
    expect(demand.next(5)).toEqual([{ track: 10, width: 640, height: 352, pinned: false }]);
    expect(demand.next(6)).toBeNull();
    demand.remove(1);
    expect(demand.next(7)).toEqual([]);
    expect(demand.next(8)).toBeNull();
  });

  it("waits until sizes have settled", () => {
    const demand = new Demand();
    demand.add(1, 10);
    demand.sized(0, 1, 320, 180);
    demand.next(0);
    for (let at = 10; at <= 200; at += 10) {
      demand.sized(at, 1, 320 + at, 180 + at);
      expect(demand.next(at)).toBeNull();
    }
    expect(demand.deadline()).toBe(300);
    expect(demand.next(300)).toEqual([{ track: 10, width: 528, height: 384, pinned: false }]);
    expect(demand.deadline()).toBeNull();
  });

  it("does not hide a picture that moves to another tile", () => {
    const demand = new Demand();
    demand.add(1, 10);
    demand.sized(0, 1, 320, 176);
    demand.next(0);
    demand.remove(1);
    demand.add(2, 10);
    expect(demand.next(1)).toBeNull();
    demand.sized(20, 2, 1280, 720);
    expect(demand.next(20)).toEqual([{ track: 10, width: 1280, height: 720, pinned: false }]);
  });

  it("takes the largest tile of a track, and is pinned where one is", () => {
    const demand = new Demand();
    demand.add(1, 10);
    demand.add(2, 10);
    demand.add(3, 9);
    demand.sized(0, 1, 160, 96);
    demand.sized(0, 2, 640, 352);
    demand.sized(0, 3, 0, 0);
    demand.pin(1, true);
    expect(demand.next(0)).toEqual([{ track: 10, width: 640, height: 352, pinned: true }]);
  });

  it("is nothing while nobody looks, and all of it at once afterwards", () => {
    const demand = new Demand();
    demand.hidden = false;
    expect(demand.next(0)).toBeNull();
    demand.add(1, 10);
    demand.sized(0, 1, 320, 176);
    demand.next(0);
    demand.hidden = true;
    expect(demand.next(1)).toEqual([]);
    demand.add(2, 11);
    demand.hidden = false;
    demand.sized(2, 2, 320, 176);
    expect(demand.next(2)?.map((view) => view.track)).toEqual([10, 11]);
  });

  it("has with each track the one that will take its place", () => {
    const view = { track: 10, width: 320, height: 176, pinned: true };
    const people = [participant("a", [track(10), track(12, { replaces: 10 }), track(13, { replaces: 11 })])];
    expect(withSuccessors([view], people)).toEqual([view, { ...view, track: 12 }]);
    expect(withSuccessors([view, { ...view, track: 12 }], people)).toHaveLength(2);
  });
});
