/**
 * Hands a captured track's frames to the worker. Where the browser has stream
 * processors (Chromium) no frame passes through this thread; elsewhere frames
 * are taken from a hidden `<video>` and an audio worklet.
 */
import type { AudioInput, VideoInput } from "../messages.ts";
import { workletUrl } from "../audio/url.ts";

/** Something to transfer to the worker, and how to let go of it. */
export interface Feed<Input> {
  input: Input;
  transfer: Transferable[];
  stop(): void;
}

interface Processor<Frame> {
  readonly readable: ReadableStream<Frame>;
}

type ProcessorOf<Frame> = new (init: { track: MediaStreamTrack; maxBufferSize?: number }) => Processor<Frame>;

function processor<Frame>(): ProcessorOf<Frame> | undefined {
  return (globalThis as { MediaStreamTrackProcessor?: ProcessorOf<Frame> }).MediaStreamTrackProcessor;
}

export function videoFeed(track: MediaStreamTrack): Feed<VideoInput> {
  const Processor = processor<VideoFrame>();
  if (Processor === undefined) return videoByElement(track);
  const { readable } = new Processor({ track, maxBufferSize: 2 });
  return { input: { readable }, transfer: [readable], stop: () => {} };
}

export async function audioFeed(track: MediaStreamTrack): Promise<Feed<AudioInput>> {
  const Processor = processor<AudioData>();
  if (Processor === undefined) return audioByWorklet(track);
  const { readable } = new Processor({ track, maxBufferSize: 50 });
  return { input: { readable }, transfer: [readable], stop: () => {} };
}

/** The worker keeps the beat (it is not slowed down in a hidden tab) and asks for each frame. */
function videoByElement(track: MediaStreamTrack): Feed<VideoInput> {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  video.play().catch((error: unknown) => console.warn("the capture element does not play", error));
  const { port1: here, port2: there } = new MessageChannel();
  let shown = -1;
  here.onmessage = () => {
    if (video.readyState < 2 || video.currentTime === shown) return;
    shown = video.currentTime;
    const frame = new VideoFrame(video, { timestamp: Math.round(performance.now() * 1000) });
    here.postMessage(frame, [frame]);
  };
  const stop = (): void => {
    here.close();
    video.srcObject = null;
  };
  return { input: { port: there }, transfer: [there], stop };
}

async function audioByWorklet(track: MediaStreamTrack): Promise<Feed<AudioInput>> {
  const context = new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
  await context.audioWorklet.addModule(workletUrl);
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const capture = new AudioWorkletNode(context, "darktower-capture", { numberOfOutputs: 0 });
  const { port1: here, port2: there } = new MessageChannel();
  capture.port.postMessage(here, [here]);
  source.connect(capture);
  const stop = (): void => {
    source.disconnect();
    void context.close();
  };
  return { input: { port: there }, transfer: [there], stop };
}
