//! The connection to the media handler: when to open it, with what, when it
//! counts as lost. Which handler it is the meeting controller decides.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::media_control::{
    ClientControl, Hello, KeyFrameWanted, Ping, ServerControl, client_control, server_control,
};
use darktower_wire::signal::MediaAssignment;
use darktower_wire::{Code, Secret};

use crate::access::Door;
use crate::output::StreamId;
use crate::state::LinkState;

/// Between two pings; the answer also proves that the handler reads.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Silence after which the connection counts as lost: three pings unanswered.
const DEAD_AFTER: Duration = Duration::from_secs(3);
/// How long one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits before the next attempt; the last one repeats.
const BACKOFF_MS: [u64; 6] = [0, 300, 1200, 2700, 4800, 7000];

/// The stream the control messages travel on: the first this end opens.
pub(crate) const CONTROL_STREAM: StreamId = 0;

/// What the link wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Connect {
        url: Secret<String>,
        certificate_sha256: Vec<[u8; 32]>,
    },
    Close(Code),
    /// Open the control stream and write this to it.
    OpenControl(Bytes),
    WriteControl(Bytes),
    /// The handler asks for a key frame of an own track.
    KeyFrameWanted {
        track: u32,
        layer: u8,
    },
}

/// Where to connect to and what opens the door.
#[derive(Clone, PartialEq)]
struct Target {
    url: String,
    certificate_sha256: Vec<[u8; 32]>,
    /// `token=…` or `ticket=…`. Not printed.
    credential: String,
    /// Tokens open one session, tickets as many as are needed.
    reusable: bool,
}

enum Phase {
    Down,
    Waiting {
        until: Duration,
    },
    Connecting {
        since: Duration,
    },
    Up {
        heard: Duration,
        pinged: Duration,
        control: Decoder,
    },
}

/// The media connection of one participant.
pub(crate) struct MediaLink {
    target: Option<Target>,
    phase: Phase,
    failures: usize,
    traceparent: String,
    effects: VecDeque<Effect>,
}

impl MediaLink {
    pub(crate) fn new(traceparent: String) -> Self {
        Self {
            target: None,
            phase: Phase::Down,
            failures: 0,
            traceparent,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn state(&self) -> LinkState {
        match self.phase {
            Phase::Down | Phase::Waiting { .. } => LinkState::Down,
            Phase::Connecting { .. } => LinkState::Connecting,
            Phase::Up { .. } => LinkState::Up,
        }
    }

    /// The next thing the link wants done.
    pub(crate) fn effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Opens the link before the controller has assigned a handler: the API
    /// said which one is likely.
    pub(crate) fn try_door(&mut self, now: Duration, door: &Door) {
        self.target = Some(Target {
            url: door.url.clone(),
            certificate_sha256: door.certificate_sha256.clone(),
            credential: format!("token={}", door.token),
            reusable: false,
        });
        self.connect(now);
    }

    /// The controller's word. A link to that very handler that is open, or
    /// being opened, stays as it is.
    pub(crate) fn assigned(&mut self, now: Duration, assignment: &MediaAssignment) {
        if assignment.url.is_empty() {
            return;
        }
        let certificate_sha256 = assignment
            .certificate_sha256
            .iter()
            .filter_map(|hash| <[u8; 32]>::try_from(&hash[..]).ok())
            .collect();
        let same = self
            .target
            .as_ref()
            .is_some_and(|target| target.url == assignment.url);
        self.target = Some(Target {
            url: assignment.url.clone(),
            certificate_sha256,
            credential: format!("ticket={}", URL_SAFE_NO_PAD.encode(&assignment.ticket)),
            reusable: true,
        });
        if !same || matches!(self.phase, Phase::Down | Phase::Waiting { .. }) {
            self.failures = 0;
            self.connect(now);
        }
    }

    pub(crate) fn up(&mut self, now: Duration) {
        self.failures = 0;
        self.phase = Phase::Up {
            heard: now,
            pinged: now,
            control: Decoder::new(MAX_MEDIA_CONTROL),
        };
        let hello = message(client_control::Body::Hello(Hello {}));
        self.effects.push_back(Effect::OpenControl(hello));
    }

    /// The connection is gone or could not be made.
    pub(crate) fn down(&mut self, now: Duration, code: Code) {
        let refused = matches!(
            code,
            Code::TicketUnknown | Code::Removed | Code::MeetingEnded
        );
        let reusable = self.target.as_ref().is_some_and(|target| target.reusable);
        if refused || !reusable {
            // Only a new assignment helps.
            self.phase = Phase::Down;
            return;
        }
        let wait = BACKOFF_MS[self.failures.min(BACKOFF_MS.len() - 1)];
        self.failures += 1;
        self.phase = Phase::Waiting {
            until: now + Duration::from_millis(wait),
        };
    }

    /// Something arrived: the connection lives.
    pub(crate) fn heard(&mut self, now: Duration) {
        if let Phase::Up { heard, .. } = &mut self.phase {
            *heard = now;
        }
    }

    /// Bytes of the control stream.
    pub(crate) fn control(&mut self, now: Duration, bytes: &[u8]) -> Result<(), Code> {
        self.heard(now);
        let Phase::Up { control, .. } = &mut self.phase else {
            return Ok(());
        };
        control.push(bytes);
        while let Some(message) = control
            .next_message::<ServerControl>()
            .map_err(|_| Code::Malformed)?
        {
            if let Some(server_control::Body::KeyFrameWanted(wanted)) = message.body {
                let layer = u8::try_from(wanted.layer).map_err(|_| Code::Malformed)?;
                self.effects.push_back(Effect::KeyFrameWanted {
                    track: wanted.track,
                    layer,
                });
            }
        }
        Ok(())
    }

    /// Asks the handler for a key frame of somebody's track.
    pub(crate) fn want_key_frame(&mut self, track: u32, layer: u8) {
        if matches!(self.phase, Phase::Up { .. }) {
            let wanted = KeyFrameWanted {
                track,
                layer: u32::from(layer),
            };
            let message = message(client_control::Body::KeyFrameWanted(wanted));
            self.effects.push_back(Effect::WriteControl(message));
        }
    }

    /// Closes the link for good.
    pub(crate) fn leave(&mut self, code: Code) {
        if matches!(self.phase, Phase::Connecting { .. } | Phase::Up { .. }) {
            self.effects.push_back(Effect::Close(code));
        }
        self.phase = Phase::Down;
        self.target = None;
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Down => None,
            Phase::Waiting { until } => Some(*until),
            Phase::Connecting { since } => Some(*since + CONNECT_TIMEOUT),
            Phase::Up { heard, pinged, .. } => {
                Some((*pinged + PING_EVERY).min(*heard + DEAD_AFTER))
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        match &mut self.phase {
            Phase::Down => {}
            Phase::Waiting { until } if now >= *until => self.connect(now),
            Phase::Waiting { .. } => {}
            Phase::Connecting { since } => {
                if now >= *since + CONNECT_TIMEOUT {
                    self.lost(now);
                }
            }
            Phase::Up { heard, pinged, .. } => {
                if now >= *heard + DEAD_AFTER {
                    self.lost(now);
                } else if now >= *pinged + PING_EVERY {
                    *pinged = now;
                    let sent_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
                    let ping = message(client_control::Body::Ping(Ping { sent_us }));
                    self.effects.push_back(Effect::WriteControl(ping));
                }
            }
        }
    }

    fn lost(&mut self, now: Duration) {
        self.effects.push_back(Effect::Close(Code::ConnectionLost));
        self.down(now, Code::ConnectionLost);
    }

    fn connect(&mut self, now: Duration) {
        let Some(target) = &self.target else { return };
        let mut url = format!("{}?{}", target.url, target.credential);
        if !self.traceparent.is_empty() {
            url.push_str("&traceparent=");
            url.push_str(&self.traceparent);
        }
        let certificate_sha256 = target.certificate_sha256.clone();
        self.effects.push_back(Effect::Connect {
            url: url.into(),
            certificate_sha256,
        });
        self.phase = Phase::Connecting { since: now };
    }
}

fn message(body: client_control::Body) -> Bytes {
    framing::encode(&ClientControl { body: Some(body) })
}
