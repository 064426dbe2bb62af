import { describe, expect, it } from "vitest";
import type { Participant } from "@darktower/sdk";
import { comings } from "../src/lib/comings.ts";
import { arrange, capacity } from "../src/lib/layout.ts";
import { problemOf, problems } from "../src/lib/messages.ts";
import { hueOf, initials } from "../src/lib/names.ts";

describe("layout", () => {
  const sizes = [
    [1280, 600],
    [390, 640],
    [1920, 950],
    [844, 300],
  ] as const;

  it("always fits, and wastes no row or column", () => {
    for (const [width, height] of sizes) {
      for (let count = 1; count <= 25; count++) {
        const { columns, rows, width: w, height: h } = arrange(count, width, height, 8);
        expect(columns * rows).toBeGreaterThanOrEqual(count);
        expect((columns - 1) * rows).toBeLessThan(count + rows);
        expect(columns * w + (columns - 1) * 8).toBeLessThanOrEqual(width);
        expect(rows * h + (rows - 1) * 8).toBeLessThanOrEqual(height);
        expect(w).toBeGreaterThan(0);
      }
    }
  });

  it("puts two side by side on a desktop and one above the other on a phone", () => {
    expect(arrange(2, 1280, 600, 12).columns).toBe(2);
    expect(arrange(2, 390, 640, 8).columns).toBe(1);
    expect(arrange(4, 1280, 600, 12).columns).toBe(2);
  });

  it("survives having no space yet", () => {
    expect(arrange(3, 0, 0, 8)).toMatchObject({ width: 0, height: 0 });
    expect(capacity(0, 0)).toBeGreaterThanOrEqual(2);
    expect(capacity(390, 640)).toBeLessThanOrEqual(21);
  });
});

describe("names", () => {
  it("become initials", () => {
    expect(initials("Ada Lovelace")).toBe("AL");
    expect(initials("ada")).toBe("A");
    expect(initials("  Jean-Luc  van  Damme ")).toBe("JD");
    expect(initials("")).toBe("?");
    expect(initials("🦊 Fox")).toBe("🦊F");
  });

  it("get the same colour every time", () => {
    expect(hueOf("a1b2", 6)).toBe(hueOf("a1b2", 6));
    expect(hueOf("a1b2", 6)).toBeLessThan(6);
  });
});

describe("comings and goings", () => {
  const one = (id: string, change: Partial<Participant> = {}): Participant => ({
    id,
    name: id.toUpperCase(),
    role: "guest",
    me: false,
    away: false,
    tracks: [],
    ...change,
  });
  const screen = {
    id: 1,
    source: "screen",
    kind: "video",
    codec: "vp8",
    label: "",
    muted: false,
    width: 1,
    height: 1,
    layers: 1,
    replaces: 0,
    layer: null,
    temporal: null,
    paused: false,
  } as const;

  it("are said once, and never of oneself", () => {
    expect(comings([one("a", { me: true })], [one("a", { me: true }), one("b")])).toEqual(["B joined"]);
    expect(comings([one("a"), one("b")], [one("a")])).toEqual(["B left"]);
    expect(comings([one("a")], [one("a", { away: true })])).toEqual([]);
    expect(comings([one("a")], [one("a", { tracks: [screen] })])).toEqual(["A shares a screen"]);
  });
});

describe("problems", () => {
  it("have words for every code a person can meet", () => {
    const codes = [
      "meeting_unknown",
      "meeting_ended",
      "meeting_full",
      "code_malformed",
      "removed",
      "browser_too_old",
      "connection_lost",
      "seat_taken",
      "seat_expired",
      "link_secret_needed",
    ];
    for (const code of codes) expect(problems[code]?.title, code).toBeTruthy();
  });

  it("fall back to general words that offer a way on", () => {
    expect(problemOf("never_heard_of", true)).toMatchObject({ again: "retry" });
    expect(problemOf("never_heard_of", false)).toMatchObject({ again: "rejoin" });
  });
});
