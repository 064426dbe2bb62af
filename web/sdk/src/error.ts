/**
 * Everything that goes wrong in a meeting has a code of the one table that
 * browser and server share (`docs/protocol/errors.md`).
 */
export class MeetingError extends Error {
  override readonly name = "MeetingError";

  constructor(
    /** The code's name, e.g. `meeting_full`. */
    readonly code: string,
    /** The code's number in the table. */
    readonly number: number,
    /** Whether the same thing may succeed when tried again later. */
    readonly retryable: boolean,
    /** For a developer's eyes; screens use their own words. */
    detail: string,
  ) {
    super(`${code}: ${detail}`);
    this.detail = detail;
  }

  readonly detail: string;
}

/** The few codes of the table that this side raises itself. */
export const code = {
  internal: 100,
  unavailable: 101,
  codeMalformed: 403,
  connectFailed: 800,
  connectionLost: 801,
} as const;
