//! The connection to the media handler: when to open it, with what, when it
//! counts as lost. Which handler it is the meeting controller decides.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use darktower_wire::framing::{self, Decoder, MAX_MEDIA_CONTROL};
use darktower_wire::media_control::{
    Allocation, ClientControl, Demand, Feedback, Hello, KeyFrameWanted, Ping, ServerControl,
    client_control, server_control,
};
use darktower_wire::signal::MediaAssignment;
use darktower_wire::{Code, Secret};

use crate::access::{Door, hashes};
use crate::output::StreamId;
use crate::state::LinkState;

/// Between two pings; the answer also proves that the handler reads.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Silence after which another connection is opened beside this one: three pings unanswered. The handler may be gone, or
/// the network for a while.
const RACE_AFTER: Duration = Duration::from_secs(3);
/// Silence after which the connection counts as lost. Less than what a connection lives without a packet.
const DEAD_AFTER: Duration = Duration::from_millis(9500);
/// How long one such attempt may take: its packets come ever more rarely, too.
const RACE_AGAIN: Duration = Duration::from_secs(2);
/// What the silent one has left once the other stands: what was lost has to be sent again.
const HANDICAP: Duration = Duration::from_millis(400);
/// How long one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits before the next attempt; the last one repeats.
const BACKOFF_MS: [u64; 6] = [0, 300, 1200, 2700, 4800, 7000];

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
    /// The one beside it takes its place.
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
        racing: Option<Race>,
        control: Decoder,
    },
}

/// Another connection beside a silent one.
#[derive(Clone, Copy)]
enum Race {
    /// Being opened since.
    Opening(Duration),
    /// Stands since.
    Standing(Duration),
    /// It takes the place of the silent one.
    Won,
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
        if let Phase::Up { racing, .. } = &mut self.phase
            && matches!(racing, Some(Race::Opening(_)))
        {
            *racing = Some(Race::Standing(now));
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

    /// Whether another credential was assigned since the last attempt.
    fn is_shown_stale(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| target.credential != self.shown)
    }

    /// Something arrived: the connection lives.
    pub(crate) fn heard(&mut self, now: Duration) {
        if let Phase::Up { heard, racing, .. } = &mut self.phase {
            *heard = now;
            if racing.take().is_some() {
                self.effects.push_back(Effect::Keep);
            }
            if let Some((_, last)) = &mut self.carried {
                *last = now;
            }
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
            Phase::Waiting { until } => Some(*until),
            Phase::Connecting { since } => Some(*since + CONNECT_TIMEOUT),
            Phase::Up { heard, pinged, .. } => {
                let next = (*pinged + PING_EVERY).min(*heard + DEAD_AFTER);
                Some(self.race_at().map_or(next, |at| next.min(at)))
            }
        }
    }

    /// When another connection is to be opened beside a silent one.
    fn race_at(&self) -> Option<Duration> {
        let Phase::Up { heard, racing, .. } = &self.phase else {
            return None;
        };
        // A token opens one session, and this one has it.
        let target = self.target.as_ref().filter(|target| target.reusable);
        let at = match *racing {
            None => *heard + RACE_AFTER,
            Some(Race::Opening(since)) => since + RACE_AGAIN,
            Some(Race::Standing(since)) => since + HANDICAP,
            Some(Race::Won) => return None,
        };
        target.map(|_| at)
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        let races = self.race_at().is_some_and(|at| now >= at);
        match &mut self.phase {
            Phase::Down => {}
            Phase::Waiting { until } if now >= *until => self.connect(now),
            Phase::Waiting { .. } => {}
            Phase::Connecting { since } => {
                if now >= *since + CONNECT_TIMEOUT {
                    self.lost(now);
                }
            }
            Phase::Up {
                heard,
                pinged,
                racing,
                ..
            } => {
                if now >= *heard + DEAD_AFTER {
                    return self.lost(now);
                }
                let stands = matches!(racing, Some(Race::Standing(_)));
                if races {
                    *racing = Some(match stands {
                        true => Race::Won,
                        false => Race::Opening(now),
                    });
                }
                if now >= *pinged + PING_EVERY {
                    *pinged = now;
                    let sent_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
                    let ping = message(client_control::Body::Ping(Ping { sent_us }));
                    self.effects.push_back(Effect::WriteControl(ping));
                }
                match (races, stands) {
                    (false, _) => {}
                    (true, true) => self.effects.push_back(Effect::Replace),
                    (true, false) => self.open(now, true),
                }
            }
        }
    }

    fn lost(&mut self, now: Duration) {
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
            && self.moved
            && now <= heard + CARRIED_HOLDS
        {
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
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn assignment(url: &str) -> MediaAssignment {
        MediaAssignment {
            url: url.to_owned(),
            ..MediaAssignment::default()
        }
    }

    /// A link to `a`, whose path is believed to carry 2 Mbit/s.
    fn link() -> MediaLink {
        let mut link = MediaLink::new(String::new());
        link.assigned(s(0), &assignment("https://a/v1/media"));
        link.up(s(0));
        let allocation = Allocation {
            estimate_bps: 2_000_000,
            shares: Vec::new(),
        };
        let body = Some(server_control::Body::Allocation(allocation));
        let said = framing::encode(&darktower_wire::media_control::ServerControl { body });
        link.control(s(1), &said).unwrap();
        link
    }

    fn next_url(link: &mut MediaLink) -> String {
        loop {
            match link.effect() {
                Some(Effect::Connect { url, .. }) => return url.0,
                Some(_) => {}
                None => panic!("it does not connect"),
            }
        }
    }

    #[test]
    fn one_that_is_refused_says_why_waits_longer_each_time_and_gets_in_by_itself() {
        let mut link = link();
        let (mut now, mut waits) = (s(2), Vec::new());
        for _ in 0..5 {
            link.down(now, Code::Overloaded);
            assert_eq!(link.refused(), Some(Code::Overloaded));
            let again = link.deadline().unwrap();
            waits.push(again - now);
            now = again;
            link.tick(now);
            // A session opens to be told why it is closed.
            link.up(now);
            assert_eq!(link.state(), LinkState::Connecting);
        }
        assert!(waits.is_sorted() && waits[4] > s(4), "{waits:?}");
        link.control(now, &welcome()).unwrap();
        assert_eq!((link.state(), link.refused()), (LinkState::Up, None));
        link.down(now, Code::Overloaded);
        assert_eq!(link.deadline(), Some(now), "the first time again");
        link.assigned(now, &assignment("https://b/v1/media"));
        assert_eq!(link.refused(), None, "another handler has not said so");
    }

    fn welcome() -> Bytes {
        let body = Some(server_control::Body::Welcome(Default::default()));
        framing::encode(&darktower_wire::media_control::ServerControl { body })
    }

    #[test]
    fn another_handler_is_told_what_the_path_carried() {
        let mut link = link();
        next_url(&mut link);
        link.assigned(s(2), &assignment("https://b/v1/media"));
        assert!(next_url(&mut link).ends_with("&carried_bps=2000000"));
        link.up(s(2));
        link.down(s(3), Code::ConnectionLost);
        link.tick(s(4));
        assert!(
            !next_url(&mut link).contains("carried"),
            "the network may be another"
        );
    }

    /// Ticks at each deadline up to `until`; what was wanted meanwhile, but for pings.
    fn run(link: &mut MediaLink, until: Duration) -> Vec<Effect> {
        let mut wanted = Vec::new();
        while let Some(at) = link.deadline().filter(|at| *at <= until) {
            link.tick(at);
            wanted.extend(std::iter::from_fn(|| link.effect()));
        }
        wanted.retain(|effect| !matches!(effect, Effect::WriteControl(_) | Effect::OpenControl(_)));
        wanted
    }

    #[test]
    fn beside_a_silent_link_another_is_opened_and_the_first_that_speaks_stays() {
        let is_beside = |effect: &Effect| matches!(effect, Effect::Connect { beside: true, .. });
        let mut link = link();
        run(&mut link, s(1));
        let wanted = run(&mut link, s(9));
        assert!(wanted.iter().all(is_beside), "{wanted:?}");
        assert_eq!(wanted.len(), 3, "{wanted:?}");
        assert_eq!(link.state(), LinkState::Connecting);
        link.heard(s(10));
        assert_eq!(link.effect(), Some(Effect::Keep));
        assert_eq!(link.state(), LinkState::Up);

        assert!(run(&mut link, s(14)).iter().all(is_beside));
        link.beside(s(14));
        assert_eq!(run(&mut link, s(15)), [Effect::Replace]);
        link.up(s(15));
        assert_eq!(link.state(), LinkState::Up);
        let wanted = run(&mut link, s(25));
        assert!(wanted.contains(&Effect::Close(Code::ConnectionLost)));
    }

    #[test]
    fn what_a_path_carried_long_ago_is_not_said() {
        let mut link = link();
        next_url(&mut link);
        link.assigned(s(12), &assignment("https://b/v1/media"));
        assert!(!next_url(&mut link).contains("carried"));
    }
}
