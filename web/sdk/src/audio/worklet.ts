/**
 * The audio thread's two processors: `darktower-playout` mixes what the worker
 * decoded, `darktower-capture` hands microphone samples to the worker where the
 * browser has no stream processors.
 */
import { Mixer } from "./mixer.ts";
import type { FromPlayout, ToPlayout } from "./messages.ts";

const REPORT_EVERY_S = 0.1;

class Playout extends AudioWorkletProcessor {
  readonly #mixer = new Mixer(sampleRate);
  #worker: MessagePort | null = null;
  #reportedAt = 0;

  constructor() {
    super();
    this.port.onmessage = (event: MessageEvent<MessagePort>) => {
      this.#worker = event.data;
      this.#worker.onmessage = (message: MessageEvent<ToPlayout>) => this.#take(message.data);
    };
  }

  #take(message: ToPlayout): void {
    if (message.type === "gone") this.#mixer.forget(message.track);
    else this.#mixer.push(currentTime, message.track, message.captureUs, message.samples);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [first, ...others] = outputs[0] ?? [];
    if (first === undefined) return true;
    this.#mixer.mix(first);
    for (const channel of others) channel.set(first);
    if (currentTime - this.#reportedAt >= REPORT_EVERY_S && this.#worker !== null) {
      this.#reportedAt = currentTime;
      const message: FromPlayout = { type: "reports", reports: this.#mixer.reports() };
      this.#worker.postMessage(message);
    }
    return true;
  }
}

/** 10 ms at 48 kHz. */
const CAPTURE_SAMPLES = 480;

class Capture extends AudioWorkletProcessor {
  #worker: MessagePort | null = null;
  #block = new Float32Array(CAPTURE_SAMPLES);
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = (event: MessageEvent<MessagePort>) => {
      this.#worker = event.data;
    };
  }

  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0] ?? [];
    const length = channels[0]?.length ?? 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i]!;
      this.#block[this.#filled++] = sum / channels.length;
      if (this.#filled === CAPTURE_SAMPLES) this.#flush();
    }
    return true;
  }

  #flush(): void {
    const block = this.#block;
    this.#block = new Float32Array(CAPTURE_SAMPLES);
    this.#filled = 0;
    this.#worker?.postMessage(block, [block.buffer]);
  }
}

registerProcessor("darktower-playout", Playout);
registerProcessor("darktower-capture", Capture);
