/** What the sightings of a marked picture say. */
import { MARK } from "./media.ts";
import type { Sighting } from "./probe.ts";

export interface Judgement {
  /** Pictures that followed an earlier one. */
  steps: number;
  /** Pictures that were older than the one before. */
  backwards: number;
  /** From leaving the camera to being seen, ms, of each picture found in both. */
  latencies: number[];
}

export function judge(seen: Sighting[], sent: Sighting[] = []): Judgement {
  let steps = 0;
  let backwards = 0;
  for (let i = 1; i < seen.length; i++) {
    const step = (seen[i]!.mark - seen[i - 1]!.mark + MARK.frames) % MARK.frames;
    if (step > MARK.frames / 2) backwards++;
    else steps++;
  }
  const latencies = seen.flatMap(({ mark, at }) => {
    const from = sent.filter((one) => one.mark === mark && one.at <= at).at(-1);
    return from === undefined || at - from.at > 3000 ? [] : [at - from.at];
  });
  return { steps, backwards, latencies };
}
