/**
 * A person at a browser among the native participants of `make chaos`, with camera and microphone. Goes into the
 * meeting of `--link`, and then answers each line with one: `reset` counts from now on, `report` tells what was seen
 * since. The end of the lines is its leave. `--map FROM=TO` (host and port each) may be given several times: a way through a relay.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Person } from "../lib/browser.ts";
import { smallCamera } from "../lib/media.ts";

/** The lightest codec: the machine has everything else to do, too. */
const LIGHT = { codec: "avc1.42e01f" };

interface Flow {
  decoded: number;
  at: number;
  longest: number;
}

/** How somebody stands on the roster. */
type Standing = "here" | "away" | "gone";

interface Onlooker {
  reset(): void;
  report(): object;
}

/** Runs inside the page: looks again and again whether pictures of everybody were decoded. */
function install(): void {
  const LOOK_MS = 20;
  /** When it last looked, and the longest time between two looks. */
  let looked = performance.now();
  let latest = 0;
  /** The least that was believed of the way up, bit/s. */
  let leastUp = Infinity;
  const flows = new Map<string, Flow>();
  /** How each has stood, one entry for each change. */
  const standings = new Map<string, Standing[]>();

  function stands(id: string, now: Standing): void {
    const was = standings.get(id) ?? [];
    if (was.at(-1) !== now) standings.set(id, [...was, now]);
  }

  async function look(): Promise<void> {
    const { received } = await globalThis.darktower.stats();
    const now = performance.now();
    const { estimates, participants } = globalThis.darktower.snapshot;
    leastUp = Math.min(leastUp, estimates.up_bps ?? Infinity);
    for (const id of standings.keys()) {
      if (participants.some((one) => one.id === id)) continue;
      stands(id, "gone");
      flows.delete(id);
    }
    for (const { id, me, away, tracks } of participants) {
      stands(id, away ? "away" : "here");
      const ids = tracks.map((track) => track.id);
      const seen = received.filter(({ kind, track }) => kind === "video" && ids.includes(track));
      const decoded = seen.reduce((sum, one) => sum + one.decoded, 0);
      const flow = flows.get(id);
      if (me || (flow === undefined && decoded === 0)) continue;
      if (flow?.decoded === decoded) continue;
      // By the last look nothing had come: what it did not look at since is no gap.
      const longest = flow === undefined ? 0 : Math.max(flow.longest, looked - flow.at);
      flows.set(id, { decoded, at: now, longest });
    }
    latest = Math.max(latest, now - looked);
    looked = now;
  }

  async function watch(): Promise<never> {
    for (;;) {
      await look();
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  const watching: Onlooker = {
    reset: () => {
      for (const flow of flows.values()) flow.longest = 0;
      latest = 0;
      leastUp = Infinity;
    },
    report: () => {
      const now = performance.now();
      const { phase, participants, links } = globalThis.darktower.snapshot;
      const gaps = [...flows].map(([id, flow]) => ({
        id,
        longest_ms: Math.max(flow.longest, now - flow.at),
        lasting_ms: now - flow.at,
      }));
      return {
        phase,
        me: participants.find(({ me }) => me)?.id ?? null,
        gaps,
        standings: Object.fromEntries(standings),
        has_media: links.media === "up",
        media_refused: links.media_refused,
        late_ms: latest,
        least_up_bps: Number.isFinite(leastUp) ? leastUp : null,
      };
    },
  };
  (globalThis as unknown as { onlooker: Onlooker }).onlooker = watching;
  void watch();
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function ask(person: Person, what: keyof Onlooker): Promise<object> {
  const answer = await person.page.evaluate((it) => {
    const { onlooker } = globalThis as unknown as { onlooker: Onlooker };
    return onlooker[it]() ?? {};
  }, what);
  return answer;
}

const { values } = parseArgs({
  options: { link: { type: "string" }, map: { type: "string", multiple: true, default: [] } },
});
if (values.link === undefined) throw new Error("--link is missing");
const rules = values.map.map((map) => `MAP ${map.replace("=", " ")}`).join(",");
// As little to draw and to encode as may be: it shares the machine with everything else.
const person = await Person.arrive({
  camera: smallCamera(110),
  viewport: { width: 480, height: 400 },
  switches: rules === "" ? [] : [`--host-resolver-rules=${rules}`],
});
try {
  await person.goIn(values.link, "Browser", LIGHT);
  await person.page.evaluate(install);
  say(await ask(person, "report"));
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== "reset" && line !== "report") throw new Error(`unknown order ${line}`);
    say(await ask(person, line));
  }
  for (const error of person.errors) console.error(error);
} finally {
  await person.leaveMachine();
}
