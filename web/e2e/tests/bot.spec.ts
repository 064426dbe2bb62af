import { expect, test } from "@playwright/test";
import { Bot } from "../lib/bot.ts";
import { makeMeeting, Person } from "../lib/browser.ts";
import { judge } from "../lib/marks.ts";
import { markedClip, toneClip } from "../lib/media.ts";
import { Server } from "../lib/server.ts";

const TONE = 700;

let server: Server;
let ada: Person;
let bot: Bot;

test.describe.configure({ mode: "serial" });

test.beforeAll(async () => {
  server = await Server.start();
  ada = await Person.arrive({ camera: 100, tone: 440 });
});

test.afterAll(async () => {
  await ada?.leaveMachine();
  await bot?.stop();
  await server?.stop();
});

test("a native participant joins a browser's meeting by its link", async () => {
  const link = await makeMeeting(ada, server.url);
  await ada.goIn(link, "Ada");
  bot = Bot.start(link, "Bot", { video: markedClip(200), audio: toneClip(TONE) });
  await bot.joined();
  await expect(ada.tile("Bot")).toBeVisible();
});

test("the browser sees its picture move, and hears it", async () => {
  await expect.poll(async () => (await ada.page.evaluate(() => globalThis.probe.watch(0.5))).length).toBeGreaterThan(5);
  const { steps, backwards } = judge(await ada.page.evaluate(() => globalThis.probe.watch(5)));
  console.log(`mark: ${steps} steps in 5 s`);
  expect(backwards).toBe(0);
  expect(steps).toBeGreaterThanOrEqual(120);
  const { tone, rest } = await ada.page.evaluate((hz) => globalThis.probe.hear(hz, 3), TONE);
  console.log(`tone of ${TONE} Hz: ${tone.toFixed(0)} dB, everything else at most ${rest.toFixed(0)} dB`);
  expect(tone).toBeGreaterThan(-40);
  expect(tone - rest).toBeGreaterThan(20);
});

test("it opens the browser's picture and sound, whole and in order", async () => {
  const { tracks, counters } = await bot.received(150);
  for (const track of tracks) {
    expect(track).toMatchObject({ first_is_key: true, malformed: 0 });
  }
  for (const why of ["refused_bad_tag", "refused_replay", "refused_sender"]) expect(counters[why], why).toBe(0);
});

test("both show the same verification code", async () => {
  const code = await ada.code();
  expect(code).toMatch(/^(\d{5} ){5}\d{5}$/);
  await bot.until(() => bot.last("epoch")?.["code"] === code);
});

test("nobody's link was lost meanwhile", async () => {
  // The controller's probe of the handler is a pair of its own.
  const theirs = server.log.filter((line) => !/"participant_id":"(01|02)\1{15}"/.test(line));
  const opened = theirs.filter((line) => line.includes("media session opened"));
  const closed = theirs.filter((line) => line.includes("media session closed"));
  // The page that made the meeting left its link behind when it followed the meeting's own.
  expect(opened.length - closed.length).toBe(2);
  expect(closed.length).toBeLessThanOrEqual(1);
});

test("it leaves, and all it received was well", async () => {
  const { ok, error } = await bot.leave();
  expect({ ok, error }).toEqual({ ok: true, error: null });
  await expect(ada.tile("Bot")).toHaveCount(0);
  const { counters } = await ada.page.evaluate(() => globalThis.darktower.stats());
  for (const why of ["refused_bad_tag", "refused_replay", "refused_sender"]) expect(counters[why], why).toBe(0);
  expect(ada.errors).toEqual([]);
});
