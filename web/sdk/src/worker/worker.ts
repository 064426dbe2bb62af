/**
 * The one worker of a meeting: the core and its keys, both WebTransport
 * sessions, every encoder and decoder live here and nowhere else.
 */
import { Core, type Effects, type LinkId, MEDIA, SIGNAL } from "./core.ts";
import { code as codes } from "../error.ts";
import { Link } from "./links.ts";
import { Media } from "./media.ts";
import type { Mark, ToPage, ToWorker } from "../messages.ts";
import type { CoreState } from "../snapshot.ts";

const links = new Map<LinkId, Link>();
/** Those that are being opened beside one that is silent. */
const besides = new Map<LinkId, Link>();
const marks: Partial<Record<Mark, number>> = {};
let counters: Record<string, number> = {};

/** Commands that came while the module loads. */
const early: ((core: Core) => void)[] = [];
let core: Core | null = null;

function tell(message: ToPage): void {
  postMessage(message);
}

tell({ type: "started" });

/** Notes the first time something happened. */
function mark(name: Mark): void {
  if (marks[name] !== undefined) return;
  const at = performance.timeOrigin + performance.now();
  marks[name] = at;
  performance.mark(name);
  tell({ type: "mark", name, at });
}

/** Runs `use` with the core, now or once it is loaded. */
function withCore(use: (core: Core) => void): void {
  if (core === null) early.push(use);
  else use(core);
}

const media = new Media({
  encoded: (...chunk) => core?.encoded(...chunk),
  keyFrameWanted: (track) => core?.keyFrameWanted(track),
  tell,
  mark,
});

function open(id: LinkId, url: string, hashes: Uint8Array<ArrayBuffer>[]): Link {
  const link = new Link(id, url, hashes, {
    linkUp(_, maxDatagram) {
      if (besides.get(id) === link) return core?.linkBeside(id);
      mark(id === SIGNAL ? "signal_ready" : "media_ready");
      core?.linkUp(id, maxDatagram);
    },
    linkDown(_, code) {
      if (besides.get(id) === link) besides.delete(id);
      else core?.linkDown(id, code);
    },
    streamData: (_, stream, bytes, fin) => core?.streamData(id, stream, bytes, fin),
    streamEnd: (_, stream) => core?.streamEnd(id, stream),
    streamReset: (_, stream) => core?.streamReset(id, stream),
    streamBacklog: (_, stream, bytes) => core?.streamBacklog(id, stream, bytes),
    datagram: (bytes) => core?.datagram(bytes),
  });
  return link;
}

const effects: Effects = {
  connect(link, beside, url, hashes) {
    effects.keep(link);
    if (!beside) links.get(link)?.close(0, "");
    (beside ? besides : links).set(link, open(link, url, hashes));
  },
  keep(link) {
    besides.get(link)?.abandon();
    besides.delete(link);
  },
  replace(id) {
    const link = besides.get(id);
    besides.delete(id);
    links.get(id)?.close(0, "");
    // The core is in the middle of saying what it wants.
    if (link === undefined) return queueMicrotask(() => core?.linkDown(id, codes.connectFailed));
    links.set(id, link);
    if (link.stands) queueMicrotask(() => links.get(id) === link && core?.linkUp(id, link.maxDatagram));
  },
  close(link, code, reason) {
    effects.keep(link);
    links.get(link)?.close(code, reason);
  },
  openUni: (link, stream, priority) => links.get(link)?.openUni(stream, priority),
  openBi: (link, stream) => links.get(link)?.openBi(stream),
  write: (link, stream, bytes, fin) => links.get(link)?.write(stream, bytes, fin),
  reset: (link, stream, code) => links.get(link)?.reset(stream, code),
  stop: (link, stream, code) => links.get(link)?.stop(stream, code),
  datagram: (link, bytes) => links.get(link)?.datagram(bytes),
  video(picture, bytes) {
    mark("first_frame_decrypted");
    media.video(picture, bytes);
  },
  audio: (...packet) => media.audio(...packet),
  keyFrame: (handle, layer) => media.key(handle, layer),
  encode: (handle, layer, bitrate) => media.encode(handle, layer, bitrate),
  state(state: CoreState) {
    counters = state.counters;
    if (state.phase === "joined") mark("joined");
    if (state.e2ee.ready) mark("keys_ready");
    media.follow(state);
    tell({ type: "state", state });
  },
  event: (event) => tell({ type: "event", event }),
  broken(detail) {
    core = null;
    early.length = 0;
    for (const link of [...links.values(), ...besides.values()]) link.close(0, "");
    media.end();
    tell({ type: "fatal", detail });
  },
};

onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  switch (message.type) {
    case "core":
      return void Core.start(message.module, effects).then(loaded, (error: unknown) => effects.broken(String(error)));
    case "command":
      if (message.command.do === "enter" || message.command.do === "resume") mark("enter");
      if (message.command.do === "show") media.show(message.command.views);
      return withCore((ready) => ready.command(message.command));
    case "trial":
      return media.tryOut(message.handle, message.settings);
    case "video-input":
    case "audio-input":
      return media.input(message);
    case "input-end":
      return media.inputEnd(message.handle, false);
    case "input-forget":
      return media.inputEnd(message.handle, true);
    case "mute":
      return media.mute(message.handle, message.muted);
    case "attach":
      return media.attach(message.track, message.view, message.canvas);
    case "detach":
      return media.detach(message.view);
    case "playout":
      media.playout = message.port;
      return;
    case "latency":
      media.outputLatency = message.ms;
      return;
    case "stats":
      return tell({
        type: "stats",
        id: message.id,
        stats: {
          marks,
          received: media.received(),
          sent: media.sent(),
          links: [SIGNAL, MEDIA].flatMap((link) => {
            const known = links.get(link);
            return known === undefined ? [] : [{ link, ...known.counts }];
          }),
          counters: {
            ...counters,
            ...Object.fromEntries(Array.from(core?.refused ?? [], ([code, n]) => [`core_refused_${code}`, n])),
          },
        },
      });
  }
};

function loaded(started: Core): void {
  core = started;
  mark("core_ready");
  for (const use of early.splice(0)) use(started);
}
