/** Holds a real meeting of four browsers and takes the README's picture of it: `npm run shot`; a path takes one as on a phone, too. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "@playwright/test";
import { makeMeeting, Person } from "../lib/browser.ts";
import { repository } from "../lib/built.ts";
import { encoded } from "../lib/media.ts";
import { Server } from "../lib/server.ts";
import { PEOPLE, portrait } from "./portraits.ts";

/** Six seconds that begin again where they end: a person who moves a little. */
const MOVING =
  "-vf scale=672:378,crop=640:360:x='16+7*sin(2*PI*t/6)':y='12+4*sin(4*PI*t/6)' -pix_fmt yuv420p -f yuv4mpegpipe";

async function draw(name: string, directory: string): Promise<string> {
  const browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const page = await browser.newPage({ viewport: { width: 1344, height: 756 } });
  const png = join(directory, `${name}.png`);
  await page.setContent(`<style>body{margin:0}svg{display:block;width:100vw}</style>${portrait(PEOPLE[name]!)}`);
  await page.screenshot({ path: png });
  await browser.close();
  const still = encoded(png, join(directory, `${name}-still.mkv`), "-c:v ffv1 -f matroska");
  return encoded(still, join(directory, `${name}.y4m`), `-vf loop=loop=90:size=1,fps=15 -t 6 ${MOVING}`);
}

/** Waits until the three others are drawn smoothly. */
async function settled(page: Page): Promise<void> {
  const well = await page.evaluate(async () => {
    for (const until = performance.now() + 30_000; performance.now() < until;) {
      const { received } = await globalThis.darktower.stats();
      if (received.filter((track) => track.kind === "video" && track.fps >= 12).length === 3) return true;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    return false;
  });
  if (!well) throw new Error("the others are not drawn smoothly");
}

const directory = mkdtempSync(join(tmpdir(), "darktower-shot-"));
const server = await Server.start();
const people: Person[] = [];
try {
  for (const name of Object.keys(PEOPLE)) {
    const camera = await draw(name, directory);
    people.push(await Person.arrive({ camera, tone: name === "Chiara" ? 440 : 0 }));
  }
  const [ada] = people;
  const link = await makeMeeting(ada!, server.url);
  for (const [i, name] of Object.keys(PEOPLE).entries()) await people[i]!.goIn(link, name);
  const { page } = ada!;
  // Everybody is drawn smoothly, and who speaks has the ring.
  await settled(page);
  await page.waitForFunction(() => globalThis.darktower.snapshot.speaking.length === 1);
  // Word of who came has gone again.
  await page.waitForFunction(() => document.querySelector("[aria-live=polite] p") === null);
  const images = join(repository(), "docs/images");
  await page.screenshot({ path: join(images, "meeting.png") });
  const narrow = process.argv[2];
  if (narrow !== undefined) {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.waitForFunction(() => document.querySelector("article")!.clientWidth < 390);
    await page.screenshot({ path: narrow });
  }
} finally {
  await Promise.all(people.map((person) => person.leaveMachine()));
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
}
