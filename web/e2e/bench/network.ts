/**
 * Rows N1, N2 and N7 of bad networks with real browsers; `tests/network` has the same rows for native participants.
 * In N1 and N2 the browser that looks is behind the link, in N7 the one that sends. N0 is N1 on a link without a limit:
 * what does not hold there either is not the network's doing. Prints a table and, at the end, each row as a JSON line;
 * exits with 1 if a row does not hold. What happened is written as text. `npm run bench-network -w e2e -- --row N2 --codec avc1.42e01f`
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Bot, type BotTrack } from "../lib/bot.ts";
import { makeMeeting, Person } from "../lib/browser.ts";
import { repository } from "../lib/built.ts";
import { type Conditions, freeUdp, Relay } from "../lib/relay.ts";
import { Server } from "../lib/server.ts";
import { concealed, falls, holds, latest, type Look, rate, reaches, sheds, type Span } from "./looks.ts";
import { told, watch, watched } from "./looks.ts";

/** The highest of a camera's layers. */
const TOP = 2;
/** The rate of a link changes after so long, and changes back after as long again. */
const STRETCH_MS = 10_000;
/** Who sends is there for so long before anybody looks. */
const SETTLE_MS = 3_000;
const WITHIN_MS = 20_000;
/** Wide and high enough for a tile, below another, that only the largest layer fills. */
const TALL = { width: 900, height: 1200 };
const SMALL = { width: 480, height: 400 };

type Figures = Record<string, number | null>;

interface Row {
  name: string;
  link: string;
  /** No figure may be greater, and each must have come about. */
  most: Figures;
  play: (name: string) => Promise<Figures>;
}

/** A link of this round-trip time (ms) and rate (kbit/s; 0: no limit), with a queue of 200 ms. */
function link(rtt_ms: number, rate_kbps: number): Conditions {
  return { delay_ms: rtt_ms / 2, rate_bps: rate_kbps * 1000, queue_ms: 200 };
}

/** The program, and two ways to its media handler: that of the row, and a good one. */
class Site {
  readonly server: Server;
  readonly row: Relay;
  readonly good: Relay;
  readonly #media: string;

  private constructor(server: Server, media: string, row: Relay, good: Relay) {
    this.server = server;
    this.#media = media;
    this.row = row;
    this.good = good;
  }

  static async start(): Promise<Site> {
    const media = await freeUdp();
    const server = await Server.start({ DARKTOWER_MEDIA__LISTEN: media });
    const [row, good] = [await Relay.start(media), await Relay.start(media)];
    await good.set(link(20, 20_000));
    return new Site(server, media, row, good);
  }

  /** What makes a browser take a way. */
  by(relay: Relay): string[] {
    return [`--host-resolver-rules=MAP ${this.#media} ${relay.address}`];
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await Promise.all([this.row.stop(), this.good.stop()]);
  }
}

const { values } = parseArgs({
  options: {
    row: { type: "string", multiple: true, default: [] },
    codec: { type: "string", default: "vp8" },
    out: { type: "string", default: join(repository(), "target/bench-network") },
  },
});
const unknown = values.row.filter((name) => !["N0", "N1", "N2", "N7"].includes(name));
if (unknown.length > 0) throw new Error(`there is no row ${unknown.join(", ")}`);
mkdirSync(values.out, { recursive: true });
const site = await Site.start();

/** Somebody with a camera of three layers and a microphone, on their way to the media handler. */
async function sender(relay: Relay): Promise<Person> {
  const person = await Person.arrive({ camera: "large", viewport: SMALL, switches: site.by(relay) });
  await watch(person);
  return person;
}

/** Sends into a new meeting; its link. */
async function begin(sender: Person): Promise<string> {
  const link = await makeMeeting(sender, site.server.url);
  await sender.goIn(link, "Sender", { codec: values.codec });
  await sleep(SETTLE_MS);
  return link;
}

/** Keeps what the pages told; times are since `from`. */
function keep(row: string, from: number, people: Record<string, Look[]>): void {
  for (const [name, looks] of Object.entries(people)) {
    writeFileSync(join(values.out, `${row}-browser-${name}.txt`), told(looks, from));
  }
}

/** What the machine itself had trouble with. */
function machine(seen: readonly Look[], sent: readonly Look[], span: Span): Figures {
  return {
    looks_late_ms: latest(seen, span),
    sender_late_ms: latest(sent, span),
    sender_shed: Math.max(...sent.map(({ shed }) => shed)),
  };
}

/** Somebody looks at somebody else; `changes` are the rates (kbit/s) of the link after each stretch. */
async function look(row: string, rtt_ms: number, rate_kbps: number, changes: number[]): Promise<Figures> {
  await site.row.set(link(rtt_ms, rate_kbps));
  const sending = await sender(site.good);
  const looking = await Person.arrive({ viewport: TALL, switches: site.by(site.row) });
  try {
    await watch(looking);
    await looking.goIn(await begin(sending), "Looker", { devices: "off" });
    await sleep(STRETCH_MS);
    const changed: number[] = [];
    for (const kbps of changes) {
      changed.push(Date.now());
      await site.row.set(link(rtt_ms, kbps));
      await sleep(STRETCH_MS);
    }
    const [narrow, wide] = changed;
    const { looks, mediaReady } = await watched(looking);
    const last = looks.at(-1)!;
    const end = last.at;
    const sent = (await watched(sending)).looks;
    keep(row, narrow ?? mediaReady, { looker: looks, sender: sent });
    const top = reaches(looks, TOP, mediaReady);
    const best = { from: mediaReady + (top ?? 0), to: narrow ?? end };
    return {
      ...(narrow === undefined ? { top_ms: top } : { down_ms: falls(looks, TOP, narrow) }),
      freezes: last.freezes,
      frozen_ms: last.frozenMs,
      longest_gap_ms: last.longestGapMs,
      concealed_percent: concealed(looks, { from: mediaReady + 1000, to: end - 1000 }),
      ...(wide === undefined ? {} : { back_ms: holds(looks, TOP, { from: wide, to: end }), top_before_ms: top }),
      fps_at_top: rate(looks, best, ({ decoded }) => decoded),
      kbps_at_top: rate(looks, best, ({ bytes }) => bytes) / 125,
      sender_fps: rate(sent, best, ({ encoded }) => encoded),
      ...machine(looks, sent, { from: mediaReady, to: end }),
    };
  } finally {
    for (const error of [...sending.errors, ...looking.errors]) console.error(error);
    await Promise.all([sending.leaveMachine(), looking.leaveMachine()]);
  }
}

/** What a bot counts of a kind, each second. */
function counts(bot: Bot, kind: BotTrack["kind"]): { at: number; track: BotTrack }[] {
  return bot.said.flatMap((said, index) => {
    const tracks = said.event === "counters" ? (said["tracks"] as BotTrack[]) : [];
    const track = tracks.find((one) => one.kind === kind);
    return track === undefined ? [] : [{ at: bot.heardAt[index]!, track }];
  });
}

/** The longest time in which nothing came of a kind, as counted in the span. */
function longest(bot: Bot, kind: BotTrack["kind"], { from, to }: Span): number {
  const counted = counts(bot, kind).filter(({ at }) => at >= from && at < to);
  return Math.max(...counted.map(({ track }) => track.longest_gap_ms));
}

/** Somebody sends, whose way up becomes narrow; a native participant on a good link looks. */
async function send(row: string, rtt_ms: number, wide_kbps: number, narrow_kbps: number): Promise<Figures> {
  await site.row.set(link(rtt_ms, wide_kbps));
  const sending = await sender(site.row);
  let bot: Bot | undefined;
  try {
    const meeting = await begin(sending);
    bot = Bot.start(meeting, "Looker", { "media-via": site.good.address });
    const seen = bot;
    const shown = await seen.until(() => seen.said.find((one) => one["kind"] === "video"), WITHIN_MS);
    seen.tell({ do: "show", views: [{ track: shown["track"], width: 1280, height: 720 }] });
    await sleep(STRETCH_MS);
    const narrow = Date.now();
    await site.row.set({ direction: "up", ...link(rtt_ms, narrow_kbps) });
    await sleep(STRETCH_MS);
    const end = Date.now();
    const { looks } = await watched(sending);
    keep(row, narrow, { sender: looks });
    const [before, after] = [
      { from: narrow - STRETCH_MS / 2, to: narrow },
      { from: narrow, to: end },
    ];
    const pictures = counts(seen, "video").filter(({ at }) => at >= narrow);
    const came = pictures.at(-1)!.track.frames - pictures[0]!.track.frames;
    return {
      sheds_ms: sheds(looks, narrow_kbps * 1000, narrow),
      longest_silence_ms: longest(seen, "audio", after),
      longest_gap_ms: longest(seen, "video", after),
      fps_after: (came * 1000) / (pictures.at(-1)!.at - pictures[0]!.at),
      may_make_before_kbps: looks.findLast(({ at }) => at < narrow)!.mayMake / 1000,
      silence_before_ms: longest(seen, "audio", before),
      gap_before_ms: longest(seen, "video", before),
      sender_fps: rate(looks, before, ({ encoded }) => encoded),
      ...machine(looks, looks, after),
    };
  } finally {
    for (const error of sending.errors) console.error(error);
    await bot?.stop();
    await sending.leaveMachine();
  }
}

const rows: Row[] = [
  { name: "N0", link: "no limit, 40 ms: the machine alone", most: {}, play: (name) => look(name, 40, 0, []) },
  {
    name: "N1",
    link: "5 Mbit/s, 40 ms",
    most: { top_ms: 2000, freezes: 0 },
    play: (name) => look(name, 40, 5_000, []),
  },
  {
    name: "N2",
    link: "5 → 0.6 → 5 Mbit/s, 40 ms",
    most: { down_ms: 1000, frozen_ms: 500, concealed_percent: 1, back_ms: 6000 },
    play: (name) => look(name, 40, 5_000, [600, 5_000]),
  },
  {
    name: "N7",
    link: "uplink 3 Mbit/s → 400 kbit/s, 40 ms",
    most: { sheds_ms: 1000, longest_silence_ms: 200 },
    play: (name) => send(name, 40, 3_000, 400),
  },
];

/** What does not hold, in words. */
function broken({ most }: Row, figures: Figures): string[] {
  return Object.entries(most).flatMap(([name, bound]) => {
    const found = figures[name] ?? null;
    if (found !== null && found <= bound!) return [];
    return [`${name} is ${found?.toFixed(2) ?? "never"}, must be at most ${bound}`];
  });
}

function shown(row: Row, figures: Figures, wrong: string[]): string {
  const all = Object.entries(figures).map(([name, value]) => `${name} ${value?.toFixed(1) ?? "never"}`);
  const verdict = wrong.length === 0 ? "ok" : "NO";
  const head = `${row.name.padEnd(6)} browser ${verdict}  ${row.link.padEnd(45)} ${all.join(", ")}`;
  return [head, ...wrong.map((words) => " ".repeat(19) + words)].join("\n");
}

const lines: string[] = [];
try {
  for (const row of rows) {
    if (values.row.length > 0 && !values.row.includes(row.name)) continue;
    const figures = await row.play(row.name);
    const wrong = broken(row, figures);
    console.log(shown(row, figures, wrong));
    const rounded = Object.entries(figures).map(([name, value]) => [name, value && Math.round(value * 100) / 100]);
    const ok = wrong.length === 0;
    if (!ok) process.exitCode = 1;
    const head = { bench: "network", row: row.name, client: "browser", ok, codec: values.codec };
    lines.push(JSON.stringify({ ...head, ...Object.fromEntries(rounded) }));
  }
} finally {
  await site.stop();
}
for (const line of lines) console.log(line);
