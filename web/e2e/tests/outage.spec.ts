import { expect, test } from "@playwright/test";
import { Bot } from "../lib/bot.ts";
import { makeMeeting, Person } from "../lib/browser.ts";
import { markedClip, toneClip } from "../lib/media.ts";
import { System } from "../lib/system.ts";

let system: System;
let ada: Person;
let bot: Bot;

test.describe.configure({ mode: "serial" });

test.beforeAll(async () => {
  system = await System.start();
  ada = await Person.arrive({ camera: 100, tone: 440 });
  const link = await makeMeeting(ada, system.url);
  await ada.goIn(link, "Ada");
  bot = Bot.start(link, "Bot", { video: markedClip(200), audio: toneClip(700) });
  await bot.joined();
});

test.afterAll(async () => {
  await ada?.leaveMachine();
  await bot?.stop();
  await system?.stop();
});

/** How many different pictures of the bot are shown in so many seconds. */
async function pictures(seconds: number): Promise<number> {
  const seen = await ada.page.evaluate((it) => globalThis.probe.watch(it), seconds);
  return seen.length;
}

/** How many pictures of hers the bot has opened so far. */
function opened(): number {
  const tracks = bot.last("counters")?.["tracks"] as { kind: string; frames: number }[] | undefined;
  return tracks?.find((track) => track.kind === "video")?.frames ?? 0;
}

async function who(): Promise<unknown> {
  return await ada.page.evaluate(() => {
    const { participants, e2ee } = globalThis.darktower.snapshot;
    return { ids: participants.map(({ id }) => id).sort(), epoch: e2ee.epoch, code: e2ee.code };
  });
}

// Chromium ends connections by itself after some seven seconds of silence; after twelve nothing of ours is left either.
for (const seconds of [1, 8, 14]) {
  test(`after an outage of ${seconds} s it is the same participant, and all is seen again`, async () => {
    await expect.poll(() => pictures(0.5), "the bot is seen before").toBeGreaterThan(5);
    const before = await who();
    const banner = ada.page.getByText(/reconnect/);
    await system.setBlackout(true);
    const meanwhile = await pictures(seconds);
    if (seconds > 5) await expect(banner).toBeVisible();
    await system.setBlackout(false);
    const then = opened();
    expect(meanwhile, "nothing passes").toBeLessThan(15);
    await expect.poll(() => pictures(0.5), "the bot is seen again").toBeGreaterThan(5);
    await bot.until(() => opened() > then + 30);
    await expect(banner).toBeHidden();
    expect(await who(), "nobody left, nobody came, no key was changed").toEqual(before);
  });
}

test("nothing went wrong on the page", () => {
  expect(ada.errors).toEqual([]);
});
