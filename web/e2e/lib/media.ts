/**
 * Cameras and microphones that can be recognised: a picture that carries its
 * own number in black and white blocks, and a tone.
 */
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const MARK = {
  width: 640,
  height: 360,
  fps: 30,
  frames: 180,
  bits: 10,
  blockWidth: 64,
  top: 90,
  blockHeight: 90,
} as const;

const directory = join(tmpdir(), "darktower-e2e-media");

/** A y4m file whose frame n shows n, above its complement, before a moving ground. */
export function markedCamera(shade: number): string {
  const path = join(directory, `mark-${shade}.y4m`);
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const { width, height, fps, frames } = MARK;
  const file = openSync(`${path}.part`, "w");
  writeSync(file, `YUV4MPEG2 W${width} H${height} F${fps}:1 Ip A1:1 C420jpeg\n`);
  const luma = Buffer.alloc(width * height);
  const chroma = Buffer.alloc((width * height) / 2, shade);
  for (let n = 0; n < frames; n++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) luma[y * width + x] = lumaAt(n, x, y);
    }
    writeSync(file, "FRAME\n");
    writeSync(file, luma);
    writeSync(file, chroma);
  }
  closeSync(file);
  renameSync(`${path}.part`, path);
  return path;
}

/** The same, a quarter as large. */
export function smallCamera(shade: number): string {
  return encoded(markedCamera(shade), join(directory, `mark-small-${shade}.y4m`), "-vf scale=320:180 -f yuv4mpegpipe");
}

function lumaAt(n: number, x: number, y: number): number {
  const { bits, blockWidth, top, blockHeight } = MARK;
  const row = Math.floor((y - top) / blockHeight);
  if (row !== 0 && row !== 1) return 90 + ((x + y + n * 4) % 64);
  const bit = (n >> (bits - 1 - Math.floor(x / blockWidth))) & 1;
  return (bit ^ row) === 1 ? 235 : 16;
}

/** How often the tones swell, in ms. */
export const SWELL_MS = 250;

/** A wav file of ten seconds with one tone that swells: what is steady is no voice. */
export function toneMicrophone(hz: number): string {
  const path = join(directory, `syllables-${hz}.wav`);
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const rate = 48_000;
  const samples = new Int16Array(rate * 10);
  for (let i = 0; i < samples.length; i++) {
    const swell = 0.6 - 0.4 * Math.cos((2 * Math.PI * (1000 / SWELL_MS) * i) / rate);
    samples[i] = Math.round(9000 * swell * Math.sin((2 * Math.PI * hz * i) / rate));
  }
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  writeFileSync(path, Buffer.concat([header, Buffer.from(samples.buffer)]));
  return path;
}

/** The marked camera as a bot plays it: VP8 with a key frame each second. */
export function markedClip(shade: number): string {
  const out = join(directory, `mark-${shade}.ivf`);
  return encoded(markedCamera(shade), out, "-c:v libvpx -b:v 900k -g 30 -deadline realtime -cpu-used 8 -f ivf");
}

/** The tone as a bot plays it: Opus. */
export function toneClip(hz: number): string {
  return encoded(toneMicrophone(hz), join(directory, `syllables-${hz}.ogg`), "-c:a libopus -b:a 48k -f ogg");
}

/** One encoding by ffmpeg, made once. */
export function encoded(from: string, to: string, how: string): string {
  if (existsSync(to)) return to;
  execFileSync("ffmpeg", ["-hide_banner", "-loglevel", "error", "-y", "-i", from, ...how.split(" "), `${to}.part`]);
  renameSync(`${to}.part`, to);
  return to;
}
