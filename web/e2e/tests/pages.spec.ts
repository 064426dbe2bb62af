import AxeBuilder from "@axe-core/playwright";
import { expect, type Page, test } from "@playwright/test";
import { makeMeeting, Person } from "../lib/browser.ts";
import { Server } from "../lib/server.ts";

let server: Server;

test.beforeAll(async () => {
  server = await Server.start();
});

test.afterAll(async () => {
  await server?.stop();
});

/** Runs with people who go home whatever happens. */
async function withPeople(count: number, run: (...people: Person[]) => Promise<void>): Promise<void> {
  const people = await Promise.all(
    Array.from({ length: count }, (_, i) => Person.arrive({ camera: 100 + i * 40, tone: 440 })),
  );
  try {
    await run(...people);
    for (const person of people) expect(person.errors).toEqual([]);
  } finally {
    await Promise.all(people.map((person) => person.leaveMachine()));
  }
}

async function accessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
}

/** No sideways scrolling. */
async function fitsWidth(page: Page): Promise<void> {
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
}

const looks = [
  { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  { colorScheme: "light", viewport: { width: 390, height: 844 } },
] as const;

for (const { colorScheme, viewport } of looks) {
  test(`every page is accessible, ${colorScheme} and ${viewport.width} px wide`, async () => {
    await withPeople(1, async ({ page }) => {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(viewport);
      await page.goto(server.url);
      await accessible(page);
      await fitsWidth(page);
      await page.getByRole("button", { name: "New meeting" }).click();
      await page.getByLabel("Your name").fill("Ada");
      await accessible(page);
      await fitsWidth(page);
      await page.getByRole("button", { name: "Join", exact: true }).click();
      await page.getByRole("button", { name: "Leave meeting" }).waitFor();
      await accessible(page);
      await fitsWidth(page);
      for (const name of ["Participants", "Settings"]) {
        await page.getByRole("button", { name, exact: true }).click();
        await accessible(page);
        await fitsWidth(page);
        if (name === "Participants") await page.getByRole("button", { name, exact: true }).click();
        else await page.keyboard.press("Escape");
      }
      await page.getByRole("button", { name: /encrypted/i }).click();
      await accessible(page);
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Leave meeting" }).click();
      await page.getByRole("heading", { name: "You left the meeting" }).waitFor();
      await accessible(page);
    });
  });
}

test("dialogs keep the focus, close on Escape and give it back", async () => {
  await withPeople(1, async (ada) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    const button = ada.page.getByRole("button", { name: "Settings" });
    await button.focus();
    await ada.page.keyboard.press("Enter");
    const dialog = ada.page.getByRole("dialog", { name: "Settings" });
    await expect(dialog).toBeVisible();
    for (let i = 0; i < 12; i++) {
      await ada.page.keyboard.press("Tab");
      const outside = await ada.page.evaluate(
        () => document.activeElement !== document.body && document.activeElement?.closest("dialog") === null,
      );
      expect(outside).toBe(false);
    }
    await ada.page.keyboard.press("Escape");
    await expect(dialog).toBeHidden();
    await expect(button).toBeFocused();
  });
});

test("an unknown code and a mistyped one are told in plain words", async () => {
  await withPeople(1, async ({ page }) => {
    await page.goto(server.url);
    await page.getByLabel("Meeting code or link").fill("nonsense");
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("alert")).toContainText("A code looks like");
    await page.getByLabel("Meeting code or link").fill("zzz-zzzz-zzz");
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("heading", { name: "There is no such meeting" })).toBeVisible();
    await page.goto(`${server.url}/m/not-a-code`);
    await expect(page.getByRole("heading", { name: "That is not a meeting code" })).toBeVisible();
  });
});

test("who comes by a link asks for nothing that the page brought, and a host asks as the host", async () => {
  await withPeople(2, async (host, guest) => {
    const link = await makeMeeting(host, server.url);
    const asked: string[] = [];
    for (const { page } of [host, guest])
      page.on("request", (request) => {
        if (new URL(request.url()).pathname.startsWith("/api/v1/meetings/")) asked.push(request.method());
      });
    const page = await guest.page.goto(link);
    await guest.page.getByRole("button", { name: "Join", exact: true }).waitFor();
    expect(page!.headers()["cache-control"]).toBe("no-store");
    expect(asked).toEqual([]);
    // Its tokens were for that visit; they are not left lying about.
    expect(await guest.page.locator("#told").count()).toBe(0);

    await host.page.reload();
    await host.page.getByLabel("Your name").fill("Host");
    await host.page.getByRole("button", { name: "Join", exact: true }).click();
    await host.page.getByRole("button", { name: "Leave meeting" }).waitFor();
    expect(asked).toEqual(["GET"]);
    await guest.goIn(link, "Guest");
    await host.tile("Guest").waitFor();
    expect(asked).toEqual(["GET"]);
  });
});

test("a code without its secret leads to the page that takes the full link", async () => {
  await withPeople(1, async (ada) => {
    const link = await makeMeeting(ada, server.url);
    const { page } = ada;
    await page.goto(server.url);
    await page.getByLabel("Meeting code or link").fill(/m\/([a-z-]+)/.exec(link)![1]!);
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("heading", { name: "This meeting needs its full link" })).toBeVisible();
    await accessible(page);
    await page.getByLabel("Invitation link").fill(link.replace(/#.*/, ""));
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("alert")).toContainText("not the full link");
    await page.getByLabel("Invitation link").fill(link);
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("button", { name: "Join", exact: true })).toBeVisible();
  });
});

test("who grants no devices is told so, and can join without them", async () => {
  const ada = await Person.arrive({ denied: true });
  try {
    const { page } = ada;
    await makeMeeting(ada, server.url);
    await expect(page.getByText("The browser may not use your camera")).toBeVisible();
    await expect(page.getByText("The browser may not use your microphone")).toBeVisible();
    await page.getByLabel("Your name").fill("Ada");
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await ada.inMeeting();
    expect(ada.errors).toEqual([]);
  } finally {
    await ada.leaveMachine();
  }
});

test("a browser that lacks what is needed is told so", async () => {
  await withPeople(1, async ({ page }) => {
    await page.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
    await page.goto(`${server.url}/m/abc-defg-hij`);
    await expect(page.getByRole("heading", { name: "This browser cannot take part" })).toBeVisible();
  });
});

test("a reload returns to the same seat", async () => {
  await withPeople(2, async (ada, ben) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    await expect(ada.tile("Ben")).toBeVisible();
    const id = (): Promise<string | undefined> => ben.page.evaluate(() => globalThis.darktower.snapshot.me?.id);
    const before = await id();
    await ben.page.reload();
    await ben.inMeeting();
    expect(await id()).toBe(before);
    await expect
      .poll(async () => (await ada.page.evaluate(() => globalThis.probe.watch(1))).length)
      .toBeGreaterThan(10);
    await expect
      .poll(async () => (await ben.page.evaluate(() => globalThis.probe.watch(1))).length)
      .toBeGreaterThan(10);
    expect(await ada.page.getByRole("article").count()).toBe(2);
  });
});

test("who reloads while muted stays muted, whatever another tab did meanwhile", async () => {
  await withPeople(2, async (ada, ben) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    const button = (name: string) => ben.page.getByRole("button", { name, exact: true });
    await button("Mute microphone").click();
    await button("Turn camera off").click();
    const seen = (): Promise<(string | boolean)[][]> =>
      ada.page.evaluate(() => {
        const others = globalThis.darktower.snapshot.participants.filter(({ me }) => !me);
        return others.flatMap(({ tracks }) => tracks.map(({ kind, muted }) => [kind, muted]));
      });
    await expect.poll(async () => (await seen()).every(([, muted]) => muted)).toBe(true);
    const other = await ben.context.newPage();
    await other.goto(server.url);
    await other.getByRole("button", { name: "New meeting" }).click();
    await other.getByRole("button", { name: "Unmute microphone" }).click();
    await other.getByRole("button", { name: "Turn camera on" }).click();
    await other.close();
    await ben.page.reload();
    await ben.inMeeting();
    await expect(button("Unmute microphone")).toBeVisible();
    await expect(button("Turn camera on")).toBeVisible();
    const published = async (): Promise<number> => {
      const tracks = await seen();
      expect(
        tracks.every(([, muted]) => muted),
        JSON.stringify(tracks),
      ).toBe(true);
      return tracks.length;
    };
    await expect.poll(published, "the microphone is there").toBeGreaterThan(0);
  });
});

test("who leaves is gone at once, and may come again", async () => {
  await withPeople(2, async (ada, ben) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    await ben.page.getByRole("button", { name: "Leave meeting" }).click();
    await expect(ada.tile("Ben")).toHaveCount(0);
    await expect(ada.page.getByText("Ben left", { exact: true })).toBeVisible();
    await expect(ada.page.getByText("Ben left", { exact: true })).toHaveCount(0);
    await ben.page.getByRole("button", { name: "Join again" }).click();
    await ben.inMeeting();
    await expect(ada.tile("Ben")).toBeVisible();
  });
});

test("a host removes somebody, and ends the meeting for all", async () => {
  await withPeople(3, async (ada, ben, cleo) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    await cleo.goIn(link, "Cleo");
    await ada.page.getByRole("button", { name: "Participants", exact: true }).click();
    await expect(ben.page.getByRole("button", { name: "Remove Cleo" })).toHaveCount(0);
    await ada.page.getByRole("button", { name: "Remove Cleo" }).click();
    await ada.page.getByRole("button", { name: "Remove", exact: true }).click();
    await expect(cleo.page.getByRole("heading", { name: "You were removed" })).toBeVisible();
    await expect(ben.tile("Cleo")).toHaveCount(0);
    await ada.page.getByRole("button", { name: "End meeting for all" }).click();
    await ada.page.getByRole("button", { name: "End meeting", exact: true }).click();
    await expect(ben.page.getByRole("heading", { name: "The meeting has ended" })).toBeVisible();
    await expect(ada.page.getByRole("heading", { name: "The meeting has ended" })).toBeVisible();
  });
});

test("a full meeting is told as such", async () => {
  await withPeople(3, async (ada, ben, cleo) => {
    const data = { max_participants: 2, key_in_link: false };
    const answer = await ada.context.request.post(`${server.url}/api/v1/meetings`, { data });
    const { meeting } = (await answer.json()) as { meeting: { code: string } };
    const link = `${server.url}/m/${meeting.code}`;
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    await cleo.page.goto(`${link}?join=1&name=Cleo`);
    await expect(cleo.page.getByRole("heading", { name: "The meeting is full" })).toBeVisible();
  });
});

test("a link with another secret opens nothing", async () => {
  await withPeople(2, async (ada, ben) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    const other = link.replace(/#k=.*/, "#k=AAAAAAAAAAAAAAAAAAAAAA");
    await ben.page.goto(`${other}?`.replace(/(#.*)\?$/, "$1").replace("#", "?join=1&name=Ben#"));
    await expect(ben.page.getByRole("heading", { name: "The link does not fit" })).toBeVisible({ timeout: 30_000 });
  });
});

test("a shared screen is seen large by the others", async () => {
  await withPeople(2, async (ada, ben) => {
    const link = await makeMeeting(ada, server.url);
    await ada.goIn(link, "Ada");
    await ben.goIn(link, "Ben");
    await ada.page.getByRole("button", { name: "Share screen" }).click();
    const screen = ben.tile("Ada is sharing a screen");
    await expect(screen.locator("canvas")).toBeVisible();
    await expect
      .poll(() => screen.locator("canvas").evaluate((canvas: HTMLCanvasElement) => canvas.width))
      .toBeGreaterThan(600);
    await ada.page.getByRole("button", { name: "Stop sharing" }).click();
    await expect(screen).toHaveCount(0);
  });
});
