/**
 * Loudness of a packet as RFC 6464 says it, and whether a voice is thought to
 * be in it. Pure.
 */

/** −dBov of samples in [−1, 1]: 0 is the loudest, 127 silence. */
export function minusDbov(samples: Float32Array): number {
  let energy = 0;
  for (const sample of samples) energy += sample * sample;
  if (energy === 0 || samples.length === 0) return 127;
  const db = 10 * Math.log10(energy / samples.length);
  return Math.min(127, Math.max(0, Math.round(-db)));
}

/** A voice stands out of the noise floor, which is followed: fast down, slowly up. */
export class VoiceDetector {
  #floor = 70;
  #hold = 0;

  /** Takes one packet's −dBov (20 ms); true while a voice is thought to speak. */
  take(level: number): boolean {
    this.#floor = level > this.#floor ? level : this.#floor - (this.#floor - level) * 0.001;
    const stands = level <= 55 && level <= Math.min(this.#floor, 80) - 9;
    // Between words a voice is still a voice: hold for 300 ms.
    this.#hold = stands ? 15 : Math.max(0, this.#hold - 1);
    return stands || this.#hold > 0;
  }
}

/** One byte for the wire: −dBov and the voice flag. */
export function levelByte(level: number, voice: boolean): number {
  return (level & 0x7f) | (voice ? 0x80 : 0);
}
