/** The codecs that cost a machine most, in all layers of a camera: the others' tests take the lightest. */
import { expect, test } from "@playwright/test";
import { makeMeeting, Person } from "../lib/browser.ts";
import { Server } from "../lib/server.ts";
import { of, report, until } from "../lib/tracks.ts";

/** Patience, no bound: software encodes 720 lines of these as fast as it can. */
const PATIENCE_MS = 45_000;

for (const codec of ["vp09.00.31.08", "av01.0.05M.08"]) {
  test(`a camera in ${codec} has three layers of three temporal ones each, and each is decoded where it is shown`, async () => {
    const server = await Server.start();
    const [ada, ben] = await Promise.all([
      // More than a machine encodes is answered with a lighter codec.
      Person.arrive({ camera: "large", tone: 440, fps: 5 }),
      Person.arrive({ camera: 150, tone: 1000, viewport: { width: 420, height: 420 } }),
    ]);
    try {
      const link = await makeMeeting(ada, server.url);
      await ada.goIn(link, "Ada", { codec });
      await ben.goIn(link, "Ben");
      const codecs = () =>
        ben.page.evaluate(() => {
          const { participants } = globalThis.darktower.snapshot;
          const tracks = participants.find((one) => one.name === "Ada")?.tracks ?? [];
          return tracks.filter((one) => one.kind === "video").map((one) => one.codec);
        });
      const sees = async (height: number): Promise<void> => {
        await until(ben, PATIENCE_MS, (now) => of(now, "Ada", "camera")?.height === height);
      };
      await sees(180);
      await ben.page.setViewportSize({ width: 1280, height: 800 });
      await sees(360);
      await ben.page.getByRole("button", { name: "Pin: Ada" }).click();
      await sees(720);
      const before = of(await report(ben), "Ada", "camera")!.decoded;
      await until(ben, PATIENCE_MS, (now) => of(now, "Ada", "camera")!.decoded > before + 10);
      expect(await codecs()).toEqual([codec]);
      const sent = (await report(ada)).sent.find((one) => one.codec === codec)?.layers ?? [];
      expect(sent.map(({ width, height }) => `${width}x${height}`)).toEqual(["320x180", "640x360", "1280x720"]);
      for (const layer of sent) expect(layer.encoded).toBeGreaterThan(0);
      expect(sent.map((layer) => layer.topTemporal)).toEqual([2, 2, 2]);
      expect([...ada.errors, ...ben.errors]).toEqual([]);
    } finally {
      await ada.leaveMachine();
      await ben.leaveMachine();
      await server.stop();
    }
  });
}

const newcomers = { "with a camera": { camera: 150, fps: 10 }, "with nothing to show": { denied: true } };
for (const [how, options] of Object.entries(newcomers)) {
  test(`who goes straight in ${how} takes nobody's codec away`, async () => {
    const codec = "vp09.00.31.08";
    const server = await Server.start();
    const [ada, ben] = await Promise.all([Person.arrive({ fps: 10 }), Person.arrive(options)]);
    try {
      const link = await makeMeeting(ada, server.url);
      await ada.goIn(link, "Ada", { codec });
      // Every codec that Ada's camera has had, and what is known of what Ben decodes.
      await ada.page.evaluate(() => {
        const codecs = new Set<string>();
        globalThis.darktower.subscribe(({ participants }) => {
          const tracks = participants.find(({ me }) => me)?.tracks ?? [];
          for (const { kind, codec } of tracks) if (kind === "video") codecs.add(codec);
        });
        Object.assign(globalThis, { codecs });
      });
      const codecs = () => ada.page.evaluate(() => [...(globalThis as unknown as { codecs: Set<string> }).codecs]);
      const decodable = () => ada.page.evaluate(() => globalThis.darktower.snapshot.decodable);
      await expect.poll(codecs).toEqual([codec]);
      expect(await decodable()).toBeNull();
      await ben.goIn(link, "Ben");
      await until(ben, PATIENCE_MS, (now) => (of(now, "Ada", "camera")?.decoded ?? 0) > 10);
      await expect.poll(decodable).toContain("vp09");
      expect(await codecs()).toEqual([codec]);
      expect([...ada.errors, ...ben.errors]).toEqual([]);
    } finally {
      await ada.leaveMachine();
      await ben.leaveMachine();
      await server.stop();
    }
  });
}
