import { idleState, type CoreState, type Track } from "../../sdk/src/snapshot.ts";
import { layersOf } from "../../sdk/src/layers.ts";
import { Media } from "../../sdk/src/worker/media.ts";

const levels: number[] = [];
let heard: string[] = [];
let packets = 0;
const media = new Media({
  encoded(handle, _temporal, key, captureUs, level, chunk, layer = 0) {
    const bytes = new Uint8Array(chunk.byteLength);
    chunk.copyTo(bytes);
    // One layer at a time, as a handler forwards.
    if (handle === 1 && layer === shownLayer) media.video({ track: 1, layer, key, behind: false, captureUs }, bytes);
    else if (handle === 2) media.audio(2, packets++, captureUs, level, bytes);
  },
  keyFrameWanted: () => media.key(1, null),
  tell: (message) => {
    if (message.type === "level") levels.push(message.level);
    if (message.type === "heard") heard = message.speaking;
  },
  mark: () => {},
});

onmessage = ({ data }) => {
  switch (data.type) {
    case "playout":
      media.playout = data.port;
      return;
    case "video": {
      const layers = layersOf("camera", data.codec, 1280, 720);
      const settings = { codec: data.codec, frameRate: 30, detail: false, layers };
      media.input({ type: "video-input", handle: 1, input: data.input, settings });
      const track = (id: number, source: Track["source"], kind: Track["kind"], codec: string): Track => ({
        id,
        source,
        kind,
        codec,
        label: "",
        muted: false,
        width: 1280,
        height: 720,
        layers: layers.length,
        ...{ replaces: 0, layer: null, temporal: null, paused: false },
      });
      const state: CoreState = {
        ...idleState,
        phase: "joined",
        participants: [
          {
            id: "b",
            name: "B",
            role: "guest",
            me: false,
            away: false,
            tracks: [track(1, "camera", "video", data.codec), track(2, "microphone", "audio", "opus")],
          },
        ],
        tracks: [
          { handle: 1, track: 1 },
          { handle: 2, track: 2 },
        ],
      };
      follow = () => media.follow(state);
      return follow();
    }
    case "audio":
      media.input({ type: "audio-input", handle: 2, input: data.input, settings: { bitrate: 32_000, voice: true } });
      return follow();
    case "attach":
      return media.attach(1, 1, data.canvas);
    case "layer":
      shownLayer = data.layer;
      return media.key(1, shownLayer);
    case "encode":
      return media.encode(1, data.layer, data.bitrate);
    case "show":
      return media.show(data.views);
    case "stats":
      media.outputLatency = data.latency;
      postMessage({
        type: "stats",
        received: media.received(),
        sent: media.sent(),
        levels: levels.splice(0).slice(-3),
        heard,
      });
  }
};

let shownLayer = 0;
let follow = (): void => {};
