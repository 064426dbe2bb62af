/** Camera and microphone through encoders and decoders and back, without a meeting: for looking at the media path. */
import { Player } from "../../sdk/src/audio/player.ts";
import { audioFeed, videoFeed } from "../../sdk/src/capture/input.ts";

const query = new URLSearchParams(location.search);
const stream = await navigator.mediaDevices.getUserMedia({
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
});
document.querySelector("video")!.srcObject = stream;
const worker = new Worker(new URL("./loop-worker.ts", import.meta.url), { type: "module" });
const player = new Player(() => {});
const port = await player.open();
worker.postMessage({ type: "playout", port }, [port]);
if (query.get("fallback") === "1") Reflect.deleteProperty(globalThis, "MediaStreamTrackProcessor");
const video = videoFeed(stream.getVideoTracks()[0]!);
worker.postMessage({ type: "video", input: video.input, codec: query.get("codec") ?? "vp8" }, video.transfer);
const audio = await audioFeed(stream.getAudioTracks()[0]!);
worker.postMessage({ type: "audio", input: audio.input }, audio.transfer);
const canvas = document.querySelector("canvas")!.transferControlToOffscreen();
worker.postMessage({ type: "attach", canvas }, [canvas]);

let stats: unknown = null;
worker.onmessage = (event) => {
  if (event.data.type === "stats") stats = event.data;
};
Object.assign(globalThis, {
  darktower: { output: player.output },
  loopTell: (message: unknown) => worker.postMessage(message),
  loopStats: async () => {
    stats = null;
    worker.postMessage({ type: "stats", latency: player.latencyMs });
    while (stats === null) await new Promise((resolve) => setTimeout(resolve, 10));
    return stats;
  },
});
