/** One visit to a meeting: from the link to the seat, with this person's devices. */
import {
  invitationLink,
  lookup,
  Meeting,
  MeetingError,
  missingFeatures,
  Trace,
  type Access,
  type AttachedVideo,
  type Invitation,
  type Snapshot,
  type WorkerStats,
} from "@darktower/sdk";
import { OwnDevices } from "./devices.svelte.ts";
import { hostKey, keepResume, resumeOf } from "./memory.ts";
import type { Wishes } from "./place.svelte.ts";
import { takeTold } from "./told.ts";

export type Stage = "entering" | "link_needed" | "problem" | "lobby" | "meeting" | "left";

export interface Trouble {
  code: string;
  detail: string;
  retryable: boolean;
}

/** What pages show and do; the development gallery has another one of these. */
export interface CallView {
  readonly stage: Stage;
  readonly snapshot: Snapshot;
  readonly access: Access | null;
  readonly trouble: Trouble | null;
  readonly devices: OwnDevices;
  readonly level: number;
  readonly link: string;
  readonly hasSecret: boolean;
  readonly returning: boolean;
  readonly joining: boolean;
  readonly directly: boolean;
  join(name: string): void;
  leave(): void;
  toggleMicrophone(): void;
  toggleCamera(): void;
  toggleScreen(): void;
  addCamera(deviceId: string): void;
  shareScreen(): void;
  stopSource(id: string): void;
  attachVideo(track: number, canvas: HTMLCanvasElement, drawn: () => void): AttachedVideo;
  stats(): Promise<WorkerStats>;
  remove(participant: string): void;
  end(): void;
  resumeSound(): void;
  setSpeaker(deviceId: string): void;
}

/** A seat that cannot be taken again is no reason to stay outside. */
const SEAT_GONE = new Set(["resume_unknown", "seat_expired", "token_expired", "token_invalid"]);

/** Own devices wait so long for the first picture of somebody else, and so long after it: until it is on the screen. */
const PICTURE_MS = 1000;
const SHOWN_MS = 150;

export class Call implements CallView {
  snapshot = $state.raw<Snapshot>()!;
  access = $state.raw<Access | null>(null);
  level = $state(0);
  returning = $state(false);
  joining = $state(false);
  readonly devices: OwnDevices;
  readonly directly: boolean;
  readonly #invitation: Invitation;
  readonly #trace: Trace;
  readonly #abort = new AbortController();
  #trouble = $state.raw<Trouble | null>(null);
  #linkNeeded = $state(false);
  #meeting: Meeting;
  /** The meeting's numbers of what is captured, by the capture's id. */
  readonly #handles = new Map<string, number>();
  readonly #codec: string | null;
  readonly #wishes: Wishes;
  #devicesAsked = false;
  #devicesTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(invitation: Invitation, wishes: Wishes, accessToken: string | null) {
    this.#invitation = invitation;
    this.directly = wishes.join;
    this.#codec = wishes.codec;
    this.#wishes = wishes;
    this.devices = new OwnDevices((...captured) => this.#captured(...captured), wishes.originalSound);
    if (wishes.name !== null) this.devices.rememberName(wishes.name);
    const told = takeTold(invitation.code);
    this.#trace = new Trace(told?.traceparent);
    const missing = missingFeatures();
    this.#meeting = this.#newMeeting();
    if (missing.length > 0) {
      this.#trouble = { code: "browser_too_old", detail: `missing: ${missing.join(", ")}`, retryable: false };
      return;
    }
    if (this.directly) this.#meeting.mark("click");
    const resume = resumeOf(invitation.code);
    this.returning = resume !== null;
    // What the page was told is told to a guest.
    const isGuest = accessToken === null && hostKey(invitation.code) === null;
    if (told !== null && isGuest) this.#admitted(told.access, resume);
    else void this.#enter(accessToken, resume);
    if (!this.directly && resume === null) this.#beginDevices();
  }

  /** For the lobby at once; without one not before the first picture, since opening devices holds it up. */
  #beginDevices(): void {
    if (this.#devicesAsked) return;
    this.#devicesAsked = true;
    this.#meeting.learnCodecs();
    if (!this.#wishes.devicesOff) void this.devices.begin();
  }

  /** Where there is no picture to wait for, now; where one does not come, after a moment. */
  #beginDevicesSoon({ participants }: Snapshot): void {
    const shows = participants.some(({ me, tracks }) => !me && tracks.some((it) => it.kind === "video" && !it.muted));
    if (shows) this.#beginDevicesIn(PICTURE_MS);
    else this.#beginDevices();
  }

  #beginDevicesIn(ms: number): void {
    clearTimeout(this.#devicesTimer);
    this.#devicesTimer = setTimeout(() => this.#beginDevices(), ms);
  }

  get stage(): Stage {
    if (this.trouble !== null) return "problem";
    if (this.#linkNeeded) return "link_needed";
    switch (this.snapshot.phase) {
      case "joined":
      case "reconnecting":
        return "meeting";
      case "left":
        return "left";
      default:
        return this.directly || this.returning || this.access === null ? "entering" : "lobby";
    }
  }

  get trouble(): Trouble | null {
    if (this.#trouble !== null) return this.#trouble;
    const { phase, error } = this.snapshot;
    if (phase === "ended")
      return { code: error?.code ?? "meeting_ended", detail: error?.detail ?? "", retryable: false };
    if (phase === "failed") return error ?? { code: "internal", detail: "", retryable: true };
    return null;
  }

  get link(): string {
    return invitationLink(location.origin, this.#invitation);
  }

  get hasSecret(): boolean {
    return this.#invitation.secret !== null;
  }

  /** For measurements and the console. */
  get meeting(): Meeting {
    return this.#meeting;
  }

  join(name: string): void {
    this.devices.rememberName(name);
    this.joining = true;
    this.#meeting.join(name);
  }

  leave(): void {
    keepResume(this.#invitation.code, null);
    clearTimeout(this.#devicesTimer);
    this.#meeting.leave();
    this.devices.close();
  }

  toggleMicrophone(): void {
    const { devices } = this;
    if (devices.microphone.status === "failed" || devices.microphone.status === "off") {
      devices.setMuted(false);
      return void devices.startMicrophone();
    }
    devices.setMuted(!devices.muted);
    const handle = this.#handles.get("microphone");
    if (handle !== undefined) this.#meeting.mute(handle, devices.muted);
  }

  toggleCamera(): void {
    if (this.devices.camera.status === "on") this.devices.stopCamera();
    else void this.devices.startCamera();
  }

  toggleScreen(): void {
    if (this.devices.more.some((one) => one.kind === "screen")) this.devices.stopScreens();
    else this.shareScreen();
  }

  shareScreen(): void {
    void this.devices.shareScreen();
  }

  addCamera(deviceId: string): void {
    void this.devices.addCamera(deviceId);
  }

  stopSource(id: string): void {
    this.devices.stopSource(id);
  }

  attachVideo(track: number, canvas: HTMLCanvasElement, drawn: () => void): AttachedVideo {
    return this.#meeting.attachVideo(track, canvas, () => {
      if (!this.#devicesAsked) this.#beginDevicesIn(SHOWN_MS);
      drawn();
    });
  }

  stats(): Promise<WorkerStats> {
    return this.#meeting.stats();
  }

  remove(participant: string): void {
    this.#meeting.remove(participant);
  }

  end(): void {
    this.#meeting.end();
  }

  resumeSound(): void {
    void this.#meeting.resumeSound();
  }

  setSpeaker(deviceId: string): void {
    void this.devices.choose({ speakerId: deviceId });
    this.#meeting.setSpeaker(deviceId).catch((error: unknown) => console.warn("the speaker cannot be used", error));
  }

  /** The visit is over; a seat not given up stays held for a return. */
  close(): void {
    this.#abort.abort();
    clearTimeout(this.#devicesTimer);
    this.devices.close();
    this.#meeting.close();
  }

  #newMeeting(): Meeting {
    const meeting = new Meeting({ traceparent: () => this.#trace.traceparent(), codec: this.#codec });
    meeting.subscribe((snapshot) => this.#changed(snapshot));
    meeting.onLevel((level) => (this.level = level));
    return meeting;
  }

  async #enter(accessToken: string | null, resume: string | null): Promise<void> {
    const { code } = this.#invitation;
    try {
      const key = hostKey(code);
      const access = await lookup(code, {
        traceparent: this.#trace.traceparent(),
        signal: this.#abort.signal,
        ...(accessToken !== null ? { accessToken } : key !== null ? { hostKey: key } : {}),
      });
      this.#admitted(access, resume);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      if (error instanceof MeetingError) this.#trouble = error;
      else this.#trouble = { code: "internal", detail: String(error), retryable: true };
    }
  }

  #admitted(access: Access, resume: string | null): void {
    const { secret } = this.#invitation;
    this.access = access;
    if (access.meeting.key_in_link && secret === null) {
      this.#linkNeeded = true;
      return;
    }
    this.#meeting.enter(access, { linkSecret: secret, resume, hostKey: hostKey(access.meeting.code) });
    if (this.directly && resume === null) this.join(this.devices.settings.name || "Guest");
  }

  #changed(snapshot: Snapshot): void {
    const { code } = this.#invitation;
    const before = this.snapshot as Snapshot | undefined;
    if (snapshot.resume !== null && snapshot.resume !== before?.resume) keepResume(code, snapshot.resume);
    const over = snapshot.phase === "left" || snapshot.phase === "ended" || snapshot.phase === "failed";
    if (over && before?.phase !== snapshot.phase) {
      keepResume(code, null);
      if (this.returning && SEAT_GONE.has(snapshot.error?.code ?? "")) return this.#anew();
      this.devices.close();
    }
    if (snapshot.phase === "joined") {
      this.returning = false;
      this.joining = false;
      if (before?.phase !== "joined") this.#beginDevicesSoon(snapshot);
      if (before?.phase !== "joined") this.#useSpeaker();
    }
    this.snapshot = snapshot;
  }

  /** The seat is gone: enter as anybody does. */
  #anew(): void {
    this.#meeting.close();
    this.#meeting = this.#newMeeting();
    this.#handles.clear();
    this.returning = false;
    this.devices.republish();
    void this.#enter(null, null);
  }

  #useSpeaker(): void {
    const { speakerId } = this.devices.settings;
    if (speakerId !== "") this.setSpeaker(speakerId);
  }

  #captured(source: "camera" | "microphone" | "screen", id: string, stream: MediaStream | null): void {
    // The first camera and the microphone keep their track when they are off; what was added goes.
    if (id !== source) return this.#capturedMore(source, id, stream);
    const track = (source === "microphone" ? stream?.getAudioTracks()[0] : stream?.getVideoTracks()[0]) ?? null;
    const handle = this.#handles.get(source);
    if (handle === undefined) {
      const muted = source === "microphone" && this.devices.muted;
      if (track !== null) this.#handles.set(source, this.#meeting.publish(source, track, { muted }));
      return;
    }
    this.#meeting.replace(handle, track);
    this.#meeting.mute(handle, track === null || (source === "microphone" && this.devices.muted));
  }

  #capturedMore(source: "camera" | "microphone" | "screen", id: string, stream: MediaStream | null): void {
    const sound = `${id}/sound`;
    for (const key of [id, sound]) {
      const handle = this.#handles.get(key);
      if (handle !== undefined) this.#meeting.unpublish(handle);
      this.#handles.delete(key);
    }
    const [video, audio] = [stream?.getVideoTracks()[0], stream?.getAudioTracks()[0]];
    if (video !== undefined) this.#handles.set(id, this.#meeting.publish(source, video));
    if (audio !== undefined) this.#handles.set(sound, this.#meeting.publish("screen_audio", audio));
  }
}
