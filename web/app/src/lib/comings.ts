import type { Participant } from "@darktower/sdk";
import { t } from "./messages.ts";

/** What to announce between two pictures of who is here. Pure. */
export function comings(before: readonly Participant[], now: readonly Participant[]): string[] {
  const known = new Map(before.map((one) => [one.id, one]));
  const here = new Set(now.map((one) => one.id));
  const said: string[] = [];
  for (const one of now) {
    if (one.me) continue;
    const old = known.get(one.id);
    if (old === undefined) said.push(t.meeting.joined(one.name));
    else if (!shares(old) && shares(one)) said.push(t.meeting.sharing(one.name));
  }
  for (const one of before) if (!one.me && !here.has(one.id)) said.push(t.meeting.left(one.name));
  return said;
}

function shares(one: Participant): boolean {
  return one.tracks.some((track) => track.source === "screen");
}
