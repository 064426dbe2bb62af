/** This person's camera, microphone and screen, and what is known of the machine's devices. */
import { capture, listDevices, MeetingError, type Devices } from "@darktower/sdk";
import { loadSettings, saveSettings, type Settings } from "./memory.ts";

export type DeviceStatus = "off" | "starting" | "on" | "failed";

/** Called when a captured track begins (or, with null, ends). */
export type TrackListener = (source: "camera" | "microphone" | "screen", stream: MediaStream | null) => void;

export class OwnDevices {
  camera = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  microphone = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  screen = $state<{ status: DeviceStatus; trouble: string | null }>({ status: "off", trouble: null });
  /** Silence by choice: the microphone stays open. */
  muted = $state(false);
  cameraStream = $state.raw<MediaStream | null>(null);
  screenStream = $state.raw<MediaStream | null>(null);
  known = $state.raw<Devices>({ cameras: [], microphones: [], speakers: [] });
  settings = $state<Settings>(loadSettings());
  #microphoneStream: MediaStream | null = null;
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
      this.#listener("camera", stream);
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
    this.#listener("camera", null);
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
      this.#listener("microphone", stream);
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

  async startScreen(): Promise<void> {
    if (this.screen.status === "starting" || this.screen.status === "on") return;
    this.screen = { status: "starting", trouble: null };
    try {
      const stream = await capture("screen");
      this.screenStream = stream;
      this.screen = { status: "on", trouble: null };
      this.#watch(stream, () => this.stopScreen());
      this.#listener("screen", stream);
    } catch (error) {
      // Closing the browser's choice is an answer, not a trouble.
      const trouble = troubleOf(error);
      this.screen = trouble === "permission_denied" ? { status: "off", trouble: null } : { status: "failed", trouble };
    }
  }

  stopScreen(): void {
    if (this.screenStream === null) return;
    this.#drop(this.screenStream);
    this.screenStream = null;
    this.screen = { status: "off", trouble: null };
    this.#listener("screen", null);
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
    if (this.#microphoneStream !== null) this.#listener("microphone", this.#microphoneStream);
    if (this.cameraStream !== null) this.#listener("camera", this.cameraStream);
    if (this.screenStream !== null) this.#listener("screen", this.screenStream);
  }

  /** Lets go of everything. */
  close(): void {
    navigator.mediaDevices?.removeEventListener("devicechange", this.#refresh);
    for (const stream of [this.cameraStream, this.#microphoneStream, this.screenStream]) this.#drop(stream);
    this.cameraStream = null;
    this.#microphoneStream = null;
    this.screenStream = null;
    for (const device of ["camera", "microphone", "screen"] as const) this[device] = { status: "off", trouble: null };
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
    this.#listener(device, null);
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
