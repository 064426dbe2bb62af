import { describe, expect, it } from "vitest";
import { JitterBuffer } from "../src/audio/jitter.ts";
import { Mixer } from "../src/audio/mixer.ts";

const RATE = 48_000;
const PACKET = 960;

/** A steady tone that goes on over packets. */
function tone(packet: number): Float32Array {
  return Float32Array.from(
    { length: PACKET },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * 440 * (packet * PACKET + i)) / RATE),
  );
}

/** Runs playout for `seconds`, handing packets over at `arrival(n)` seconds (null: lost). */
function play(
  seconds: number,
  arrival: (packet: number) => number | null,
): { out: Float32Array; buffer: JitterBuffer } {
  const buffer = new JitterBuffer(RATE);
  const packets: { at: number; n: number }[] = [];
  for (let n = 0; n * 0.02 < seconds; n++) {
    const at = arrival(n);
    if (at !== null) packets.push({ at, n });
  }
  packets.sort((a, b) => a.at - b.at);
  const out = new Float32Array(Math.floor((seconds * RATE) / 128) * 128);
  for (let at = 0; at < out.length; at += 128) {
    while (packets.length > 0 && packets[0]!.at <= at / RATE) {
      const { n } = packets.shift()!;
      buffer.push(at / RATE, n * 20_000, tone(n));
    }
    buffer.pull(out.subarray(at, at + 128));
  }
  return { out, buffer };
}

function loudness(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

describe("jitter buffer", () => {
  it("plays a steady flow without a gap, soon", () => {
    const { out, buffer } = play(3, (n) => n * 0.02);
    expect(buffer.report()).toMatchObject({ underruns: 0, concealedMs: 0, late: 0, targetMs: 40 });
    expect(loudness(out.subarray(RATE / 4))).toBeCloseTo(0.5 / Math.SQRT2, 2);
  });

  it("waits longer when packets come unevenly, within its bounds", () => {
    const { buffer } = play(6, (n) => n * 0.02 + ((n * 7919) % 13) * 0.005);
    const report = buffer.report();
    expect(report.targetMs).toBeGreaterThan(60);
    expect(report.targetMs).toBeLessThanOrEqual(150);
    expect(report.underruns).toBeLessThanOrEqual(3);
  });

  it("conceals a lost packet with silence that neither clicks nor shifts the clock", () => {
    const { out, buffer } = play(2, (n) => (n === 50 ? null : n * 0.02));
    expect(buffer.report().concealedMs).toBeCloseTo(20, 0);
    let steepest = 0;
    for (let i = RATE / 2; i < out.length; i++) steepest = Math.max(steepest, Math.abs(out[i]! - out[i - 1]!));
    expect(steepest).toBeLessThan(0.55);
    expect(buffer.report().underruns).toBe(0);
  });

  it("takes no offence at capture times that wobble", () => {
    const buffer = new JitterBuffer(RATE);
    for (let n = 0; n < 20; n++) buffer.push(n * 0.02, n * 20_000 + ((n * 37) % 7) * 300, tone(n));
    expect(buffer.report()).toMatchObject({ concealedMs: 0, late: 0 });
    expect(buffer.report().bufferedMs).toBeCloseTo(400);
  });

  it("says which capture time is being played", () => {
    const { buffer } = play(2, (n) => n * 0.02);
    const playing = buffer.report().playingUs!;
    expect(playing / 1e6).toBeGreaterThan(1.8);
    expect(playing / 1e6).toBeLessThan(2);
  });

  it("sheds what piled up after a stall", () => {
    const { buffer } = play(12, (n) => (n < 100 ? n * 0.02 : Math.max(n * 0.02, 2.6)));
    expect(buffer.report().bufferedMs).toBeLessThan(220);
  });

  it("skips what came while nothing could be played", () => {
    const buffer = new JitterBuffer(RATE);
    for (let n = 0; n < 60; n++) buffer.push(n * 0.02, n * 20_000, tone(n));
    buffer.pull(new Float32Array(128));
    expect(buffer.report().bufferedMs).toBeLessThan(100);
    expect(buffer.report().playingUs! / 1e6).toBeGreaterThan(1.1);
  });

  it("refuses what comes twice or too late", () => {
    const buffer = new JitterBuffer(RATE);
    buffer.push(0, 0, tone(0));
    buffer.push(0, 20_000, tone(1));
    buffer.push(0.01, 0, tone(0));
    expect(buffer.report()).toMatchObject({ late: 1 });
    expect(buffer.report().bufferedMs).toBeCloseTo(40);
  });

  it("begins anew when the capture clock jumps", () => {
    const buffer = new JitterBuffer(RATE);
    for (let n = 0; n < 5; n++) buffer.push(n * 0.02, n * 20_000, tone(n));
    buffer.push(0.2, 900e6, tone(0));
    expect(buffer.report().bufferedMs).toBeCloseTo(20);
  });

  it("survives any arrival order (property)", () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
    const { out, buffer } = play(10, (n) => (random() < 0.1 ? null : n * 0.02 + random() * 0.2));
    expect(out.every((sample) => Number.isFinite(sample) && Math.abs(sample) <= 1)).toBe(true);
    expect(buffer.report().bufferedMs).toBeLessThanOrEqual(1500);
  });
});

describe("mixer", () => {
  it("adds participants up and never exceeds full scale", () => {
    const mixer = new Mixer(RATE);
    const loud = new Float32Array(PACKET * 4).fill(0.9);
    for (const track of [1, 2, 3]) mixer.push(0, track, 0, loud);
    const out = new Float32Array(PACKET * 3);
    mixer.mix(out);
    expect(Math.max(...out)).toBeLessThanOrEqual(1);
    expect(Math.max(...out)).toBeGreaterThan(0.9);
    mixer.forget(1);
    expect(mixer.reports().map((report) => report.track)).toEqual([2, 3]);
  });
});
