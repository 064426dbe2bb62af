import { Steady } from "./quality.ts";

/** What `read` gives, once it has lasted `ms`; `calm` at once. Call while a component is set up. */
export function steady<T>(read: () => T, calm: T, ms: number): () => T {
  const held = new Steady(calm, ms);
  let shown = $state.raw(calm);
  $effect(() => {
    const state = read();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = (): void => {
      shown = held.at(performance.now(), state);
      const deadline = held.deadline();
      // A timer may ring a moment early; then it is set again.
      if (deadline !== null) timer = setTimeout(look, Math.max(1, deadline - performance.now()));
    };
    look();
    return () => clearTimeout(timer);
  });
  return () => shown;
}
