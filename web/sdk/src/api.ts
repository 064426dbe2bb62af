import { code as codes, MeetingError } from "./error.ts";

/** Where one of the two sessions of a participant is opened. */
export interface Door {
  url: string;
  /** SHA-256 of the certificates that may answer, base64; empty: the public roots vouch. */
  certificate_sha256: string[];
  token: string;
}

/** What the service says to one who may join: `GET /api/v1/meetings/{code}`. */
export interface Access {
  meeting: {
    id: string;
    code: string;
    title: string;
    max_participants: number;
    key_in_link: boolean;
    participants: number;
    created_at: string | number;
  };
  participant_id: string;
  role: "guest" | "member" | "host";
  signal: Door;
  media: Door;
  key: { founded: boolean; epoch: number; group_info: string };
}

/** A meeting just made. */
export interface Created {
  meeting: Access["meeting"];
  /** Whoever holds it is the host; keep it in the creator's browser. */
  host_key: string;
  access_token: string;
  expires_in: number;
}

/** How a request is made. */
export interface RequestOptions {
  /** Base of the API; the page's own origin by default. */
  base?: string;
  traceparent?: string;
  signal?: AbortSignal;
}

/** Makes a meeting; the answer holds the host's rights. */
export async function createMeeting(
  options: RequestOptions & { title?: string; maxParticipants?: number; keyInLink: boolean },
): Promise<Created> {
  return (await request("POST", "/api/v1/meetings", options, {
    key_in_link: options.keyInLink,
    ...(options.title === undefined ? {} : { title: options.title }),
    ...(options.maxParticipants === undefined ? {} : { max_participants: options.maxParticipants }),
  })) as Created;
}

/**
 * Asks for what joining needs: by code, as a guest, or with the host key as
 * the host. Throws a {@link MeetingError} where one may not.
 */
export async function lookup(
  code: string,
  options: RequestOptions & { hostKey?: string; accessToken?: string } = {},
): Promise<Access> {
  const token = options.accessToken ?? (await hostToken(code, options));
  const path = `/api/v1/meetings/${encodeURIComponent(code)}`;
  return (await request("GET", path, options, undefined, token)) as Access;
}

async function hostToken(meeting: string, options: RequestOptions & { hostKey?: string }): Promise<string | undefined> {
  if (options.hostKey === undefined) return undefined;
  const body = { grant_type: "host_key", meeting, host_key: options.hostKey };
  const answer = await request("POST", "/api/v1/auth/token", options, body);
  return (answer as { access_token: string }).access_token;
}

async function request(
  method: string,
  path: string,
  options: RequestOptions,
  body?: unknown,
  token?: string,
): Promise<unknown> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (options.traceparent !== undefined) headers["traceparent"] = options.traceparent;
  const init: RequestInit = { method, headers, credentials: "omit", cache: "no-store" };
  if (body !== undefined) init.body = JSON.stringify(body);
  if (options.signal !== undefined) init.signal = options.signal;
  let response: Response;
  try {
    response = await fetch((options.base ?? "") + path, init);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new MeetingError("unavailable", codes.unavailable, true, String(error));
  }
  if (!response.ok) throw await problem(response);
  try {
    return await response.json();
  } catch (error) {
    throw new MeetingError("internal", codes.internal, true, `unreadable answer: ${error}`);
  }
}

/** Reads `application/problem+json`; whatever else answered becomes an error of the same kind. */
export async function problem(response: Response): Promise<MeetingError> {
  try {
    const body = (await response.json()) as Record<string, unknown>;
    if (typeof body["code"] === "string" && typeof body["number"] === "number") {
      const detail = String(body["detail"] ?? body["title"] ?? response.statusText);
      return new MeetingError(body["code"], body["number"], body["retryable"] === true, detail);
    }
  } catch {
    // Not a problem document: a proxy or something in front answered.
  }
  const detail = `HTTP ${response.status} ${response.statusText}`;
  return new MeetingError("unavailable", codes.unavailable, response.status >= 500, detail);
}
