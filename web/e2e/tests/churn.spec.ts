import { expect, test } from "@playwright/test";
import { Bot } from "../lib/bot.ts";
import { makeMeeting, Person } from "../lib/browser.ts";
import { Server } from "../lib/server.ts";

const STEPS = 50;
/** Besides the browser and the bot that stays. */
const MOST = 5;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

let server: Server;

test.beforeAll(async () => {
  server = await Server.start();
});

test.afterAll(async () => {
  await server?.stop();
});

/** The same numbers for the same seed (mulberry32), each 0 ≤ n < below. */
function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface Keys {
  code: string;
  members: number;
  /** Who else is there, and who is away, as seen by a browser: told when the wait fails. */
  others?: string[];
}

async function keysOf(one: Person | Bot): Promise<Keys> {
  if (one instanceof Person) {
    return await one.page.evaluate(() => {
      const { e2ee, participants } = globalThis.darktower.snapshot;
      return { ...e2ee, others: participants.map((it) => (it.away ? `${it.name} (away)` : it.name)) };
    });
  }
  const said = one.last("epoch");
  return { code: String(said?.["code"] ?? ""), members: Number(said?.["members"] ?? 0) };
}

/** Waits until everybody present is in one group of just them, with a code not seen before. */
async function agree(present: (Person | Bot)[], before: Set<string>, what: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const all = await Promise.all(present.map(keysOf));
        const { code } = all[0]!;
        const one = all.every((keys) => keys.code === code && keys.members === present.length);
        return one && code !== "" && !before.has(code) ? "agreed" : all;
      },
      { message: `${what} (seed ${seed})`, timeout: 10_000, intervals: [20, 50, 100] },
    )
    .toBe("agreed");
  before.add((await keysOf(present[0]!)).code);
}

test(`codes agree after each of ${STEPS} joins and leaves`, async () => {
  console.log(`seed ${seed}`);
  const roll = dice(seed);
  const ada = await Person.arrive();
  const bots: Bot[] = [];
  try {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    const anchor = Bot.start(link, "Anchor");
    bots.push(anchor);
    const codes = new Set<string>();
    await agree([ada, anchor], codes, "Anchor joins");

    const guests: Bot[] = [];
    let adaIsIn = true;
    for (let step = 1; step <= STEPS; step++) {
      let what: string;
      if (step % 12 === (adaIsIn ? 0 : 4)) {
        what = adaIsIn ? "Ada leaves" : "Ada joins";
        await ada.page.getByRole("button", { name: adaIsIn ? "Leave meeting" : "Join again" }).click();
        adaIsIn = !adaIsIn;
        if (adaIsIn) await ada.inMeeting();
      } else if (guests.length === 0 || (guests.length < MOST && roll(2) === 0)) {
        const guest = Bot.start(link, `Guest ${step}`);
        what = `${guest.name} joins`;
        guests.push(guest);
        bots.push(guest);
      } else {
        const [guest] = guests.splice(roll(guests.length), 1);
        what = `${guest!.name} leaves`;
        await guest!.leave();
      }
      await agree([anchor, ...guests, ...(adaIsIn ? [ada] : [])], codes, `step ${step}: ${what}`);
    }
    expect(ada.errors).toEqual([]);
  } finally {
    await Promise.all([ada.leaveMachine(), ...bots.map((bot) => bot.stop())]);
  }
});
