/** What a person's browser receives and sends, track by track: the figures that conditions of networks are judged by. */
import { expect } from "@playwright/test";
import type { WorkerStats } from "@darktower/sdk";
import type { Person } from "./browser.ts";

/** One remote track. Counts are since the track came; see {@link since} for those of an interval. */
export interface Received {
  track: number;
  /** Name of its owner. */
  owner: string;
  source: string;
  kind: "audio" | "video";
  /** Of video: pictures drawn in the last second, and in all. */
  fps: number;
  decoded: number;
  width: number;
  height: number;
  /** The layer decoded last; how often it changed. */
  layer: number | null;
  switches: number;
  /** Gaps of more than 200 ms between decoded pictures while the track was shown. */
  freezes: number;
  frozenMs: number;
  longestGapMs: number;
  decoding: boolean;
  /** The handler says that the path does not carry it. */
  paused: boolean;
  /** Of sound: what was bridged over, and how often there was nothing to play. */
  concealedMs: number;
  underruns: number;
}

export interface Report {
  /** Wall time in ms. */
  at: number;
  received: Received[];
  sent: WorkerStats["sent"];
  downBps: number | null;
  upBps: number | null;
  counters: Record<string, number>;
}

/** All of it, now. */
export async function report(person: Person): Promise<Report> {
  return await person.page.evaluate(async () => {
    const meeting = globalThis.darktower;
    const stats = await meeting.stats();
    const { participants, estimates } = meeting.snapshot;
    const received = participants.flatMap((participant) =>
      participant.tracks.flatMap((track) => {
        const counted = stats.received.find((one) => one.track === track.id);
        if (counted === undefined || participant.me) return [];
        const { video, playout } = counted;
        return [
          {
            track: track.id,
            owner: participant.name,
            source: track.source,
            kind: counted.kind,
            fps: counted.fps,
            decoded: counted.decoded,
            width: counted.width,
            height: counted.height,
            layer: video?.layer ?? null,
            switches: video?.switches ?? 0,
            freezes: video?.freezes ?? 0,
            frozenMs: video?.frozenMs ?? 0,
            longestGapMs: video?.longestGapMs ?? 0,
            decoding: video?.decoding ?? false,
            paused: track.paused,
            concealedMs: playout?.concealedMs ?? 0,
            underruns: playout?.underruns ?? 0,
          },
        ];
      }),
    );
    return {
      at: performance.timeOrigin + performance.now(),
      received,
      sent: stats.sent,
      downBps: estimates.down_bps,
      upBps: estimates.up_bps,
      counters: stats.counters,
    };
  });
}

/** Somebody's track in a report. */
export function of(report: Report, owner: string, source: string): Received | undefined {
  return report.received.find((one) => one.owner === owner && one.source === source);
}

/** What happened to a track between two reports. */
export function since(
  before: Received,
  now: Received,
): Pick<Received, "decoded" | "switches" | "freezes" | "frozenMs" | "concealedMs" | "underruns"> {
  const difference = (of: (one: Received) => number): number => of(now) - of(before);
  return {
    decoded: difference((one) => one.decoded),
    switches: difference((one) => one.switches),
    freezes: difference((one) => one.freezes),
    frozenMs: difference((one) => one.frozenMs),
    concealedMs: difference((one) => one.concealedMs),
    underruns: difference((one) => one.underruns),
  };
}

/** Looks again and again until `found` says so; how long that took, in ms. */
export async function until(person: Person, within: number, found: (report: Report) => boolean): Promise<number> {
  const from = performance.now();
  const look = async (): Promise<void> => {
    const last = await report(person);
    if (!found(last)) throw new Error(`not within ${within} ms: ${JSON.stringify(last, null, 1)}`);
  };
  await expect(look).toPass({ timeout: within, intervals: [50] });
  return performance.now() - from;
}

/** As if the person looked at another tab: the page is told, and nothing else changes. */
export async function look(person: Person, visible: boolean): Promise<void> {
  await person.page.evaluate(
    (state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    },
    visible ? "visible" : "hidden",
  );
}
