/** What this browser remembers. Storage may be forbidden: then nothing is remembered. */

export interface Settings {
  name: string;
  cameraId: string;
  microphoneId: string;
  speakerId: string;
  originalSound: boolean;
  cameraOn: boolean;
  microphoneOn: boolean;
}

const defaults: Settings = {
  name: "",
  cameraId: "",
  microphoneId: "",
  speakerId: "",
  originalSound: false,
  cameraOn: true,
  microphoneOn: true,
};

/** What is remembered, where this tab has not chosen otherwise: another tab's microphone is none of its business. */
export function loadSettings(): Settings {
  const own = parsed(read(() => sessionStorage, "darktower.devices"));
  return { ...defaults, ...parsed(read(() => localStorage, "darktower.settings")), ...own };
}

export function saveSettings(settings: Settings): void {
  const { cameraOn, microphoneOn } = settings;
  write(() => localStorage, "darktower.settings", JSON.stringify(settings));
  write(() => sessionStorage, "darktower.devices", JSON.stringify({ cameraOn, microphoneOn }));
}

function parsed(text: string | null): Partial<Settings> {
  try {
    return JSON.parse(text ?? "{}") as Partial<Settings>;
  } catch {
    // Not ours or cut short: as good as nothing.
    return {};
  }
}

/** The key that makes its holder the host of a meeting. */
export function hostKey(code: string): string | null {
  return read(() => localStorage, `darktower.host.${code}`);
}

export function keepHostKey(code: string, key: string): void {
  write(() => localStorage, `darktower.host.${code}`, key);
}

/** What takes the same seat again after a reload of this tab. */
export function resumeOf(code: string): string | null {
  return read(() => sessionStorage, `darktower.resume.${code}`);
}

export function keepResume(code: string, resume: string | null): void {
  write(() => sessionStorage, `darktower.resume.${code}`, resume);
}

function read(storage: () => Storage, key: string): string | null {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}

function write(storage: () => Storage, key: string, value: string | null): void {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // Forbidden or full; the meeting works without.
  }
}
