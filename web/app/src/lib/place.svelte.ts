/** Where in the app one is: the start page, or a meeting by its invitation. */
import { parseInvitation, type Invitation } from "@darktower/sdk";

export interface Wishes {
  /** Straight into the meeting, without the lobby. */
  join: boolean;
  name: string | null;
  /** Leave the sound as it is. */
  originalSound: boolean;
  /** Neither camera nor microphone are asked for. */
  devicesOff: boolean;
  /** Publish video with this codec for a start (measurements). */
  codec: string | null;
}

export type Place =
  { page: "start" } | { page: "meeting"; invitation: Invitation; wishes: Wishes } | { page: "unknown" };

/** Reads an address. */
export function placeOf(url: URL): Place {
  if (url.pathname === "/") return { page: "start" };
  if (!url.pathname.startsWith("/m/")) return { page: "unknown" };
  const invitation = parseInvitation(url.pathname + url.hash);
  if (invitation === null) return { page: "unknown" };
  const query = url.searchParams;
  const wishes: Wishes = {
    join: query.get("join") === "1",
    name: query.get("name"),
    originalSound: query.get("audio") === "raw",
    devicesOff: query.get("devices") === "off",
    codec: query.get("codec"),
  };
  return { page: "meeting", invitation, wishes };
}

class Navigation {
  place = $state.raw<Place>(placeOf(new URL(location.href)));
  /** Grows with each visit, so that the same address twice is a new visit. */
  visit = $state(0);

  constructor() {
    addEventListener("popstate", () => this.#arrive());
    // A pasted link of the same meeting differs in the fragment only.
    addEventListener("hashchange", () => this.#arrive());
  }

  go(path: string): void {
    history.pushState(null, "", path);
    this.#arrive();
  }

  /** The same place from the beginning. */
  again(): void {
    this.#arrive();
  }

  #arrive(): void {
    this.place = placeOf(new URL(location.href));
    this.visit++;
  }
}

export const navigation = new Navigation();
