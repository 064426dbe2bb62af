/** The whole program as a browser meets it: every way goes through a relay. */
import { freeUdp, Relay } from "./relay.ts";
import { Server } from "./server.ts";

export class System {
  /** Base URL of page and API. */
  readonly url: string;
  readonly #server: Server;
  readonly #relays: Relay[];

  private constructor(server: Server, relays: Relay[], url: string) {
    this.#server = server;
    this.#relays = relays;
    this.url = url;
  }

  /** `env` adds settings of the program. */
  static async start(env: Record<string, string> = {}): Promise<System> {
    const [signalTo, mediaTo] = [await freeUdp(), await freeUdp()];
    const [signal, media] = [await Relay.start(signalTo), await Relay.start(mediaTo)];
    const server = await Server.start({
      DARKTOWER_MEETING__LISTEN: signalTo,
      DARKTOWER_MEETING__PUBLIC_URL: `https://${signal.address}/v1/signal`,
      DARKTOWER_MEDIA__LISTEN: mediaTo,
      DARKTOWER_MEDIA__PUBLIC_URL: `https://${media.address}/v1/media`,
      ...env,
    });
    const http = await Relay.start(`127.0.0.1:${new URL(server.url).port}`);
    return new System(server, [signal, media, http], `http://localhost:${http.port}`);
  }

  async setRoundTrip(ms: number): Promise<void> {
    for (const relay of this.#relays) await relay.setRoundTrip(ms);
  }

  /** Nothing passes any more, or everything does again. */
  async setBlackout(dark: boolean): Promise<void> {
    for (const relay of this.#relays) await relay.setBlackout(dark);
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    for (const relay of this.#relays) await relay.stop();
  }
}
