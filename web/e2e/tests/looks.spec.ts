/** What the bench of bad networks concludes from what pages tell: rules without a browser. */
import { expect, test } from "@playwright/test";
import { concealed, falls, holds, latest, type Look, rate, reaches, sheds } from "../bench/looks.ts";

const NOTHING: Look = {
  at: 0,
  layer: null,
  decoded: 0,
  freezes: 0,
  frozenMs: 0,
  longestGapMs: 0,
  bytes: 0,
  played: 0,
  concealedMs: 0,
  mayMake: 0,
  encoded: 0,
  shed: 0,
  downBps: null,
  upBps: null,
};

/** A look each 100 ms. */
function looks(...each: Partial<Look>[]): Look[] {
  return each.map((look, index) => ({ ...NOTHING, at: 100 * index, ...look }));
}

test("a layer that is reached, left and held are three things", () => {
  const seen = looks({}, { layer: 1 }, { layer: 2 }, { layer: 1 }, { layer: 2 }, { layer: 2 });
  expect(reaches(seen, 2, 50)).toBe(150);
  expect(reaches(seen.slice(0, 2), 2, 0)).toBeNull();
  expect(falls(seen, 2, 250)).toBe(50);
  expect(falls(seen, 2, 150), "it was not there before").toBeNull();
  expect(falls(seen, 2, 450), "it never went").toBeNull();
  expect(holds(seen, 2, { from: 0, to: 600 })).toBe(400);
  expect(holds(seen, 2, { from: 0, to: 400 }), "it ends below").toBeNull();
});

test("a sender has shed when all its layers together may make no more than that", () => {
  const sent = looks({ mayMake: 2_000_000 }, { mayMake: 2_000_000 }, { mayMake: 650_000 }, { mayMake: 400_000 });
  expect(sheds(sent, 400_000, 50)).toBe(250);
  expect(sheds(sent, 100_000, 0)).toBeNull();
});

test("counts are those of the span, and late looks are told", () => {
  const heard = looks({ played: 100 }, { played: 105, concealedMs: 0 }, { played: 110, concealedMs: 100, at: 480 });
  const span = { from: 0, to: 500 };
  expect(concealed(heard, span)).toBeCloseTo((100 * 100) / (10 * 20 + 100));
  expect(rate(heard, span, ({ played }) => played)).toBeCloseTo(20);
  expect(latest(heard, span)).toBe(360);
  expect(latest([], span)).toBe(0);
});
