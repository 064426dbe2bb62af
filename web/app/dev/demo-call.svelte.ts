/** A meeting that is only a picture of one, for looking at pages. Not part of the product. */
import type { Access, AttachedVideo, Participant, Snapshot, Track, WorkerStats } from "@darktower/sdk";
import type { CallView, Stage, Trouble } from "../src/lib/call.svelte.ts";
import { OwnDevices } from "../src/lib/devices.svelte.ts";

const names = [
  "Ada Lovelace",
  "Grace Hopper",
  "Noor Inayat",
  "Tu Youyou",
  "Katherine Johnson",
  "Mary Anning",
  "Chien-Shiung Wu",
  "Rosalind Franklin",
  "Lise Meitner",
  "Vera Rubin",
  "Hedy Lamarr",
  "Emmy Noether",
];

const layered = { layers: 3, replaces: 0, layer: null, temporal: null, paused: false };

function participant(i: number): Participant {
  const camera: Track = {
    id: i * 10 + 1,
    source: "camera",
    kind: "video",
    codec: "vp8",
    label: "",
    muted: i % 4 === 3,
    width: 1280,
    height: 720,
    ...layered,
    layer: i === 2 ? 0 : 2,
    paused: i === 4,
  };
  const microphone: Track = {
    id: i * 10 + 2,
    source: "microphone",
    kind: "audio",
    codec: "opus",
    label: "",
    muted: i % 3 === 2,
    width: 0,
    height: 0,
    ...layered,
  };
  return {
    id: `${i}f00`,
    name: names[i % names.length]!,
    role: i === 0 ? "host" : "guest",
    me: i === 0,
    away: i === 5,
    tracks: i === 0 ? [] : [camera, microphone],
  };
}

/** Paints a scene: a figure before a wall, in other colours for each seed. */
function paint(canvas: HTMLCanvasElement, seed: number): void {
  canvas.width = 640;
  canvas.height = 360;
  const context = canvas.getContext("2d")!;
  const hue = (seed * 67) % 360;
  const wall = context.createLinearGradient(0, 0, 640, 360);
  wall.addColorStop(0, `hsl(${hue} 26% 46%)`);
  wall.addColorStop(1, `hsl(${hue + 40} 30% 24%)`);
  context.fillStyle = wall;
  context.fillRect(0, 0, 640, 360);
  context.fillStyle = `hsl(${hue + 180} 30% 34%)`;
  context.beginPath();
  context.ellipse(320, 400, 170, 150, 0, 0, 7);
  context.fill();
  context.fillStyle = `hsl(${22 + (seed % 3) * 6} 42% ${48 + (seed % 4) * 8}%)`;
  context.beginPath();
  context.ellipse(320, 170, 66, 84, 0, 0, 7);
  context.fill();
}

export class DemoCall implements CallView {
  snapshot = $state.raw<Snapshot>()!;
  access = $state.raw<Access | null>(null);
  level = $state(0.55);
  stage: Stage;
  trouble: Trouble | null = null;
  devices = new OwnDevices(() => {}, false);
  link = "https://meet.example/m/abc-defg-hij#k=AAECAwQFBgcICQoLDA0ODw";
  hasSecret = true;
  returning = false;
  joining = false;
  directly = false;

  constructor(stage: string, n: number, screens: number, code: string) {
    this.stage = stage as Stage;
    if (stage === "problem") this.trouble = { code, detail: "as an example", retryable: true };
    const participants = Array.from({ length: n }, (_, i) => participant(i));
    for (let i = 0; i < screens; i++)
      participants[1 + i]?.tracks.push({
        id: 999 + i,
        source: "screen",
        kind: "video",
        codec: "vp8",
        label: "",
        muted: false,
        width: 1280,
        height: 720,
        ...layered,
      });
    const meeting = {
      id: "00",
      code: "abc-defg-hij",
      title: "Weekly planning",
      max_participants: 50,
      key_in_link: true,
    };
    this.snapshot = {
      phase: stage === "meeting" ? "joined" : "lobby",
      error: null,
      meeting,
      me: { id: "0f00", name: names[0]!, role: "host" },
      participants,
      decodable: ["vp8"],
      lobby_participants: 2,
      links: { signal: "up", media: "up", media_refused: null },
      e2ee: { ready: true, epoch: 3, code: "48213 90467 11835 70294 65518 32906", members: n },
      estimates: { down_bps: 4_230_000, up_bps: 870_000, up_loss: 41 },
      speakers: [12],
      tracks: [],
      resume: null,
      counters: {},
      speaking: n > 1 ? ["1f00"] : [],
      soundBlocked: false,
      published: [],
    };
    this.access = { meeting: { ...meeting, participants: 2, created_at: "" } } as Access;
    this.devices.settings.name = "Ada Lovelace";
    this.devices.microphone = { status: "on", trouble: null };
    if (stage === "lobby" || stage === "meeting") this.#film();
  }

  /** Changes the picture, for looking at transitions. */
  change(change: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...change };
  }

  #film(): void {
    const canvas = document.createElement("canvas");
    paint(canvas, 2);
    this.devices.cameraStream = canvas.captureStream(5);
    this.devices.camera = { status: "on", trouble: null };
    setInterval(() => paint(canvas, 2), 200);
  }

  join(): void {}
  leave(): void {}
  toggleMicrophone(): void {
    this.devices.setMuted(!this.devices.muted);
  }
  toggleCamera(): void {}
  toggleScreen(): void {}
  addCamera(): void {}
  shareScreen(): void {}
  stopSource(): void {}
  stats(): Promise<WorkerStats> {
    const video = { switches: 0, freezes: 0, frozenMs: 0, longestGapMs: 40, decoding: true };
    const received = this.snapshot.participants.flatMap(({ tracks }) =>
      tracks.map((track) => ({
        ...{ track: track.id, kind: track.kind, frames: 0, keyFrames: 0, bytes: 0, decoded: 0, drawn: 0, skipped: 0 },
        ...{ decoderErrors: 0, fps: 30, width: 1280, height: 720, avSkewMs: 3, playout: null },
        video: { ...video, layer: track.layer },
      })),
    );
    const layers = [150_000, 500_000, 0].map((bitrate, layer) => ({
      ...{ layer, on: bitrate > 0, bitrate, encoded: 0, keyFrames: 0, dropped: 0, topTemporal: 2, encodeMs: 3 },
      ...{ bytes: (performance.now() * bitrate) / 8000, width: 320 * 2 ** layer, height: 180 * 2 ** layer },
    }));
    const counts = { encoded: 0, keyFrames: 0, bytes: 0, dropped: 0, width: 640, height: 360 };
    const sent = [{ handle: 1, ...counts, codec: "vp8", screen: false, shed: 1, layers }];
    return Promise.resolve({ marks: {}, received, sent, links: [], counters: {} });
  }
  attachVideo(track: number, canvas: HTMLCanvasElement, drawn: () => void): AttachedVideo {
    drawn();
    if (track >= 999) {
      canvas.width = 1280;
      canvas.height = 720;
      const context = canvas.getContext("2d")!;
      context.fillStyle = "#f7f8fb";
      context.fillRect(0, 0, 1280, 720);
      context.fillStyle = "#243049";
      context.font = "700 54px sans-serif";
      context.fillText("Roadmap", 90, 130);
      context.fillStyle = "#c9d1e3";
      for (let i = 0; i < 6; i++) context.fillRect(90, 200 + i * 76, 400 + ((i * 331) % 640), 40);
    } else paint(canvas, track);
    return { pin: () => {}, detach: () => {} };
  }
  remove(): void {}
  end(): void {}
  resumeSound(): void {}
  setSpeaker(): void {}
}
