/** What is said of many joins; the native bench (`bench/load`) prints the same. */

/** When a join reached each stage, in ms since the click; what was reached before is not in it. */
export type Stages = Partial<Record<string, number>>;

interface Quantiles {
  p50_ms: number;
  p95_ms: number;
}

export interface Row extends Quantiles {
  bench: "join";
  client: "browser-cold" | "browser-lobby";
  rtt_ms: number;
  n: number;
  failed: number;
  /** The same first picture, since the link was followed. */
  from_navigation?: Quantiles;
  stages: Record<string, Quantiles>;
}

/** The stage that counts: the first decrypted picture of somebody else. */
export const FIRST_FRAME = "6_first_frame";

/** The value that `share` of the values do not exceed, by nearest rank. */
function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return Math.round(sorted[rank - 1]! * 10) / 10;
}

/** Which of the joins took as long as the median. */
export function median(joins: Stages[]): number {
  const took = joins.map((join) => join[FIRST_FRAME]!);
  const order = took.map((_, index) => index).sort((a, b) => took[a]! - took[b]!);
  return order[Math.max(1, Math.ceil(order.length / 2)) - 1]!;
}

function quantiles(values: number[]): Quantiles {
  return { p50_ms: quantile(values, 0.5), p95_ms: quantile(values, 0.95) };
}

/** `navigated`: how long before its click each join's link was followed, where that counts. */
export function row(
  client: Row["client"],
  rtt_ms: number,
  joins: Stages[],
  failed: number,
  navigated: number[] = [],
): Row {
  const names = [...new Set(joins.flatMap((join) => Object.keys(join)))].sort();
  const stages = Object.fromEntries(
    names.map((name) => {
      const values = joins.flatMap((join) => join[name] ?? []);
      return [name, quantiles(values)];
    }),
  );
  const total = stages[FIRST_FRAME];
  if (total === undefined) throw new Error(`no join of ${client} succeeded at ${rtt_ms} ms`);
  const whole = navigated.map((before, index) => before + joins[index]![FIRST_FRAME]!);
  const from = whole.length === 0 ? {} : { from_navigation: quantiles(whole) };
  return { bench: "join", client, rtt_ms, ...total, n: joins.length, failed, ...from, stages };
}

export const HEAD =
  "client         RTT   n  fail |  lookup  signal   media  joined   epoch | first frame p50    p95 |   drawn | since the link (ms, else since the click)";

export function shown({ client, rtt_ms, n, failed, from_navigation, stages, p50_ms, p95_ms }: Row): string {
  const cell = (name: string): string => (stages[name]?.p50_ms.toFixed(1) ?? "–").padStart(7);
  const before = ["1_lookup", "2_signal_up", "3_media_up", "4_joined", "5_epoch"].map(cell).join(" ");
  const head = `${client.padEnd(13)} ${String(rtt_ms).padStart(4)} ${String(n).padStart(3)} ${String(failed).padStart(5)}`;
  const total = `${p50_ms.toFixed(1).padStart(15)} ${p95_ms.toFixed(1).padStart(6)}`;
  const whole = from_navigation?.p50_ms.toFixed(1) ?? "";
  return `${head} | ${before} | ${total} | ${cell("8_drawn")} | ${whole.padStart(14)}`.trimEnd();
}
