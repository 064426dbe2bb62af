/** The codecs that cost a machine most, in all layers of a camera: the others' tests take the lightest. */
import { expect, test } from "@playwright/test";
import { makeMeeting, Person } from "../lib/browser.ts";
import { Server } from "../lib/server.ts";
import { of, report, until } from "../lib/tracks.ts";

/** Patience, no bound: software encodes 720 lines of these as fast as it can. */
const PATIENCE_MS = 45_000;

test.setTimeout(180_000);

for (const codec of ["vp09.00.31.08", "av01.0.05M.08"]) {
  test(`a camera in ${codec} has three layers of three temporal ones each, and each is decoded where it is shown`, async () => {
    const server = await Server.start();
    const [ada, ben] = await Promise.all([
      Person.arrive({ camera: "large", tone: 440 }),
      Person.arrive({ camera: 150, tone: 1000, viewport: { width: 420, height: 420 } }),
    ]);
    try {
      const link = await makeMeeting(ada, server.url);
      await ada.goIn(link, "Ada", { codec });
      await ben.goIn(link, "Ben", { codec: "vp8" });
      const tracks = () => ben.page.evaluate(() => globalThis.darktower.snapshot.participants);
      const sees = async (height: number): Promise<void> => {
        await until(ben, PATIENCE_MS, (now) => of(now, "Ada", "camera")?.height === height);
      };
      await sees(180);
      const offered = (await tracks()).find((one) => one.name === "Ada")?.tracks.find((one) => one.kind === "video");
      expect(offered?.codec).toBe(codec);
      await ben.page.setViewportSize({ width: 1280, height: 800 });
      await sees(360);
      await ben.page.getByRole("button", { name: "Pin: Ada" }).click();
      await sees(720);
      const before = of(await report(ben), "Ada", "camera")!.decoded;
      await until(ben, PATIENCE_MS, (now) => of(now, "Ada", "camera")!.decoded > before + 10);
      const sent = (await report(ada)).sent.find((one) => one.layers !== undefined)?.layers ?? [];
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
