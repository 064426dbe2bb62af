/** Cameras, microphones and speakers of this machine. */
import { MeetingError } from "../error.ts";

export interface Devices {
  cameras: MediaDeviceInfo[];
  microphones: MediaDeviceInfo[];
  speakers: MediaDeviceInfo[];
}

/** Names are empty until the person has granted access once. */
export async function listDevices(): Promise<Devices> {
  const all = await navigator.mediaDevices.enumerateDevices();
  const of = (kind: MediaDeviceKind): MediaDeviceInfo[] =>
    all.filter((device) => device.kind === kind && device.deviceId !== "");
  return { cameras: of("videoinput"), microphones: of("audioinput"), speakers: of("audiooutput") };
}

export interface CaptureOptions {
  deviceId?: string;
  /** No other device will do. */
  exact?: boolean;
  /** Leave the sound as it is: no noise suppression, echo cancellation or gain (music, measurements). */
  originalSound?: boolean;
}

/** Why nothing can be captured; `number` 0: these are this machine's own troubles. */
export type CaptureTrouble = "permission_denied" | "device_missing" | "device_busy" | "capture_failed";

/** Opens a camera, a microphone or the choice of a screen. Throws a {@link MeetingError} with a {@link CaptureTrouble}. */
export async function capture(
  source: "camera" | "microphone" | "screen",
  options: CaptureOptions = {},
): Promise<MediaStream> {
  try {
    if (source === "screen") return await openScreen();
    const deviceId = options.deviceId === undefined ? {} : { deviceId: wanted(options.deviceId, options.exact) };
    if (source === "camera") {
      return await navigator.mediaDevices.getUserMedia({
        video: { ...deviceId, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
      });
    }
    const processed = options.originalSound !== true;
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        ...deviceId,
        echoCancellation: processed,
        noiseSuppression: processed,
        autoGainControl: processed,
        channelCount: { ideal: 1 },
      },
    });
  } catch (error) {
    throw trouble(error);
  }
}

function wanted(deviceId: string, exact = false): ConstrainDOMString {
  return exact ? { exact: deviceId } : { ideal: deviceId };
}

async function openScreen(): Promise<MediaStream> {
  const options = {
    video: { frameRate: { ideal: 15, max: 30 } },
    audio: true,
    selfBrowserSurface: "exclude",
    surfaceSwitching: "include",
  };
  const stream = await navigator.mediaDevices.getDisplayMedia(options as DisplayMediaStreamOptions);
  for (const track of stream.getVideoTracks()) track.contentHint = "detail";
  return stream;
}

function trouble(error: unknown): MeetingError {
  const name = error instanceof DOMException ? error.name : "";
  const code: CaptureTrouble =
    name === "NotAllowedError" || name === "SecurityError"
      ? "permission_denied"
      : name === "NotFoundError" || name === "OverconstrainedError"
        ? "device_missing"
        : name === "NotReadableError" || name === "AbortError"
          ? "device_busy"
          : "capture_failed";
  return new MeetingError(code, 0, code !== "permission_denied", String(error));
}

/** What this browser lacks for a meeting; empty where nothing. */
export function missingFeatures(): string[] {
  const needed: Record<string, unknown> = {
    WebTransport: globalThis.WebTransport,
    VideoEncoder: globalThis.VideoEncoder,
    VideoDecoder: globalThis.VideoDecoder,
    AudioEncoder: globalThis.AudioEncoder,
    AudioDecoder: globalThis.AudioDecoder,
    AudioWorklet: globalThis.AudioWorkletNode,
    OffscreenCanvas: globalThis.OffscreenCanvas,
    WebAssembly: globalThis.WebAssembly,
    getUserMedia: (globalThis.navigator as Navigator | undefined)?.mediaDevices?.getUserMedia,
  };
  return Object.keys(needed).filter((name) => needed[name] === undefined);
}
