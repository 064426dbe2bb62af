/**
 * The audio thread's two processors: `darktower-playout` plays what the worker
 * decoded, `darktower-capture` hands microphone samples to the worker where the
 * browser has no stream processors.
 */
import { Sound } from "./sound.ts";
import type { FromPlayout, PlayoutOptions, ToPlayout } from "./messages.ts";

const REPORT_EVERY_S = 0.1;

class Playout extends AudioWorkletProcessor {
  /** Null once it broke. */
  #sound: Sound | null;
  #worker: MessagePort | null = null;
  #reportedAt = 0;

  constructor(options: { processorOptions: PlayoutOptions }) {
    super();
    this.#sound = new Sound(options.processorOptions.module);
    this.port.onmessage = (event: MessageEvent<MessagePort>) => {
      this.#worker = event.data;
      this.#worker.onmessage = (message: MessageEvent<ToPlayout>) => this.#safely((sound) => take(sound, message.data));
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [left, right] = outputs[0] ?? [];
    if (left === undefined) return true;
    this.#safely((sound) => {
      sound.mix(currentTime, left, right);
      if (currentTime - this.#reportedAt < REPORT_EVERY_S) return;
      this.#reportedAt = currentTime;
      this.#tell({ type: "reports", reports: sound.reports(currentTime) });
    });
    return this.#sound !== null;
  }

  /** An error in the module ends playout, and is told. */
  #safely(use: (sound: Sound) => void): void {
    if (this.#sound === null) return;
    try {
      use(this.#sound);
    } catch (error) {
      this.#sound = null;
      this.#tell({ type: "broken", detail: String(error) });
    }
  }

  #tell(message: FromPlayout): void {
    this.#worker?.postMessage(message);
  }
}

function take(sound: Sound, message: ToPlayout): void {
  if (message.type === "gone") sound.forget(message.track);
  else sound.push(currentTime, message.packet);
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
