/** Two looks at what was counted, made into what a person reads. Pure. */
import type { Snapshot, WorkerStats } from "@darktower/sdk";
import { rateText } from "./quality.ts";
import { t } from "./messages.ts";

export interface Row {
  key: string;
  what: string;
  size: string;
  rate: string;
  layer: string;
}

/** What was counted, and when (ms). */
export interface Look {
  at: number;
  stats: WorkerStats;
}

/** The remote pictures that are received or wait. */
export function receivedRows(snapshot: Snapshot, { stats }: Look): Row[] {
  return snapshot.participants.flatMap((participant) =>
    participant.tracks.flatMap((track): Row[] => {
      if (participant.me || track.kind !== "video" || track.muted) return [];
      const counted = stats.received.find((one) => one.track === track.id);
      const seen = counted?.video?.decoding === true;
      if (!seen && !track.paused) return [];
      const what = track.source === "screen" ? t.connection.screen : t.connection.camera;
      const layer = counted?.video?.layer ?? track.layer;
      return [
        {
          key: String(track.id),
          what: what(participant.name),
          size: seen && counted.width > 0 ? `${counted.width} × ${counted.height}` : "",
          rate: seen ? t.connection.frames(counted.fps) : "",
          layer: track.paused
            ? t.connection.waits
            : layer === null
              ? ""
              : t.connection.layer(layer + 1, Math.max(track.layers, layer + 1)),
        },
      ];
    }),
  );
}

/** The own pictures' layers, with what each made since the look before. */
export function sentRows(before: Look | null, now: Look): Row[] {
  return now.stats.sent.flatMap((sent) => {
    const what = sent.screen === true ? t.sources.screen : t.sources.camera;
    return (sent.layers ?? []).map((layer): Row => {
      const known = before?.stats.sent.find((one) => one.handle === sent.handle)?.layers?.[layer.layer];
      const seconds = before === null ? 0 : (now.at - before.at) / 1000;
      const bytes = known === undefined ? 0 : layer.bytes - known.bytes;
      return {
        key: `${sent.handle}/${layer.layer}`,
        what,
        size: layer.width > 0 ? `${layer.width} × ${layer.height}` : "",
        rate: layer.on && seconds > 0 ? rateText((bytes * 8) / seconds) : "",
        layer: layer.on ? t.connection.layer(layer.layer + 1, sent.layers!.length) : t.connection.unused,
      };
    });
  });
}

/** The share of the others' sound that had to be bridged over since the look before, in thousandths; null: no sound. */
export function bridged(before: Look | null, now: Look): number | null {
  if (before === null) return null;
  let [gaps, all] = [0, 0];
  for (const { track, playout } of now.stats.received) {
    const known = before.stats.received.find((one) => one.track === track)?.playout;
    if (playout === null || known === undefined || known === null) continue;
    gaps += Math.max(0, playout.concealedMs - known.concealedMs);
    all += now.at - before.at;
  }
  return all === 0 ? null : Math.min(1000, Math.round((gaps / all) * 1000));
}
