/** Which codecs this browser has, and which of them to publish with. */
import type { Source } from "./snapshot.ts";

/** Best first; the levels carry 1080p30 where the source is a screen, 720p30 where it is a camera. */
const CAMERA = ["vp09.00.31.08", "vp8", "avc1.42e01f"];
const SCREEN = ["av01.0.08M.08", "vp09.00.40.08", "vp8", "avc1.42e028"];
/** Those that only a machine with power to spare encodes in software. */
const HEAVY = new Set(["vp09", "av01"]);

/** "vp8", "vp09", "av01" or "avc1": profile and level set apart. */
export function family(codec: string): string {
  return codec.split(".")[0]!;
}

export function isHeavy(codec: string): boolean {
  return HEAVY.has(family(codec));
}

/** What a browser can do, codec strings. */
export interface Abilities {
  encodes: readonly string[];
  decodes: readonly string[];
}

/** Until the browser has answered, VP8 is encoded, and nothing is told of what is decoded. */
export const unasked: Abilities = { encodes: ["vp8"], decodes: [] };

/** Asks the browser. */
export async function abilities(): Promise<Abilities> {
  const all = [...new Set([...CAMERA, ...SCREEN])];
  const size = { width: 1280, height: 720 };
  const [encodes, decodes] = await Promise.all([
    supported(all, async (codec) => (await VideoEncoder.isConfigSupported({ codec, ...size })).supported),
    supported(all, async (codec) => (await VideoDecoder.isConfigSupported({ codec })).supported),
  ]);
  return { encodes, decodes };
}

async function supported(codecs: string[], ask: (codec: string) => Promise<boolean | undefined>): Promise<string[]> {
  const answers = await Promise.all(
    codecs.map((codec) =>
      ask(codec).catch((error: unknown) => {
        // A browser may throw at a string it does not know instead of saying no.
        console.debug("codec", codec, error);
        return false;
      }),
    ),
  );
  return codecs.filter((_, i) => answers[i] === true);
}

/**
 * The codec to publish a source with: the best that this end encodes and all others
 * decode, and that the machine keeps up with. VP8 where nothing fits: then at least some see it. Pure.
 */
export function choose(
  source: Source,
  own: Abilities,
  decodable: readonly string[] | null,
  keepsUp: (codec: string) => boolean,
): string {
  const fits = (codec: string): boolean =>
    own.encodes.includes(codec) && (decodable?.includes(family(codec)) ?? true) && keepsUp(codec);
  return (source === "screen" ? SCREEN : CAMERA).find(fits) ?? "vp8";
}
