import { createMeeting, newLinkSecret } from "@darktower/sdk";
import { keepHostKey } from "./memory.ts";

/** Tokens of meetings just made, so that their maker need not ask again. */
const tokens = new Map<string, string>();

/** Makes a meeting whose keys need the link; returns the path to it. */
export async function startMeeting(): Promise<string> {
  const created = await createMeeting({ keyInLink: true });
  const { code } = created.meeting;
  keepHostKey(code, created.host_key);
  tokens.set(code, created.access_token);
  return `/m/${code}#k=${newLinkSecret()}`;
}

/** The token of a meeting just made, once. */
export function freshToken(code: string): string | null {
  const token = tokens.get(code) ?? null;
  tokens.delete(code);
  return token;
}
