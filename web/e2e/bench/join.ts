/**
 * How long a join takes in a browser, from the click to the first picture of
 * somebody else. A bot shows a picture in an encrypted meeting; page after page
 * joins it through the relays and leaves. Prints a table, the median join of
 * each row as a tree of spans, and each row as a JSON line at the end.
 * `npm run bench-join -- --n 20 --rtt 0,40,100 --spans FILE`
 *
 * `browser-cold`: the page is opened by the link with `?join=1`; its files are
 * in the browser's cache, a connection to the API is open (it brings the page, with the
 * answer to the lookup in it); the click is the page's first own line. What came before it is
 * in `from_navigation`, since the link was followed. `browser-lobby`: both sessions are
 * open, from the Join button.
 */
import { randomBytes } from "node:crypto";
import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { WorkerStats } from "@darktower/sdk";
import type { Page, Response } from "@playwright/test";
import { Bot } from "../lib/bot.ts";
import { Person } from "../lib/browser.ts";
import { markedClip } from "../lib/media.ts";
import { FIRST_FRAME, HEAD, median, type Row, row, shown, type Stages } from "./rows.ts";
import { Spans, type Step, type TracedJoin } from "./spans.ts";
import { System } from "../lib/system.ts";

const WITHIN_MS = 15_000;

/** The lookup counts as done when the worker has its answer: a cold page has it, and starts the worker. */
const STAGES: [stage: string, mark: keyof WorkerStats["marks"]][] = [
  ["1_lookup", "enter"],
  ["2_signal_up", "signal_ready"],
  ["3_media_up", "media_ready"],
  ["4_joined", "joined"],
  ["5_epoch", "keys_ready"],
  [FIRST_FRAME, "first_frame_decrypted"],
  ["7_decoded", "first_frame_decoded"],
  ["8_drawn", "first_frame_drawn"],
];

async function publisher(server: string): Promise<{ bot: Bot; link: URL }> {
  const made = await fetch(`${server}/api/v1/meetings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ key_in_link: true }),
  });
  if (!made.ok) throw new Error(`no meeting could be made: ${made.status} ${await made.text()}`);
  const { meeting } = (await made.json()) as { meeting: { code: string } };
  const link = new URL(`/m/${meeting.code}#k=${randomBytes(16).toString("base64url")}`, server);
  const bot = Bot.start(link.href, "Publisher", { video: markedClip(200) });
  await bot.joined();
  return { bot, link };
}

/** Into the meeting from nothing but the link. */
async function cold(page: Page, link: URL): Promise<void> {
  const url = new URL(link);
  url.searchParams.set("join", "1");
  url.searchParams.set("name", "Newcomer");
  await page.goto(url.href);
}

/** Into the meeting from its lobby, once everything there is ready. */
async function lobby(page: Page, link: URL): Promise<void> {
  await page.goto(link.href);
  await page.getByLabel("Your name").fill("Newcomer");
  await page.waitForFunction(
    () => {
      const { phase, links } = globalThis.darktower.snapshot;
      const camera = document.querySelector("video");
      return phase === "lobby" && links.signal === "up" && links.media === "up" && (camera?.videoWidth ?? 0) > 0;
    },
    undefined,
    { timeout: WITHIN_MS },
  );
  await page.getByRole("button", { name: "Join", exact: true }).click();
}

function stages(marks: WorkerStats["marks"]): Stages {
  const since = STAGES.map(([stage, mark]) => [stage, (marks[mark] ?? Number.NaN) - marks.click!] as const);
  return Object.fromEntries(since.filter(([, ms]) => ms >= 0));
}

interface Join {
  stages: Stages;
  click: number;
  /** When the link to the page was followed, in ms before the click. */
  navigated: number;
  /** Of what brought the page: it is the same trace. */
  traceparent: string;
}

/** One join and leave, in a page of its own. */
async function once(person: Person, come: typeof cold, link: URL, bot: Bot): Promise<Join> {
  const page = await person.context.newPage();
  let traceparent = "";
  page.on("response", (response: Response) => {
    if (response.request().isNavigationRequest()) traceparent = response.headers()["traceparent"] ?? "";
  });
  try {
    await come(page, link);
    const marks = await person.firstPicture(page);
    const navigated = marks.click! - (await page.evaluate(() => performance.timeOrigin));
    return { stages: stages(marks), click: marks.click!, navigated, traceparent };
  } finally {
    await page
      .getByRole("button", { name: "Leave meeting" })
      .click({ timeout: WITHIN_MS })
      .catch((error: unknown) => console.error(String(error)));
    await bot.until(() => bot.last("epoch")?.["members"] === 1);
    await page.close();
  }
}

/** The join as its tree is drawn from; a stage before the click is no step after it. */
function traced(title: string, { stages, click, traceparent }: Join): TracedJoin {
  const [, trace = ""] = traceparent.split("-");
  const at = (stage: string): number => stages[stage] ?? 0;
  const looked = at("1_lookup");
  const up = at("2_signal_up");
  const all: Step[] = [
    { name: "core", began_ms: 0, ended_ms: looked },
    { name: "signalling link", began_ms: looked, ended_ms: up },
    { name: "media link", began_ms: looked, ended_ms: at("3_media_up") },
    { name: "join", began_ms: up, ended_ms: at("4_joined") },
    { name: "first frame", began_ms: at("4_joined"), ended_ms: at(FIRST_FRAME) },
  ];
  const steps = all.filter(({ ended_ms }) => ended_ms > 0);
  return { title, trace, click_unix_ms: click, total_ms: at(FIRST_FRAME), steps };
}

const { values } = parseArgs({
  options: {
    n: { type: "string", default: "12" },
    rtt: { type: "string", default: "0,20,40,60,100" },
    spans: { type: "string" },
  },
});
// A file that cannot be written is told before minutes of measuring.
if (values.spans !== undefined) appendFileSync(values.spans, "");
const spans = await Spans.start();
const system = await System.start(spans.environment);
const rows: Row[] = [];
const trees: string[] = [];
let person: Person | undefined;
try {
  person = await Person.arrive({ tone: 440 });
  console.log(HEAD);
  for (const rtt of values.rtt.split(",").map(Number)) {
    await system.setRoundTrip(rtt);
    const { bot, link } = await publisher(system.url);
    for (const [client, come] of [["browser-cold", cold] as const, ["browser-lobby", lobby] as const]) {
      const joins: Join[] = [];
      let failed = 0;
      // The first one warms caches and is not counted.
      for (let i = 0; i <= Number(values.n); i++) {
        try {
          const join = await once(person, come, link, bot);
          if (i > 0) joins.push(join);
        } catch (error) {
          console.error(`a join failed: ${String(error)}`);
          failed++;
        }
      }
      const reached = joins.map(({ stages }) => stages);
      // A lobby has a person in it, who takes their time.
      const navigated = client === "browser-cold" ? joins.map((join) => join.navigated) : [];
      const done = row(client, rtt, reached, failed, navigated);
      rows.push(done);
      console.log(shown(done));
      const typical = joins[median(reached)]!;
      trees.push(await spans.tree(traced(`median join, ${client}, ${rtt} ms round trip`, typical)));
    }
    await bot.leave();
  }
} finally {
  await person?.leaveMachine();
  await system.stop();
  await spans.stop();
}
const drawn = trees.map((tree) => `\n${tree}`).join("");
console.log(drawn);
if (values.spans !== undefined) appendFileSync(values.spans, drawn);
for (const done of rows) console.log(JSON.stringify(done));
