/**
 * Dark Tower's SDK for browsers: find or make a meeting, take part in it.
 * Framework-free; effects around the participant's core, which runs in a worker.
 *
 * Start at {@link lookup} and {@link Meeting}.
 */
export { createMeeting, lookup } from "./api.ts";
export { capture, listDevices, missingFeatures } from "./capture/devices.ts";
export { MeetingError } from "./error.ts";
export { invitationLink, newLinkSecret, parseInvitation } from "./link.ts";
export { Meeting } from "./meeting.ts";
export { Trace } from "./trace.ts";

export type { Access, Created } from "./api.ts";
export type { Devices } from "./capture/devices.ts";
export type { Invitation } from "./link.ts";
export type { AttachedVideo } from "./meeting.ts";
export type { TrackStats, WorkerStats } from "./messages.ts";
export type { Participant, Phase, Role, Snapshot, Source, Track } from "./snapshot.ts";
