/** How this person looks at the meeting: grid or speaker, what is pinned, who was heard when. */
import type { Snapshot } from "@darktower/sdk";
import type { Look } from "./tiles.ts";

export class StageView {
  look = $state<Look>("grid");
  pinned = $state<string | null>(null);
  /** The participant who speaks, or spoke last. */
  speaker = $state<string | null>(null);
  /** When somebody was last heard, by participant; counts up. */
  heardAt = $state.raw<ReadonlyMap<string, number>>(new Map());
  #heardBefore = "";
  #count = 0;

  toggleLook(): void {
    this.look = this.look === "grid" ? "speaker" : "grid";
  }

  togglePin(key: string): void {
    this.pinned = this.pinned === key ? null : key;
  }

  /** Takes from each new picture of the meeting who is heard. */
  follow(snapshot: Snapshot): void {
    const owners = new Map<number, string>();
    for (const one of snapshot.participants) {
      if (!one.me) for (const track of one.tracks) owners.set(track.id, one.id);
    }
    const named = snapshot.speakers.flatMap((track) => owners.get(track) ?? []);
    const me = snapshot.me?.id;
    const heard = snapshot.speaking.filter((id) => id !== me);
    // The handler names the loudest; what comes from them and is a voice is known here.
    const active = named.find((id) => heard.includes(id)) ?? heard[0];
    if (active !== undefined) this.speaker = active;
    const key = heard.join();
    if (key === this.#heardBefore) return;
    this.#heardBefore = key;
    this.#count++;
    this.heardAt = new Map([...this.heardAt, ...heard.map((id) => [id, this.#count] as const)]);
  }
}
