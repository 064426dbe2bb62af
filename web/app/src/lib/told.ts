import type { Access } from "@darktower/sdk";

/** What the server put into the page of a meeting: its answer to a guest, and the trace that began with it. */
export interface Told {
  traceparent: string;
  access: Access;
}

/** What was told of this meeting, once: its tokens are for one visit. */
export function takeTold(code: string): Told | null {
  const element = document.getElementById("told");
  element?.remove();
  if (element === null) return null;
  const told = JSON.parse(element.textContent) as Told;
  return told.access.meeting.code === code ? told : null;
}
