//! The connection to the media handler: when to open it, with what, when it
//! counts as lost. Which handler it is the meeting controller decides.

mod silence;

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_meeting::session::Race;
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::media_control::{
    Allocation, ClientControl, Demand, Feedback, Hello, KeyFrameWanted, Ping, ServerControl,
    client_control, server_control,
};
use darktower_wire::signal::MediaAssignment;
use darktower_wire::{Code, Secret};

use self::silence::Silence;
use crate::access::{Door, hashes};
use crate::output::StreamId;
use crate::state::LinkState;

/// Between two pings; the answer also proves that the handler reads.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A handler silent for this long is asked sooner: where something flows, something comes each moment.
const PING_AFTER: Duration = Duration::from_millis(500);
/// Silence after which another connection is opened beside this one: three pings unanswered. The handler may be gone, or
/// the network for a while.
const RACE_AFTER: Duration = Duration::from_secs(3);
/// Silence after which the connection counts as lost. Less than what a connection lives without a packet.
const DEAD_AFTER: Duration = Duration::from_millis(9500);
/// How long one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the controller is as silent, the network is out, and its link alone tries whether it is back: Chromium makes a
/// page wait for what it opens the longer the more of that failed. For no longer than this, for the controller may be
/// gone for good.
const HELD_BACK: Duration = Duration::from_secs(12);
/// What a link that was held back and stands has left to be heard on: the controller may have been heard first.
const HEARD_NEXT: Duration = Duration::from_millis(300);
/// Waits before the next attempt; the last one repeats.
const BACKOFF_MS: [u64; 6] = [0, 300, 1200, 2700, 4800, 6000];

/// What a path carried is worth saying to the next handler for so long after it was last heard on.
const CARRIED_HOLDS: Duration = Duration::from_secs(10);

/// The stream the control messages travel on: the first this end opens.
pub(crate) const CONTROL_STREAM: StreamId = 0;

/// What the link wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Connect {
        /// The one that stands goes on meanwhile.
        beside: bool,
        url: Secret<String>,
        certificate_sha256: Vec<[u8; 32]>,
    },
    /// The one that stands is well: give up the one beside it.
    Keep,
    /// The one beside it, be it still opened, takes its place.
    Replace,
    Close(Code),
    /// Open the control stream and write this to it.
    OpenControl(Bytes),
    WriteControl(Bytes),
    /// The handler asks for a key frame of an own track.
    KeyFrameWanted {
        track: u32,
        layer: u8,
    },
    /// Somebody gets these layers of an own track, and no others.
    LayersWanted {
        track: u32,
        layers: u16,
    },
    /// How own frames arrived at the handler.
    Feedback(Feedback),
    /// What the handler says of this end's reception.
    Allocation(Allocation),
    Speakers(Vec<u32>),
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
        silence: Silence,
        racing: Option<Race>,
        control: Decoder,
    },
}

/// The media connection of one participant.
pub(crate) struct MediaLink {
    target: Option<Target>,
    /// The credential of the connection that is, or was tried last.
    shown: String,
    phase: Phase,
    failures: usize,
    /// Why the handler did not let this end in, until it does.
    refused: Option<Code>,
    /// The controller is silent: nothing is tried before this, see [`HELD_BACK`].
    held_until: Option<Duration>,
    /// When the controller was heard again.
    released: Duration,
    traceparent: String,
    /// What is shown, once the screen has said it; holds over connections.
    demand: Option<Demand>,
    /// What the handler last believed of the path, in bits a second, and when it was last heard.
    carried: Option<(u64, Duration)>,
    /// The handler is another than the one that said so, and was not reached yet.
    moved: bool,
    effects: VecDeque<Effect>,
}

impl MediaLink {
    pub(crate) fn new(traceparent: String) -> Self {
        Self {
            target: None,
            shown: String::new(),
            phase: Phase::Down,
            failures: 0,
            refused: None,
            held_until: None,
            released: Duration::ZERO,
            traceparent,
            demand: None,
            carried: None,
            moved: false,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn state(&self) -> LinkState {
        match self.phase {
            Phase::Down | Phase::Waiting { .. } => LinkState::Down,
            Phase::Connecting { .. } => LinkState::Connecting,
            Phase::Up {
                racing: Some(_), ..
            } => LinkState::Connecting,
            // A refusal comes after a session that opens for it.
            Phase::Up { .. } if self.refused.is_some() => LinkState::Connecting,
            Phase::Up { .. } => LinkState::Up,
        }
    }

    /// The connection beside this one stands.
    pub(crate) fn beside(&mut self, now: Duration) {
        if let Phase::Up {
            racing: Some(race), ..
        } = &mut self.phase
        {
            race.stands(now);
        }
    }

    /// Whether the controller is silent, too, or being looked for.
    pub(crate) fn controller_silent(&mut self, now: Duration, silent: bool) {
        if silent {
            self.held_until.get_or_insert(now + HELD_BACK);
        } else if self.held_until.take().is_some() {
            self.released = now;
            // The network is back: no more is waited for what failed without it.
            self.failures = 0;
            if let Phase::Waiting { until } = &mut self.phase {
                *until = now.min(*until);
            }
        }
    }

    /// A connection stands, be it silent.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Why the handler lets nobody in, where it says so.
    pub(crate) fn refused(&self) -> Option<Code> {
        self.refused
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
        let certificate_sha256 = hashes(&assignment.certificate_sha256);
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
        self.moved |= !same;
        if !same {
            self.refused = None;
        }
        if !same || matches!(self.phase, Phase::Down | Phase::Waiting { .. }) {
            self.failures = 0;
            self.connect(now);
        }
    }

    pub(crate) fn up(&mut self, now: Duration) {
        self.moved = false;
        self.phase = Phase::Up {
            heard: now,
            pinged: now,
            silence: Silence::default(),
            racing: None,
            control: Decoder::new(MAX_MEDIA_CONTROL),
        };
        let hello = message(client_control::Body::Hello(Hello {}));
        self.effects.push_back(Effect::OpenControl(hello));
        self.say_demand();
    }

    /// What the screen shows from now on.
    pub(crate) fn show(&mut self, demand: Demand) {
        if self.demand.as_ref() != Some(&demand) {
            self.demand = Some(demand);
            self.say_demand();
        }
    }

    fn say_demand(&mut self) {
        if let (Phase::Up { .. }, Some(demand)) = (&self.phase, &self.demand) {
            let message = message(client_control::Body::Demand(demand.clone()));
            self.effects.push_back(Effect::WriteControl(message));
        }
    }

    /// The connection is gone or could not be made.
    pub(crate) fn down(&mut self, now: Duration, code: Code) {
        if self.fall_back(code) {
            return;
        }
        let refused = matches!(
            code,
            Code::TicketUnknown | Code::Removed | Code::MeetingEnded
        );
        let reusable = self.target.as_ref().is_some_and(|target| target.reusable);
        let unknown = matches!(code, Code::ConnectFailed | Code::ConnectionLost);
        self.refused = (!unknown).then_some(code).or(self.refused);
        if code == Code::TicketUnknown && reusable && self.is_shown_stale() {
            // A newer ticket came meanwhile.
            self.phase = Phase::Waiting { until: now };
            return;
        }
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

    /// The silent connection is gone: the one that is opened beside it is the attempt at the next.
    fn fall_back(&mut self, code: Code) -> bool {
        let race = match self.phase {
            Phase::Up { racing, .. } if code == Code::ConnectionLost => racing,
            _ => None,
        };
        let Some(since) = race.and_then(Race::under_way) else {
            return false;
        };
        self.phase = Phase::Connecting { since };
        self.effects.push_back(Effect::Replace);
        true
    }

    /// Whether another credential was assigned since the last attempt.
    fn is_shown_stale(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| target.credential != self.shown)
    }

    /// Something arrived: the connection lives.
    pub(crate) fn heard(&mut self, now: Duration) {
        if let Phase::Up {
            heard,
            silence,
            racing,
            ..
        } = &mut self.phase
        {
            *heard = now;
            *silence = Silence::default();
            if racing.take().is_some() {
                self.effects.push_back(Effect::Keep);
            }
            if let Some((_, last)) = &mut self.carried {
                *last = now;
            }
        }
    }

    /// The controller was heard. Whether it is to be told that this handler is not, though the network works.
    pub(crate) fn controller_heard(&mut self, now: Duration) -> bool {
        match &mut self.phase {
            Phase::Up { silence, .. } => silence.witnessed(now),
            _ => false,
        }
    }

    /// Whether the handler is silent and what the network is like is worth asking the controller.
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(&self.phase, Phase::Up { silence, .. } if silence.is_doubtful())
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
            // It speaks to whom it has let in alone.
            self.failures = 0;
            self.refused = None;
            if let Some(body) = message.body {
                if let server_control::Body::Allocation(allocation) = &body {
                    self.carried = Some((allocation.estimate_bps, now));
                }
                self.effects.extend(effect_of(body)?);
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
            Phase::Waiting { until } => Some(self.not_before(*until)),
            Phase::Connecting { since } => Some(*since + CONNECT_TIMEOUT),
            Phase::Up {
                heard,
                pinged,
                silence,
                ..
            } => {
                let ping = next_ping(*heard, *pinged, silence);
                let next = ping.min(*heard + DEAD_AFTER);
                let others = [self.race_at(), silence.doubtful_at()];
                others.into_iter().flatten().chain([next]).min()
            }
        }
    }

    /// What is due at `at` waits where the controller is silent.
    fn not_before(&self, at: Duration) -> Duration {
        self.held_until.map_or(at, |until| until.max(at))
    }

    /// When another connection is to be opened beside a silent one.
    fn race_at(&self) -> Option<Duration> {
        let Phase::Up { heard, racing, .. } = &self.phase else {
            return None;
        };
        // A token opens one session, and this one has it.
        let target = self.target.as_ref().filter(|target| target.reusable);
        let at = match racing {
            Some(race) => race.at()?,
            None => {
                let silent = (*heard + RACE_AFTER).max(self.released + HEARD_NEXT);
                self.not_before(silent)
            }
        };
        target.map(|_| at)
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        let races = self.race_at().is_some_and(|at| now >= at);
        let may_try = self.held_until.is_none_or(|until| now >= until);
        match &mut self.phase {
            Phase::Down => {}
            Phase::Waiting { until } if may_try && now >= *until => self.connect(now),
            Phase::Waiting { .. } => {}
            Phase::Connecting { since } => {
                if now >= *since + CONNECT_TIMEOUT {
                    self.lost(now);
                }
            }
            Phase::Up {
                heard,
                pinged,
                silence,
                racing,
                ..
            } => {
                if now >= *heard + DEAD_AFTER {
                    return self.lost(now);
                }
                if races {
                    *racing = Some(racing.map_or(Race::Opening(now), |race| race.turn(now)));
                }
                silence.look(now);
                let won = *racing == Some(Race::Won);
                if now >= next_ping(*heard, *pinged, silence) {
                    *pinged = now;
                    silence.asked(now);
                    let sent_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
                    let ping = message(client_control::Body::Ping(Ping { sent_us }));
                    self.effects.push_back(Effect::WriteControl(ping));
                }
                match (races, won) {
                    (false, _) => {}
                    (true, true) => self.effects.push_back(Effect::Replace),
                    (true, false) => self.open(now, true),
                }
            }
        }
    }

    fn lost(&mut self, now: Duration) {
        if self.fall_back(Code::ConnectionLost) {
            return;
        }
        self.effects.push_back(Effect::Close(Code::ConnectionLost));
        self.down(now, Code::ConnectionLost);
    }

    fn connect(&mut self, now: Duration) {
        if self.target.is_some() {
            self.open(now, false);
            self.phase = Phase::Connecting { since: now };
        }
    }

    fn open(&mut self, now: Duration, beside: bool) {
        let Some(target) = &self.target else { return };
        let mut url = format!("{}?{}", target.url, target.credential);
        if !self.traceparent.is_empty() {
            url.push_str("&traceparent=");
            url.push_str(&self.traceparent);
        }
        if let Some((bps, heard)) = self.carried
            && now <= heard + CARRIED_HOLDS
        {
            let bps = match self.moved {
                true => bps,
                // The network may be another.
                false => bps / 4 * 3,
            };
            url.push_str(&format!("&carried_bps={bps}"));
        }
        if beside {
            url.push_str("&beside=1");
        }
        self.shown.clone_from(&target.credential);
        let certificate_sha256 = target.certificate_sha256.clone();
        self.effects.push_back(Effect::Connect {
            beside,
            url: url.into(),
            certificate_sha256,
        });
    }
}

fn next_ping(heard: Duration, pinged: Duration, silence: &Silence) -> Duration {
    let usual = pinged + PING_EVERY;
    match silence.is_asked() {
        true => usual,
        false => usual.min(heard.max(pinged) + PING_AFTER),
    }
}

/// What a word of the handler asks of this end.
fn effect_of(body: server_control::Body) -> Result<Option<Effect>, Code> {
    use server_control::Body;
    Ok(Some(match body {
        Body::KeyFrameWanted(wanted) => Effect::KeyFrameWanted {
            track: wanted.track,
            layer: u8::try_from(wanted.layer).map_err(|_| Code::Malformed)?,
        },
        Body::LayersWanted(wanted) => Effect::LayersWanted {
            track: wanted.track,
            layers: u16::try_from(wanted.layers).map_err(|_| Code::Malformed)?,
        },
        Body::Feedback(feedback) => Effect::Feedback(feedback),
        Body::Allocation(allocation) => Effect::Allocation(allocation),
        Body::Speakers(speakers) => Effect::Speakers(speakers.tracks),
        Body::Welcome(_) | Body::Pong(_) | Body::Drain(_) => return Ok(None),
    }))
}

fn message(body: client_control::Body) -> Bytes {
    framing::encode(&ClientControl { body: Some(body) })
}

#[cfg(test)]
mod tests;
