/** The plain picture of a meeting that this end shows; a new one replaces the older. */

export type Phase =
  "idle" | "connecting" | "lobby" | "joining" | "joined" | "reconnecting" | "left" | "ended" | "failed";

export type Source = "microphone" | "camera" | "screen" | "screen_audio";

export type Role = "guest" | "member" | "host";

export interface Track {
  id: number;
  source: Source;
  kind: "audio" | "video";
  codec: string;
  label: string;
  muted: boolean;
  width: number;
  height: number;
  /** How many layers it has. */
  layers: number;
  /** The track whose place it takes once that one is gone; 0: none. */
  replaces: number;
  /** The layer and temporal layer that this end gets; null where nothing was said of it. */
  layer: number | null;
  temporal: number | null;
  /** Shown here, but the path does not carry it: nothing comes. */
  paused: boolean;
}

export interface Participant {
  id: string;
  name: string;
  role: Role;
  me: boolean;
  /** The seat is held, nobody is on it. */
  away: boolean;
  tracks: Track[];
}

/** The part of the picture that the participant's core keeps. */
export interface CoreState {
  phase: Phase;
  error: null | { code: string; number: number; retryable: boolean; detail: string };
  meeting: null | {
    id: string;
    code: string;
    title: string;
    max_participants: number;
    key_in_link: boolean;
  };
  me: null | { id: string; name: string; role: Role };
  participants: Participant[];
  /** Families of codecs that all the others decode; null where anything will do. */
  decodable: readonly string[] | null;
  lobby_participants: number;
  /** `media_refused`: the code with which the media handler refuses this end for the moment. */
  links: { signal: LinkState; media: LinkState; media_refused: string | null };
  e2ee: {
    ready: boolean;
    epoch: number;
    /** `12345 67890 …`: equal on every screen, or empty. */
    code: string;
    members: number;
  };
  /** What the paths of the media link are believed to carry, bits per second; the loss in thousandths. */
  estimates: { down_bps: number | null; up_bps: number | null; up_loss: number | null };
  /** Audio tracks that are forwarded to this end, the active speaker's first. */
  speakers: readonly number[];
  tracks: { handle: number; track: number | null }[];
  /** Opens the same seat after a reload; belongs in sessionStorage only. */
  resume: string | null;
  counters: Record<string, number>;
}

export type LinkState = "connecting" | "up" | "down";

/** What {@link Meeting} shows. */
export interface Snapshot extends CoreState {
  /** Who is heard right now, ids of participants. */
  speaking: readonly string[];
  /** The browser keeps sound off until a click. */
  soundBlocked: boolean;
  /** Own tracks as published. */
  published: readonly { handle: number; source: Source; muted: boolean }[];
}

export const idleState: CoreState = {
  phase: "idle",
  error: null,
  meeting: null,
  me: null,
  participants: [],
  decodable: null,
  lobby_participants: 0,
  links: { signal: "down", media: "down", media_refused: null },
  e2ee: { ready: false, epoch: 0, code: "", members: 0 },
  estimates: { down_bps: null, up_bps: null, up_loss: null },
  speakers: [],
  tracks: [],
  resume: null,
  counters: {},
};
