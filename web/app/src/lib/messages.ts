/**
 * Every word on the screen. Another language is another object of this shape.
 */
export const t = {
  product: "Dark Tower",
  tagline: "Meetings that stay between you.",
  promise:
    "Every picture and every word is sealed in your browser. The servers in between carry it and cannot open it.",

  start: {
    create: "New meeting",
    creating: "Creating…",
    or: "or join one",
    field: "Meeting code or link",
    placeholder: "abc-defg-hij",
    join: "Continue",
    invalid: "That is not a meeting code or link. A code looks like abc-defg-hij.",
    points: ["No account needed", "End-to-end encrypted", "Open source, host it yourself"],
  },

  lobby: {
    title: "Ready to join?",
    titleNamed: (title: string) => `Ready to join ${title}?`,
    nobody: "Nobody is here yet. You will be the first.",
    here: (n: number) => (n === 1 ? "One person is here." : `${n} people are here.`),
    name: "Your name",
    nameNeeded: "Tell the others your name.",
    join: "Join",
    joining: "Joining…",
    preparing: "Preparing…",
    cameraOff: "Camera is off",
    cameraStarting: "Starting camera…",
    micLevel: "Microphone level",
    copyLink: "Copy invitation link",
  },

  entering: {
    looking: "Looking up the meeting…",
    joining: "Joining the meeting…",
    returning: "Returning to your seat…",
  },

  controls: {
    bar: "Meeting controls",
    mute: "Mute microphone",
    unmute: "Unmute microphone",
    cameraOff: "Turn camera off",
    cameraOn: "Turn camera on",
    share: "Share screen",
    stopShare: "Stop sharing",
    participants: "Participants",
    settings: "Settings",
    add: "Share more",
    leave: "Leave",
    leaveMeeting: "Leave meeting",
    copy: "Copy link",
    copied: "Link copied",
    copyFailed: "The link could not be copied.",
    shortcut: (label: string, key: string) => `${label} (${key})`,
  },

  meeting: {
    you: "You",
    youNamed: (name: string) => `${name} (you)`,
    away: "Away",
    awayLong: "Away, the seat is held",
    muted: "Muted",
    cameraOf: (name: string) => `Another camera of ${name}`,
    yourCamera: "Your other camera",
    paused: "Picture paused: connection too slow",
    reduced: "Low quality",
    pin: (label: string) => `Pin: ${label}`,
    pinTitle: "Pin: keep it large",
    unpinTitle: "Let it go back to the others",
    stop: (label: string) => `Stop: ${label}`,
    speakerView: "Speaker view",
    screenOf: (name: string) => `${name} is sharing a screen`,
    yourScreen: "You are sharing your screen",
    pictureOf: (name: string) => `Picture of ${name}`,
    speaking: "speaking",
    more: (n: number) => `and ${n} more`,
    aloneTitle: "You are the only one here",
    aloneText: "Send the invitation link to the people you want to meet. Its end holds the key, so send all of it.",
    joined: (name: string) => `${name} joined`,
    left: (name: string) => `${name} left`,
    sharing: (name: string) => `${name} shares a screen`,
    soundBlocked: "Your browser keeps the sound off until you click.",
    soundOn: "Turn sound on",
    grid: "Participants' pictures",
  },

  participants: {
    title: "Participants",
    host: "Host",
    remove: (name: string) => `Remove ${name}`,
    removeConfirm: (name: string) =>
      `Remove ${name} from the meeting? They cannot open anything that is said afterwards.`,
    removeAction: "Remove",
    cancel: "Cancel",
    micOn: "microphone on",
    micOff: "microphone off",
    cameraOn: "camera on",
    cameraOff: "camera off",
    endMeeting: "End meeting for all",
    endConfirm: "End the meeting for everybody?",
    endAction: "End meeting",
    close: "Close",
  },

  e2ee: {
    badge: "Encrypted",
    badgeLong: "End-to-end encrypted. Show verification code",
    waiting: "Agreeing on keys",
    title: "End-to-end encryption",
    text: "Read this code to one another. If everybody sees the same, nobody listens in, not even whoever runs the servers.",
    code: "Verification code",
    waitingText: "The keys are being agreed on. The code appears in a moment.",
    linkSecret: "Only holders of the full invitation link can get keys.",
    noLinkSecret: "This meeting has no link secret: compare the code to be sure who is here.",
    changes: "The code changes whenever somebody joins or leaves.",
    members: (n: number) => (n === 1 ? "One device holds keys." : `${n} devices hold keys.`),
    limit:
      "Your browser gets this page from the server too. Who must trust no server can host or check the page themselves.",
  },

  settings: {
    title: "Settings",
    camera: "Camera",
    microphone: "Microphone",
    speaker: "Speaker",
    original: "Original sound",
    originalHint: "No noise suppression, echo cancellation or automatic volume. For music, with headphones.",
    systemDefault: "System default",
    unnamed: (kind: string, n: number) => `${kind} ${n}`,
    none: "None found",
    shortcuts: "Shortcuts",
    shortcutList: [
      ["M", "Microphone"],
      ["V", "Camera"],
      ["S", "Share screen"],
      ["L", "Grid or speaker"],
    ] as const,
  },

  connection: {
    up: "Connected",
    connecting: "Connecting…",
    reconnecting: "The connection was lost. Your seat is held while we reconnect…",
    media: "Sound and picture are reconnecting…",
    full: "The service has no room for your sound and picture right now. They come as soon as there is some…",
    title: "Connection",
    open: (state: string) => `${state}. Show details`,
    states: {
      good: { short: "Good connection", text: "Your connection carries everything that is on your screen." },
      slow: {
        short: "Slow connection",
        text: "Your connection does not carry everything. Sound comes first, pictures are smaller or wait.",
      },
      poor: {
        short: "Poor connection",
        text: "Your connection carries hardly more than sound. Another network, or fewer cameras, would help.",
      },
      none: { short: "No connection", text: "Sound and picture are reconnecting." },
    },
    fromOthers: "From the others to you",
    toOthers: "From you to the others",
    loss: "Of your sound lost on the way",
    gaps: "Of the others' sound bridged over",
    about: (rate: string) => `about ${rate}`,
    unknown: "not measured yet",
    received: "What you get",
    sent: "What you send",
    nothing: "Nothing at the moment.",
    columns: { what: "Picture", size: "Size", rate: "Rate", layer: "Quality" },
    camera: (name: string) => `${name}, camera`,
    screen: (name: string) => `${name}, screen`,
    layer: (n: number, of: number) => (of === 1 ? "the only one" : `${n} of ${of}`),
    waits: "paused",
    unused: "not needed",
    frames: (n: number) => `${n} / s`,
    busy: "Your device is busy: it sends smaller pictures, or fewer, until it keeps up again.",
    codec: (name: string) => `Encoded as ${name}.`,
  },

  sources: {
    title: "Share more",
    text: "Everybody can see several cameras and several screens of you at once.",
    now: "Shared beside your camera",
    none: "Nothing yet.",
    screen: "Screen",
    camera: "Camera",
    number: (kind: string, n: number) => `${kind} ${n}`,
    stop: "Stop",
    stopOne: (label: string) => `Stop ${label}`,
    addScreen: "Share a screen",
    which: "Another camera",
    addCamera: "Add this camera",
    noCamera: "No other camera was found.",
    failed: (what: string) => `The ${what} could not be started.`,
  },

  linkNeeded: {
    title: "This meeting needs its full link",
    text: "The key of this meeting is in the invitation link itself, after the # sign. It is never sent to a server, so nobody but a participant can give it to you. Ask for the link and paste it here.",
    field: "Invitation link",
    placeholder: "https://…/m/abc-defg-hij#k=…",
    join: "Continue",
    incomplete: "This is not the full link of this meeting. It ends with #k= and 22 more characters.",
  },

  left: {
    title: "You left the meeting",
    text: "Your seat and keys are gone from this device.",
    rejoin: "Join again",
    home: "Start page",
  },

  devices: {
    permission_denied: (what: string) =>
      `The browser may not use your ${what}. Allow it in the address bar, then try again.`,
    device_missing: (what: string) => `No ${what} was found. Plug one in, then try again.`,
    device_busy: (what: string) => `Your ${what} is used by another program. Close it, then try again.`,
    capture_failed: (what: string) => `Your ${what} could not be started.`,
    retry: "Try again",
    camera: "camera",
    microphone: "microphone",
    screen: "screen",
    without: "You can join without it.",
  },

  problem: {
    home: "Start page",
    retry: "Try again",
    rejoin: "Join again",
    details: "Details",
  },
} as const;

/** What is said of each code; `rejoin`: whether the way back in is offered. */
export const problems: Record<string, { title: string; text: string; again?: "retry" | "rejoin" }> = {
  meeting_unknown: {
    title: "There is no such meeting",
    text: "Check the code for a typing mistake, or ask for the link again.",
  },
  code_malformed: { title: "That is not a meeting code", text: "A code looks like abc-defg-hij." },
  meeting_ended: { title: "The meeting has ended", text: "The host ended it, or everybody has gone." },
  meeting_full: {
    title: "The meeting is full",
    text: "It has as many participants as it may have. Try again when somebody has left.",
    again: "retry",
  },
  removed: {
    title: "You were removed",
    text: "A host removed you from this meeting. You cannot open anything that is said from now on.",
  },
  seat_taken: {
    title: "You are here in another window",
    text: "Your seat was taken over by another window or tab of this browser.",
    again: "rejoin",
  },
  seat_expired: {
    title: "You were away too long",
    text: "Your seat was held for five minutes and then given up.",
    again: "rejoin",
  },
  resume_unknown: {
    title: "Your seat is gone",
    text: "The seat you had in this meeting is no longer held.",
    again: "rejoin",
  },
  link_secret_needed: {
    title: "The link does not fit",
    text: "The others do not accept the secret of this link. Ask for the full invitation link again.",
  },
  name_invalid: { title: "That name does not work", text: "A name has 1 to 64 ordinary characters.", again: "retry" },
  browser_too_old: {
    title: "This browser cannot take part",
    text: "It lacks what encrypted meetings need. A current Chrome, Edge or Firefox works.",
  },
  connection_lost: {
    title: "The connection was lost",
    text: "We tried to get back and did not succeed. Check your network.",
    again: "rejoin",
  },
  connect_failed: {
    title: "The meeting cannot be reached",
    text: "Your network may block UDP, or the server is down.",
    again: "retry",
  },
  unavailable: { title: "The service cannot be reached", text: "Check your network, then try again.", again: "retry" },
  overloaded: {
    title: "Too busy right now",
    text: "The service has as much work as it can take. Try again in a moment.",
    again: "retry",
  },
  rate_limited: { title: "Too many tries", text: "Wait a moment, then try again.", again: "retry" },
  token_expired: {
    title: "This took too long",
    text: "The permission to join was good for five minutes.",
    again: "retry",
  },
  origin_not_allowed: {
    title: "This page may not connect",
    text: "The server does not accept pages from this address.",
  },
  internal: { title: "Something broke", text: "This is our fault, not yours.", again: "retry" },
};

/** The words for a code; whatever has none of its own is said in general. */
export function problemOf(
  code: string,
  retryable: boolean,
): { title: string; text: string; again?: "retry" | "rejoin" } {
  const known = problems[code];
  if (known !== undefined) return known;
  return { ...problems["internal"]!, text: "The meeting could not go on.", again: retryable ? "retry" : "rejoin" };
}
