/** This person's camera, microphone and screen, and what is known of the machine's devices. */
import { capture, listDevices, MeetingError, type Devices } from "@darktower/sdk";
import type { OwnSource } from "./tiles.ts";
import { loadSettings, saveSettings, type Settings } from "./memory.ts";

export type DeviceStatus = "off" | "starting" | "on" | "failed";

/** Called when a captured source begins (or, with null, ends); `id` tells several of a kind apart. */
export type TrackListener = (
  source: "camera" | "microphone" | "screen",
  id: string,
  stream: MediaStream | null,
) => void;

export class OwnDevices {
  camera = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  microphone = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  screen = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  moreCamera = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  /** Silence by choice: the microphone stays open. */
  muted = $state(false);
  cameraStream = $state.raw<MediaStream | null>(null);
  /** Screens, and cameras beside the first, in the order in which they were added. */
  more = $state.raw<OwnSource[]>([]);
  known = $state.raw<Devices>({ cameras: [], microphones: [], speakers: [] });
  settings = $state<Settings>(loadSettings());
  #microphoneStream: MediaStream | null = null;
  #nextSource = 1;
  readonly #listener: TrackListener;
  readonly #refresh = (): void => void this.refresh();

  constructor(listener: TrackListener, originalSound: boolean) {
    this.#listener = listener;
    this.muted = !this.settings.microphoneOn;
    if (originalSound) this.settings.originalSound = true;
    navigator.mediaDevices?.addEventListener("devicechange", this.#refresh);
  }

  /** Opens what was on the last time. */
  async begin(): Promise<void> {
    const { cameraOn } = this.settings;
    await Promise.all([this.startMicrophone(), cameraOn ? this.startCamera() : Promise.resolve()]);
  }

  async refresh(): Promise<void> {
    try {
      this.known = await listDevices();
    } catch (error) {
      console.warn("devices cannot be listed", error);
    }
  }

  async startCamera(): Promise<void> {
    if (this.camera.status === "starting") return;
    this.camera = { status: "starting", trouble: null };
    try {
      const stream = await capture("camera", deviceId(this.settings.cameraId));
      this.#drop(this.cameraStream);
      this.cameraStream = stream;
      this.camera = { status: "on", trouble: null };
      this.#watch(stream, () => this.#lost("camera"));
      this.#listener("camera", "camera", stream);
      this.#remember({ cameraOn: true });
    } catch (error) {
      this.camera = { status: "failed", trouble: troubleOf(error) };
    }
    await this.refresh();
  }

  stopCamera(): void {
    this.#drop(this.cameraStream);
    this.cameraStream = null;
    this.camera = { status: "off", trouble: null };
    this.#listener("camera", "camera", null);
    this.#remember({ cameraOn: false });
  }

  async startMicrophone(): Promise<void> {
    if (this.microphone.status === "starting") return;
    this.microphone = { status: "starting", trouble: null };
    try {
      const options = { ...deviceId(this.settings.microphoneId), originalSound: this.settings.originalSound };
      const stream = await capture("microphone", options);
      this.#drop(this.#microphoneStream);
      this.#microphoneStream = stream;
      for (const track of stream.getTracks()) track.enabled = !this.muted;
      this.microphone = { status: "on", trouble: null };
      this.#watch(stream, () => this.#lost("microphone"));
      this.#listener("microphone", "microphone", stream);
    } catch (error) {
      this.microphone = { status: "failed", trouble: troubleOf(error) };
    }
    await this.refresh();
  }

  setMuted(muted: boolean): void {
    this.muted = muted;
    for (const track of this.#microphoneStream?.getTracks() ?? []) track.enabled = !muted;
    this.#remember({ microphoneOn: !muted });
  }

  /** Shares a screen, window or tab, beside those that are shared already. */
  async shareScreen(): Promise<void> {
    await this.#add("screen", () => capture("screen"), "", "");
  }

  /** Adds a camera beside the first. */
  async addCamera(deviceId: string): Promise<void> {
    const label = this.known.cameras.find((one) => one.deviceId === deviceId)?.label ?? "";
    await this.#add("camera", () => capture("camera", { deviceId, exact: true }), label, deviceId);
  }

  async #add(
    kind: OwnSource["kind"],
    open: () => Promise<MediaStream>,
    label: string,
    deviceId: string,
  ): Promise<void> {
    const device = kind === "screen" ? "screen" : "moreCamera";
    if (this[device].status === "starting") return;
    this[device] = { status: "starting", trouble: null };
    try {
      const stream = await open();
      const id = `${kind}-${this.#nextSource++}`;
      this.more = [...this.more, { id, kind, stream, label, deviceId }];
      this[device] = { status: "on", trouble: null };
      this.#watch(stream, () => this.stopSource(id));
      this.#listener(kind, id, stream);
    } catch (error) {
      // Closing the browser's choice is an answer, not a trouble.
      const trouble = troubleOf(error);
      const answered = kind === "screen" && trouble === "permission_denied";
      this[device] = answered ? { status: this.#status(kind), trouble: null } : { status: "failed", trouble };
    }
  }

  /** Ends a screen or a further camera. */
  stopSource(id: string): void {
    const source = this.more.find((one) => one.id === id);
    if (source === undefined) return;
    this.#drop(source.stream);
    this.more = this.more.filter((one) => one !== source);
    const device = source.kind === "screen" ? "screen" : "moreCamera";
    this[device] = { status: this.#status(source.kind), trouble: null };
    this.#listener(source.kind, id, null);
  }

  stopScreens(): void {
    for (const { id, kind } of this.more) if (kind === "screen") this.stopSource(id);
  }

  #status(kind: OwnSource["kind"]): DeviceStatus {
    return this.more.some((one) => one.kind === kind) ? "on" : "off";
  }

  /** Another device, or another treatment of sound. */
  async choose(change: Partial<Settings>): Promise<void> {
    this.#remember(change);
    const camera = change.cameraId !== undefined && this.camera.status === "on";
    const microphone = change.microphoneId !== undefined || change.originalSound !== undefined;
    await Promise.all([camera ? this.startCamera() : null, microphone ? this.startMicrophone() : null]);
  }

  rememberName(name: string): void {
    this.#remember({ name });
  }

  /** Says again what is captured, to a listener that begins anew. */
  republish(): void {
    if (this.#microphoneStream !== null) this.#listener("microphone", "microphone", this.#microphoneStream);
    if (this.cameraStream !== null) this.#listener("camera", "camera", this.cameraStream);
    for (const { kind, id, stream } of this.more) this.#listener(kind, id, stream);
  }

  /** Lets go of everything. */
  close(): void {
    navigator.mediaDevices?.removeEventListener("devicechange", this.#refresh);
    const more = this.more.map(({ stream }) => stream);
    for (const stream of [this.cameraStream, this.#microphoneStream, ...more]) this.#drop(stream);
    this.cameraStream = null;
    this.#microphoneStream = null;
    this.more = [];
    for (const device of ["camera", "microphone", "screen", "moreCamera"] as const) {
      this[device] = { status: "off", trouble: null };
    }
  }

  #remember(change: Partial<Settings>): void {
    Object.assign(this.settings, change);
    saveSettings($state.snapshot(this.settings));
  }

  #watch(stream: MediaStream, ended: () => void): void {
    const [track] = stream.getVideoTracks().length > 0 ? stream.getVideoTracks() : stream.getAudioTracks();
    track?.addEventListener("ended", ended, { once: true });
  }

  /** A device was unplugged. */
  #lost(device: "camera" | "microphone"): void {
    if (device === "camera") this.cameraStream = null;
    else this.#microphoneStream = null;
    this[device] = { status: "failed", trouble: "device_missing" };
    this.#listener(device, device, null);
  }

  #drop(stream: MediaStream | null): void {
    for (const track of stream?.getTracks() ?? []) track.stop();
  }
}

function deviceId(id: string): { deviceId?: string } {
  return id === "" ? {} : { deviceId: id };
}

function troubleOf(error: unknown): string {
  return error instanceof MeetingError ? error.code : "capture_failed";
}
