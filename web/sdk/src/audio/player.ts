/** The page's side of playout: an AudioContext with the worklet that plays what the worker decodes. */
import type { PlayoutOptions } from "./messages.ts";
import { soundModule } from "./module.ts";
import { workletUrl } from "./url.ts";

export class Player {
  readonly #changed: () => void;
  #context: AudioContext | null = null;
  #node: AudioWorkletNode | null = null;
  #wanted = false;

  /** `changed` is called when sound gets blocked or flows. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Opens the sound device and loads the worklet; the returned port belongs to the worker. */
  async open(): Promise<MessagePort> {
    const context = new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
    this.#context = context;
    context.onstatechange = () => this.#changed();
    if (this.#wanted) void this.resume();
    const [module] = await Promise.all([soundModule(), context.audioWorklet.addModule(workletUrl)]);
    const processorOptions: PlayoutOptions = { module };
    const node = new AudioWorkletNode(context, "darktower-playout", {
      numberOfInputs: 0,
      outputChannelCount: [2],
      processorOptions,
    });
    node.connect(context.destination);
    const { port1: here, port2: there } = new MessageChannel();
    node.port.postMessage(here, [here]);
    this.#node = node;
    this.#changed();
    return there;
  }

  /** What is heard, for meters and recordings. */
  get output(): AudioNode | null {
    return this.#node;
  }

  /** The browser wants a click before it lets sound out. */
  get blocked(): boolean {
    return this.#context?.state === "suspended";
  }

  /** From the worklet to the ear, in ms. */
  get latencyMs(): number {
    const { baseLatency = 0, outputLatency = 0 } = this.#context ?? {};
    return ((baseLatency || 0) + (outputLatency || 0)) * 1000;
  }

  /** Lets sound out; call it from a click. */
  async resume(): Promise<void> {
    this.#wanted = true;
    await this.#context?.resume();
    this.#changed();
  }

  /** Chooses the speaker, where the browser lets one. */
  async setSpeaker(deviceId: string): Promise<void> {
    const context = this.#context as null | (AudioContext & { setSinkId?: (id: string) => Promise<void> });
    await context?.setSinkId?.(deviceId);
  }

  close(): void {
    this.#node?.disconnect();
    if (this.#context !== null && this.#context.state !== "closed") void this.#context.close();
  }
}
