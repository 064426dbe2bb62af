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
  /**
   * When the sound swells, as it leaves the own microphone or as the output plays it: wall time in ms of any swell,
   * between 0 and the `period` at which they come.
   */
  swells(where: "own" | "heard", period: number, seconds: number): Promise<number>;
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
  type Processor = new <Frame = VideoFrame>(init: { track: MediaStreamTrack }) => { readable: ReadableStream<Frame> };
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

  let microphone: MediaStreamTrack | undefined;
  const devices = navigator.mediaDevices;
  const open = devices?.getUserMedia.bind(devices);
  if (devices !== undefined) {
    devices.getUserMedia = async (wanted) => {
      const stream = await open(wanted);
      microphone = stream.getAudioTracks()[0] ?? microphone;
      return stream;
    };
  }

  async function swells(where: "own" | "heard", period: number, seconds: number): Promise<number> {
    if (where === "own") return swelling(microphone!.clone(), period, seconds);
    const output = globalThis.darktower.output!;
    const context = output.context as AudioContext;
    const ear = new MediaStreamAudioDestinationNode(context);
    output.connect(ear);
    const at = await swelling(ear.stream.getAudioTracks()[0]!, period, seconds);
    output.disconnect(ear);
    return (at + (context.baseLatency + context.outputLatency) * 1000) % period;
  }

  /** The phase of the loudness at the period, which background and codec leave alone. */
  async function swelling(track: MediaStreamTrack, period: number, seconds: number): Promise<number> {
    const pieces = new processor<AudioData>({ track }).readable.getReader();
    const loud: { at: number; level: number }[] = [];
    // A piece may be read late, but never before it was heard.
    let offset = Infinity;
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      const { value, done } = await pieces.read();
      if (done) break;
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const at = value.timestamp / 1000;
      offset = Math.min(offset, now() - value.duration / 1000 - at);
      loud.push({ at, level: samples.reduce((sum, sample) => sum + Math.abs(sample), 0) / samples.length });
      value.close();
    }
    track.stop();
    const angle = ({ at }: { at: number }): number => (2 * Math.PI * (at + offset)) / period;
    const x = loud.reduce((sum, one) => sum + one.level * Math.cos(angle(one)), 0);
    const y = loud.reduce((sum, one) => sum + one.level * Math.sin(angle(one)), 0);
    return ((Math.atan2(y, x) / (2 * Math.PI) + 1) % 1) * period;
  }

  globalThis.probe = { watch, own, hear, swells };
}
