import { idleState, type CoreState, type Track } from "../../sdk/src/snapshot.ts";
import { Media } from "../../sdk/src/worker/media.ts";

const levels: number[] = [];
let heard: string[] = [];
const media = new Media({
  encoded(handle, _temporal, key, captureUs, level, chunk) {
    const bytes = new Uint8Array(chunk.byteLength);
    chunk.copyTo(bytes);
    if (handle === 1) media.video(1, key, captureUs, bytes);
    else media.audio(2, captureUs, level & 0x7f, bytes);
  },
  keyFrameWanted: () => media.key(1),
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
      const settings = {
        codec: data.codec,
        maxWidth: 640,
        maxHeight: 360,
        bitrate: 700_000,
        frameRate: 30,
        temporalLayers: 2 as const,
        detail: false,
      };
      media.input({ type: "video-input", handle: 1, input: data.input, settings });
      const track = (id: number, source: Track["source"], kind: Track["kind"], codec: string): Track => ({
        id,
        source,
        kind,
        codec,
        label: "",
        muted: false,
        width: 640,
        height: 360,
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

let follow = (): void => {};
