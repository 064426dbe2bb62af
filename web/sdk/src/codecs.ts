/** Which codecs this browser has, and which of them to publish with. */
import type { Participant, Source } from "./snapshot.ts";

/** Best first; the levels carry 1080p30 where the source is a screen, 720p30 where it is a camera. */
const CAMERA = ["vp09.00.31.08", "vp8", "avc1.42e01f"];
const SCREEN = ["av01.0.08M.08", "vp09.00.40.08", "vp8", "avc1.42e028"];
/** What everybody decodes who says nothing. */
const SAFE = ["vp8"];
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

/** What is assumed until the browser has answered. */
export const assumed: Abilities = { encodes: SAFE, decodes: SAFE };

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

/** The families that all of the others decode; `null` while there are none. Pure. */
export function sharedFamilies(participants: readonly Participant[]): Set<string> | null {
  let shared: Set<string> | null = null;
  for (const { me, tracks } of participants) {
    if (me) continue;
    const said = tracks.find((track) => track.decodes.length > 0)?.decodes ?? SAFE;
    const families = new Set(said.map(family));
    shared = shared === null ? families : intersection(shared, families);
  }
  return shared;
}

function intersection(one: Set<string>, other: Set<string>): Set<string> {
  return new Set([...one].filter((family) => other.has(family)));
}

/**
 * The codec to publish a source with: the best that this end encodes and all others
 * decode, and that the machine keeps up with. VP8 where nothing fits: then at least some see it. Pure.
 */
export function choose(
  source: Source,
  own: Abilities,
  shared: Set<string> | null,
  keepsUp: (codec: string) => boolean,
): string {
  const fits = (codec: string): boolean =>
    own.encodes.includes(codec) && (shared?.has(family(codec)) ?? true) && keepsUp(codec);
  return (source === "screen" ? SCREEN : CAMERA).find(fits) ?? "vp8";
}
