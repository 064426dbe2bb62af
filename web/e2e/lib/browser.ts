/** Chromium windows with recognisable devices. Devices are per browser, so each person gets one. */
import { type Browser, type BrowserContext, chromium, type Page } from "@playwright/test";
import type { WorkerStats } from "@darktower/sdk";
import { MARK, markedCamera, toneMicrophone } from "./media.ts";
import { install } from "./probe.ts";

export interface PersonOptions {
  /** A shade of the marked camera (640 × 360), a y4m file, or "large": the browser's own test picture of 1280 × 720. */
  camera?: number | string;
  tone?: number;
  /** How many cameras the machine has. */
  cameras?: number;
  /** How many pictures a second they make: 30. */
  fps?: number;
  /** No devices granted. */
  denied?: boolean;
  viewport?: { width: number; height: number };
  /** More switches for the browser. */
  switches?: string[];
}

export class Person {
  readonly browser: Browser;
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors of the page; a test that is over expects none. */
  readonly errors: string[] = [];
  /** Everything the console said. */
  readonly console: string[] = [];

  private constructor(browser: Browser, context: BrowserContext, page: Page) {
    this.browser = browser;
    this.context = context;
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      this.console.push(`${message.type()}: ${message.text()}`);
      if (message.text().includes("Content Security Policy")) this.errors.push(message.text());
    });
  }

  static async arrive(options: PersonOptions = {}): Promise<Person> {
    const { camera = 110, tone = 440, denied = false, viewport = { width: 1280, height: 800 } } = options;
    const browser = await chromium.launch({
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--autoplay-policy=no-user-gesture-required",
        `--use-fake-device-for-media-stream=fps=${options.fps ?? 30},device-count=${options.cameras ?? 1}`,
        ...(denied ? [] : ["--use-fake-ui-for-media-stream"]),
        ...(camera === "large" ? [] : [`--use-file-for-fake-video-capture=${file(camera)}`]),
        `--use-file-for-fake-audio-capture=${toneMicrophone(tone)}`,
        ...(options.switches ?? []),
      ],
    });
    const context = await browser.newContext({ viewport, reducedMotion: "reduce" });
    await context.addInitScript(install, MARK);
    return new Person(browser, context, await context.newPage());
  }

  /** Straight into the meeting, with the sound left as it is. */
  async goIn(link: string, name: string, wishes: Record<string, string> = {}): Promise<void> {
    const url = new URL(link);
    url.searchParams.set("join", "1");
    url.searchParams.set("name", name);
    url.searchParams.set("audio", "raw");
    for (const [wish, value] of Object.entries(wishes)) url.searchParams.set(wish, value);
    await this.page.goto(url.href);
    await this.inMeeting();
  }

  async inMeeting(): Promise<void> {
    await this.page.getByRole("button", { name: "Leave meeting" }).waitFor({ timeout: 20_000 });
  }

  /** The tile of somebody. */
  tile(name: string) {
    return this.page.getByRole("article", { name, exact: true });
  }

  /** The verification code on the screen. */
  async code(): Promise<string> {
    await this.page.getByRole("button", { name: "End-to-end encrypted. Show verification code" }).click();
    const code = await this.page.getByTestId("verification-code").textContent();
    await this.page.keyboard.press("Escape");
    return code ?? "";
  }

  /** The moments of this page's join, once somebody else's first picture is drawn. */
  async firstPicture(page = this.page): Promise<WorkerStats["marks"]> {
    const marks = await page.evaluate(async (within) => {
      const until = performance.now() + within;
      while (performance.now() < until) {
        const { marks } = (await globalThis.darktower?.stats()) ?? {};
        if (marks?.first_frame_drawn !== undefined) return marks;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return null;
    }, 15_000);
    if (marks === null) throw new Error("no picture of anybody else in time");
    return marks;
  }

  async leaveMachine(): Promise<void> {
    await this.browser.close();
  }
}

function file(camera: number | string): string {
  return typeof camera === "string" ? camera : markedCamera(camera);
}

/** Makes a meeting as a person does, and returns its link. */
export async function makeMeeting(person: Person, base: string): Promise<string> {
  await person.page.goto(base);
  await person.page.getByRole("button", { name: "New meeting" }).click();
  await person.page.getByRole("button", { name: "Join", exact: true }).waitFor();
  return person.page.url();
}

/** The p-th percentile (0 to 100). */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? Number.NaN;
}
