// Takes pictures of every page at desktop and phone width into dev/shots.
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { createServer } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = fileURLToPath(new URL("./shots/", import.meta.url));
mkdirSync(out, { recursive: true });

const server = await createServer({ root, logLevel: "error", server: { port: 0, host: "127.0.0.1" } });
await server.listen();
const base = `http://127.0.0.1:${server.httpServer.address().port}/dev/gallery.html`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});

const pages = {
  start: "show=start",
  lobby: "show=lobby",
  alone: "show=meeting&n=1",
  two: "show=meeting&n=2",
  meeting: "show=meeting&n=6",
  many: "show=meeting&n=12",
  screen: "show=meeting&n=4&screen=1",
  speaker: ["show=meeting&n=6", "Speaker view"],
  crowd: "show=meeting&n=40",
  screens: "show=meeting&n=5&screen=2",
  connection: ["show=meeting&n=5", "Slow connection. Show details"],
  sources: ["show=meeting&n=3", "Share more"],
  people: ["show=meeting&n=6", "Participants"],
  security: ["show=meeting&n=3", "End-to-end encrypted. Show verification code"],
  settings: ["show=meeting&n=3", "Settings"],
  problem: "show=problem",
  link: "show=link_needed",
  left: "show=left",
};
const wanted = process.argv.slice(2);
const sizes = [
  ["desktop", 1280, 800, "dark"],
  ["phone", 390, 844, "dark"],
  ["light", 1280, 800, "light"],
];
try {
  for (const [size, width, height, colorScheme] of sizes) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    for (const [name, what] of Object.entries(pages)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      const page = await context.newPage();
      page.on("pageerror", (error) => console.error(name, error));
      page.on(
        "console",
        (message) => ["error", "warning"].includes(message.type()) && console.error(name, message.text()),
      );
      const [query, click] = [what].flat();
      await page.goto(`${base}?${query}`);
      await page.locator("h1, h2").first().waitFor();
      // What is said only when it lasts.
      if (name === "meeting") await page.getByText("Picture paused").waitFor();
      if (click) await page.getByRole("button", { name: click }).click();
      if (name === "connection") await page.getByText("kbit/s").nth(2).waitFor();
      await page.evaluate(() => document.fonts.ready);
      await page.waitForFunction(() => [...document.querySelectorAll("video")].every((video) => video.readyState >= 2));
      await page.screenshot({ path: `${out}${name}-${size}.png` });
      await page.close();
    }
    await context.close();
  }
} finally {
  await browser.close();
  await server.close();
}
