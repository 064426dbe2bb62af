import { describe, expect, it } from "vitest";
import { invitationLink, newLinkSecret, parseInvitation } from "../src/link.ts";
import { Trace } from "../src/trace.ts";
import { CaptureClock, PacketClock, PresentationClock } from "../src/worker/clock.ts";
import { resample } from "../src/worker/planes.ts";
import { fit } from "../src/worker/size.ts";
import { Speakers } from "../src/worker/speakers.ts";

describe("invitation", () => {
  const secret = "AAECAwQFBgcICQoLDA0ODw";

  it("is read from a code, however it is typed", () => {
    for (const text of ["abc-defg-hij", "ABC-DEFG-HIJ", " abcdefghij ", "abc defg hij", "abc–defg–hij"]) {
      expect(parseInvitation(text)).toEqual({ code: "abc-defg-hij", secret: null });
    }
  });

  it("is read from a link with and without the secret", () => {
    const link = invitationLink("https://meet.example", { code: "abc-defg-hij", secret });
    expect(link).toBe(`https://meet.example/m/abc-defg-hij#k=${secret}`);
    expect(parseInvitation(link)).toEqual({ code: "abc-defg-hij", secret });
    expect(parseInvitation(`/m/abc-defg-hij?join=1#k=${secret}`)).toEqual({ code: "abc-defg-hij", secret });
    expect(parseInvitation("https://meet.example/m/abc-defg-hij")).toEqual({ code: "abc-defg-hij", secret: null });
  });

  it("is refused where it is neither", () => {
    for (const text of ["", "hello", "abc-defg-hi", "abc-defg-hij-k", "https://meet.example/", "/m/12345"]) {
      expect(parseInvitation(text)).toBeNull();
    }
  });

  it("ignores a secret that is cut short", () => {
    expect(parseInvitation("/m/abc-defg-hij#k=AAEC")).toEqual({ code: "abc-defg-hij", secret: null });
  });

  it("has a secret of 16 bytes that differs each time", () => {
    const secrets = new Set(Array.from({ length: 50 }, newLinkSecret));
    expect(secrets.size).toBe(50);
    for (const one of secrets) expect(one).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });
});

describe("trace", () => {
  it("keeps its id and changes its span", () => {
    const trace = new Trace();
    const [a, b] = [trace.traceparent(), trace.traceparent()];
    expect(a).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(a.slice(0, 35)).toBe(b.slice(0, 35));
    expect(a).not.toBe(b);
  });
});

describe("capture clock", () => {
  it("takes arrival jitter out", () => {
    const clock = new CaptureClock();
    const captured = Array.from({ length: 100 }, (_, n) =>
      clock.capture(5_000_000 + n * 33_333 + ((n * 37) % 11) * 1000, n * 33_333),
    );
    const steps = captured.slice(50).map((at, i) => at - captured[49 + i]!);
    for (const step of steps) expect(Math.abs(step - 33_333)).toBeLessThan(150);
  });

  it("forgets what a source stamped wrongly", () => {
    const clock = new CaptureClock();
    let captured = 0;
    for (let n = 0; n < 400; n++) {
      const wrong = n < 30 ? 650_000 : 0;
      captured = clock.capture(5_000_000 + n * 10_000, n * 10_000 + wrong);
    }
    expect(captured).toBe(5_000_000 + 399 * 10_000);
  });

  it("follows a source that starts again", () => {
    const clock = new CaptureClock();
    clock.capture(1_000_000, 900_000);
    for (let at = 4_000_000; at < 9_000_000; at += 33_000) clock.capture(at, at - 4_000_000);
    expect(clock.capture(9_000_000, 5_000_000)).toBe(9_000_000);
  });
});

describe("packet clock", () => {
  it("counts through jitter, follows drift, and believes a lasting jump", () => {
    const clock = new PacketClock(20_000);
    const stamps = Array.from({ length: 100 }, (_, n) => clock.next(n * 20_000 + ((n * 37) % 11) * 3_000));
    for (let n = 1; n < 100; n++) expect(Math.abs(stamps[n]! - stamps[n - 1]! - 20_000)).toBeLessThanOrEqual(40);
    let last = 0;
    for (let n = 100; n < 115; n++) last = clock.next(n * 20_000 + 500_000);
    expect(last).toBeCloseTo(114 * 20_000 + 500_000, -3);
  });
});

describe("presentation clock", () => {
  it("draws at once on an even path without sound", () => {
    const clock = new PresentationClock();
    for (let n = 0; n < 30; n++) expect(clock.due(1000 + n * 33, n * 33_000)).toBeLessThan(1000 + n * 33 + 2);
  });

  it("waits for the sound of the same moment, but never long", () => {
    const clock = new PresentationClock();
    clock.sound(1000, 500_000, 1000);
    expect(clock.due(1000, 600_000)).toBeCloseTo(1100);
    expect(clock.due(1000, 5_000_000)).toBeLessThanOrEqual(1300);
    expect(clock.skew(1100, 600_000)).toBeCloseTo(0);
    expect(clock.skew(9000, 600_000)).toBeNull();
  });
});

describe("picture and sound", () => {
  it("stay within 45 ms of one another while the sound catches up or slows down", () => {
    for (const speed of [0.85, 1.15]) {
      const clock = new PresentationClock();
      let worst = 0;
      for (let now = 0; now < 2000; now += 10) {
        const playingUs = 1e6 + now * 1000 * speed;
        // Reports come unevenly, as messages between threads do.
        const behind = (now % 300) / 20;
        if (now % 100 === 0) clock.sound(now, playingUs - behind * 1000 * speed, now);
        worst = Math.max(worst, Math.abs(clock.skew(now, playingUs) ?? 1000));
      }
      expect(worst).toBeLessThan(45);
    }
  });
});

describe("resampling", () => {
  it("keeps a slope a slope, at 48 kHz", () => {
    const slope = resample(
      Float32Array.from({ length: 441 }, (_, i) => i),
      44_100,
    );
    expect(slope.length).toBe(480);
    expect(slope[240]).toBeCloseTo(220.5, 3);
  });
});

describe("size", () => {
  it("keeps the shape, never enlarges, is even, and turns with the picture", () => {
    expect(fit(1280, 720, 640, 360)).toEqual({ width: 640, height: 360 });
    expect(fit(640, 480, 640, 360)).toEqual({ width: 480, height: 360 });
    expect(fit(320, 180, 640, 360)).toEqual({ width: 320, height: 180 });
    expect(fit(720, 1280, 640, 360)).toEqual({ width: 360, height: 640 });
    expect(fit(1365, 767, 1280, 720).width % 2).toBe(0);
  });
});

describe("speakers", () => {
  it("names who is voiced, for a moment after the last word", () => {
    const speakers = new Speakers();
    speakers.heard(0, "b", true);
    expect(speakers.speaking(0)).toEqual([]);
    speakers.heard(20, "b", true);
    speakers.heard(20, "a", false);
    speakers.heard(40, "a", true);
    expect(speakers.speaking(50)).toEqual(["b"]);
    expect(speakers.speaking(500)).toEqual([]);
  });
});
