import { readFileSync } from "node:fs";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Sound } from "../src/audio/sound.ts";

const RATE = 48_000;
const PACKET = 960;
let module: WebAssembly.Module;
let sound: Sound;

// The module that ships: its rules are tested with the crate, here that it is called right.
beforeAll(async () => {
  module = await WebAssembly.compile(readFileSync(new URL("../src/sound.wasm", import.meta.url)));
});

beforeEach(() => {
  sound = new Sound(module);
});

/** A packet of a steady tone that goes on over packets. */
function tone(packet: number, hz = 440): Float32Array {
  return Float32Array.from(
    { length: PACKET },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * (packet * PACKET + i)) / RATE),
  );
}

/** Plays `seconds` of a tone on track 7, without the packets that are `lost`. */
function play(seconds: number, lost: (packet: number) => boolean): Float32Array {
  const out = new Float32Array(Math.floor((seconds * RATE) / 128) * 128);
  let next = 0;
  for (let at = 0; at < out.length; at += 128) {
    const now = 5 + at / RATE;
    for (; next * 0.02 <= at / RATE; next++) {
      const packet = { track: 7, number: next, captureUs: next * 20_000, rest: false, channels: 1 as const };
      if (!lost(next)) sound.push(now, { ...packet, samples: tone(next) });
    }
    sound.mix(now, out.subarray(at, at + 128), undefined);
  }
  return out;
}

function loudness(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

describe("playout", () => {
  it("plays a steady flow without a gap, soon, and says so", () => {
    const out = play(3, () => false);
    const [report] = sound.reports(8);
    expect(report).toMatchObject({
      track: 7,
      underruns: 0,
      concealedMs: 0,
      late: 0,
      lost: 0,
      skipped: 0,
      targetMs: 20,
    });
    expect(report!.played).toBeGreaterThan(140);
    expect(report!.delayMs).toBeLessThanOrEqual(40);
    expect(report!.playingUs! / 1e6).toBeCloseTo(3 - report!.delayMs / 1000, 2);
    expect(loudness(out.subarray(RATE / 2))).toBeCloseTo(0.5 / Math.SQRT2, 2);
  });

  it("makes up for what is lost", () => {
    const out = play(3, (packet) => packet % 20 === 10);
    const [report] = sound.reports(8);
    expect(report!.lost).toBe(7);
    expect(report!.concealedMs).toBeCloseTo(140, 0);
    expect(loudness(out.subarray(RATE / 2))).toBeGreaterThan(0.33);
  });

  it("keeps left and right apart, and adds tracks up within full scale", () => {
    for (const track of [1, 2]) {
      for (let number = 0; number < 5; number++) {
        const samples = new Float32Array(2 * PACKET);
        samples.fill(0.9, 0, PACKET);
        sound.push(0, { track, number, captureUs: number * 20_000, rest: false, channels: 2, samples });
      }
    }
    const [left, right] = [new Float32Array(4 * PACKET), new Float32Array(4 * PACKET)];
    sound.mix(0.05, left, right);
    expect(Math.max(...left)).toBeLessThanOrEqual(1);
    expect(Math.max(...left)).toBeGreaterThan(0.9);
    expect(loudness(right)).toBe(0);
    sound.forget(1);
    expect(sound.reports(0.1).map((report) => report.track)).toEqual([2]);
  });
});

describe("ears", () => {
  it("say how loud it is, and rest in silence", () => {
    const ears = sound.ears(true);
    expect(ears.hear(tone(0), false)).toMatchObject({ level: 9, turn: "send" });
    const turns = Array.from({ length: 100 }, () => ears.hear(new Float32Array(PACKET), false));
    expect(turns.at(-1)!.level).toBe(127);
    expect(new Set(turns.map(({ turn }) => turn))).toEqual(new Set(["send", "rest", "pause"]));
    expect(ears.hear(tone(0), false).turn).toBe("send");
    ears.end();
  });

  it("say that somebody is muted, and then nothing", () => {
    const ears = sound.ears(true);
    const turns = Array.from({ length: 10 }, (_, i) => ears.hear(tone(i), true).turn);
    expect(turns).toEqual(["rest", "rest", "rest", ...Array<string>(7).fill("pause")]);
  });
});
