/**
 * Invitation links: `/m/{code}#k={secret}`. The fragment never leaves the
 * browser, so the secret that admits to the meeting's keys is unknown to every
 * server.
 */

/** What an invitation says. */
export interface Invitation {
  /** `abc-defg-hij` */
  code: string;
  /** 16 bytes as base64url; absent where only the code was given. */
  secret: string | null;
}

const SECRET_BYTES = 16;
const CODE = /^[a-z]{3}-?[a-z]{4}-?[a-z]{3}$/;
const SECRET = /^[A-Za-z0-9_-]{22}$/;

/** Reads a code or a whole link as a person types or pastes it; null where it is neither. */
export function parseInvitation(text: string): Invitation | null {
  const trimmed = text.trim();
  const path = /(?:^|\/)m\/([^/?#\s]+)/.exec(trimmed);
  const code = normalizeCode(path?.[1] ?? trimmed.replace(/[?#].*$/s, ""));
  if (code === null) return null;
  const fragment = trimmed.indexOf("#");
  const secret = fragment < 0 ? null : secretIn(trimmed.slice(fragment + 1));
  return { code, secret };
}

/** The link to share. */
export function invitationLink(origin: string, invitation: Invitation): string {
  const fragment = invitation.secret === null ? "" : `#k=${invitation.secret}`;
  return `${origin}/m/${invitation.code}${fragment}`;
}

/** A fresh link secret, made here and told to no server. */
export function newLinkSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function normalizeCode(text: string): string | null {
  const lower = text
    .trim()
    .toLowerCase()
    .replaceAll(/[\s–—]+/g, "-");
  if (!CODE.test(lower)) return null;
  const letters = lower.replaceAll("-", "");
  return `${letters.slice(0, 3)}-${letters.slice(3, 7)}-${letters.slice(7)}`;
}

function secretIn(fragment: string): string | null {
  const value = new URLSearchParams(fragment.trim()).get("k");
  return value !== null && SECRET.test(value) ? value : null;
}
