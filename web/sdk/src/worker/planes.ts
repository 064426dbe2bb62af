/** Captured sound as channels at 48 kHz, whatever the device gives. */

export const SAMPLE_RATE = 48_000;

/** `wanted` channels of `data`: one is the mean of all, two are the first two (or the only one twice). */
export function planes(data: AudioData, wanted: 1 | 2): Float32Array[] {
  const channels = Array.from({ length: data.numberOfChannels }, (_, planeIndex) => {
    const channel = new Float32Array(data.numberOfFrames);
    data.copyTo(channel, { planeIndex, format: "f32-planar" });
    return channel;
  });
  const picked = wanted === 1 ? [mean(channels)] : [channels[0]!, channels[1] ?? channels[0]!];
  return data.sampleRate === SAMPLE_RATE ? picked : picked.map((one) => resample(one, data.sampleRate));
}

function mean(channels: Float32Array[]): Float32Array {
  const [first, ...others] = channels as [Float32Array, ...Float32Array[]];
  for (const other of others) other.forEach((sample, i) => (first[i]! += sample));
  if (others.length > 0) first.forEach((sample, i) => (first[i] = sample / channels.length));
  return first;
}

/** Linear interpolation: microphones that do not run at 48 kHz are rare. */
export function resample(samples: Float32Array, rate: number): Float32Array {
  const out = new Float32Array(Math.round((samples.length * SAMPLE_RATE) / rate));
  for (let i = 0; i < out.length; i++) {
    const at = Math.min(samples.length - 1, (i * rate) / SAMPLE_RATE);
    const low = Math.floor(at);
    const high = Math.min(samples.length - 1, low + 1);
    out[i] = samples[low]! + (samples[high]! - samples[low]!) * (at - low);
  }
  return out;
}
