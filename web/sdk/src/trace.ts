/** W3C trace context, so that one attendance is one trace from click to frame. */
export class Trace {
  readonly #id: string;

  /** A new trace, or the one that a `traceparent` belongs to. */
  constructor(traceparent?: string) {
    this.#id = traceparent?.split("-")[1] ?? hex(16);
  }

  /** A `traceparent` header with a new span of this trace. */
  traceparent(): string {
    return `00-${this.#id}-${hex(8)}-01`;
  }
}

function hex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
