/**
 * Runs inside the page (so it refers to nothing outside itself): reads the mark
 * off pictures and tones off the sound.
 */
import type { Meeting } from "@darktower/sdk";

export interface Sighting {
  /** The number seen. */
  mark: number;
  /** Wall time in ms. */
  at: number;
}

export interface Probe {
  /** Marks on a remote participant's canvas, whenever another one shows. */
  watch(seconds: number): Promise<Sighting[]>;
  /** Marks in the own camera, as frames leave it. */
  own(seconds: number): Promise<Sighting[]>;
  /** Level (dB) at a tone and in the rest of the spectrum, in what is heard. */
  hear(hz: number, seconds: number): Promise<{ tone: number; rest: number }>;
}

declare global {
  var darktower: Meeting;
  var probe: Probe;
}

export interface MarkShape {
  width: number;
  height: number;
  bits: number;
  blockWidth: number;
  top: number;
  blockHeight: number;
}

export function install(shape: MarkShape): void {
  type Processor = new (init: { track: MediaStreamTrack }) => { readable: ReadableStream<VideoFrame> };
  const { MediaStreamTrackProcessor: processor } = globalThis as unknown as { MediaStreamTrackProcessor: Processor };
  const now = (): number => performance.timeOrigin + performance.now();

  /** Reads the number in a picture; −1 where the two rows disagree. One small drawing, to be cheap. */
  function reader(): (source: CanvasImageSource, width: number, height: number) => number {
    const [cell, width] = [4, shape.bits * 4];
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = cell * 2;
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    return (source, sourceWidth, sourceHeight) => {
      const [sx, sy] = [sourceWidth / shape.width, sourceHeight / shape.height];
      const [top, height] = [shape.top * sy, shape.blockHeight * 2 * sy];
      context.drawImage(source, 0, top, shape.bits * shape.blockWidth * sx, height, 0, 0, width, cell * 2);
      const { data } = context.getImageData(0, 0, width, cell * 2);
      let mark = 0;
      for (let bit = 0; bit < shape.bits; bit++) {
        const x = bit * cell + cell / 2;
        const upper = data[((cell / 2) * width + x) * 4]!;
        const lower = data[((cell + cell / 2) * width + x) * 4]!;
        if (Math.abs(upper - lower) < 80) return -1;
        mark = mark * 2 + (upper > lower ? 1 : 0);
      }
      return mark;
    };
  }

  async function watch(seconds: number): Promise<Sighting[]> {
    const seen: Sighting[] = [];
    const mark = reader();
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const canvas = document.querySelector<HTMLCanvasElement>("canvas[data-track]");
      if (canvas === null || canvas.width < 16) continue;
      const found = mark(canvas, canvas.width, canvas.height);
      if (found >= 0 && found !== seen.at(-1)?.mark) seen.push({ mark: found, at: now() });
    }
    return seen;
  }

  async function own(seconds: number): Promise<Sighting[]> {
    const video = document.querySelector("video")!;
    const track = (video.srcObject as MediaStream).getVideoTracks()[0]!.clone();
    const frames = new processor({ track }).readable.getReader();
    const seen: Sighting[] = [];
    const mark = reader();
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      const { value, done } = await frames.read();
      if (done) break;
      const at = now();
      const found = mark(value, value.displayWidth, value.displayHeight);
      value.close();
      if (found >= 0 && found !== seen.at(-1)?.mark) seen.push({ mark: found, at });
    }
    track.stop();
    return seen;
  }

  async function hear(hz: number, seconds: number): Promise<{ tone: number; rest: number }> {
    const output = globalThis.darktower.output!;
    const analyser = new AnalyserNode(output.context, { fftSize: 4096, smoothingTimeConstant: 0 });
    output.connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const width = output.context.sampleRate / analyser.fftSize;
    const tones: number[] = [];
    const rests: number[] = [];
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      analyser.getFloatFrequencyData(bins);
      let tone = -Infinity;
      let rest = -Infinity;
      bins.forEach((level, i) => {
        const distance = Math.abs(i * width - hz);
        if (distance < 30) tone = Math.max(tone, level);
        else if (distance > 150) rest = Math.max(rest, level);
      });
      tones.push(tone);
      rests.push(rest);
    }
    output.disconnect(analyser);
    const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
    return { tone: median(tones), rest: median(rests) };
  }

  globalThis.probe = { watch, own, hear };
}
