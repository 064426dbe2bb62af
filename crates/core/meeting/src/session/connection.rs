//! The connection below a session: when to try, when to ping, when to give it up.

use core::time::Duration;

use super::Race;
use super::api::{Config, Link};

/// Round trips a ping and its answer have besides `peer_gone_after`: what is lost is
/// sent again.
const ROUND_TRIPS: u32 = 4;

/// How long before the end of a ping's grace something must have come by another way.
const PATH_FRESH: Duration = Duration::from_millis(250);

/// After an outage of both the other way may only be back first: the peer gets the time
/// of four pings.
const RESUMED: Duration = Duration::from_secs(1);

/// What comes by another way after so long a silence shows that the network is back: three of its pings.
const RETURNS_AFTER: Duration = Duration::from_secs(3);

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The next attempt starts then.
    Waiting(Duration),
    /// An attempt runs since.
    Connecting(Duration),
    Up(Pulse),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pulse {
    heard: Duration,
    pinged: Duration,
    /// The oldest ping without an answer.
    unanswered: Option<Duration>,
    /// Of the last ping that was answered; none on a connection that never did.
    rtt: Option<Duration>,
    /// When something last came by another way, and since when it has without a pause.
    path_heard: Duration,
    path_since: Duration,
    racing: Option<Race>,
}

/// What the connection needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Connect,
    /// The same, beside the one that stands.
    Race,
    /// The one beside it takes its place.
    Replace,
    Ping,
    /// The attempt or the connection has to be given up.
    Lost,
}

#[derive(Debug)]
pub(super) struct Connection {
    stage: Stage,
    attempts: usize,
    /// How often it was sent on since it was last where it belongs.
    sent_on: usize,
    /// How long the present attempt may take.
    patience: Duration,
    /// Pings come as often as on a suspicious one.
    is_watched: bool,
    /// When something last came by another way.
    elsewhere: Duration,
    /// The network is back since the present attempt began, which may have failed by then.
    is_back: bool,
    random: u64,
}

impl Connection {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            stage: Stage::Idle,
            attempts: 0,
            sent_on: 0,
            patience: Duration::ZERO,
            is_watched: false,
            elsewhere: Duration::ZERO,
            is_back: false,
            // xorshift stands still at 0.
            random: seed | 1,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    /// There is, or may be, something to close.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Up(_) | Stage::Connecting(_))
    }

    pub(super) fn link(&self, now: Duration, config: &Config) -> Link {
        match self.stage {
            Stage::Idle => Link::Down,
            Stage::Waiting(_) | Stage::Connecting(_) => Link::Connecting,
            Stage::Up(pulse) if pulse.racing.is_some() => Link::Connecting,
            Stage::Up(pulse) if pulse.is_suspicious(now, config) => Link::Suspicious,
            Stage::Up(_) => Link::Up,
        }
    }

    /// Starts over: the first attempt comes without a wait.
    pub(super) fn start(&mut self, now: Duration) {
        self.attempts = 0;
        self.stage = Stage::Waiting(now);
    }

    pub(super) fn stop(&mut self) {
        self.stage = Stage::Idle;
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.is_back = false;
        self.stage = Stage::Up(Pulse {
            heard: now,
            pinged: now,
            unanswered: None,
            rtt: None,
            path_heard: Duration::ZERO,
            path_since: Duration::ZERO,
            racing: None,
        });
    }

    /// The other end did what only a working one does: the next loss starts a
    /// new row of attempts.
    pub(super) fn proved(&mut self) {
        (self.attempts, self.sent_on) = (0, 0);
    }

    /// The other end names another: what failed before is no reason to wait. Who is sent on and on does.
    pub(super) fn sent_on(&mut self) {
        self.attempts = self.sent_on;
        self.sent_on += 1;
    }

    /// Something came. Whether that settles a race: the connection that stands has won.
    pub(super) fn heard(&mut self, now: Duration) -> bool {
        match &mut self.stage {
            Stage::Up(pulse) => {
                pulse.heard = now;
                pulse.racing.take().is_some()
            }
            _ => false,
        }
    }

    /// The connection beside this one stands.
    pub(super) fn beside(&mut self, now: Duration) {
        if let Stage::Up(Pulse {
            racing: Some(race), ..
        }) = &mut self.stage
        {
            race.stands(now);
        }
    }

    pub(super) fn is_replaced(&self) -> bool {
        matches!(self.stage, Stage::Up(pulse) if pulse.racing == Some(Race::Won))
    }

    /// A ping sent at `sent` was answered.
    pub(super) fn answered(&mut self, sent: Duration) {
        if let Stage::Up(pulse) = &mut self.stage
            && pulse.unanswered.is_some_and(|oldest| oldest <= sent)
        {
            pulse.unanswered = (pulse.pinged > sent).then_some(pulse.pinged);
            pulse.rtt = pulse.heard.checked_sub(sent);
        }
    }

    pub(super) fn watch(&mut self, closely: bool) {
        self.is_watched = closely;
    }

    /// Something came by another way at `at`: the network of this end works. Where it did not before, who waits for it
    /// tries at once.
    pub(super) fn path_heard(&mut self, at: Duration) {
        let before = core::mem::replace(&mut self.elsewhere, at);
        let returns = at > before + RETURNS_AFTER;
        match &mut self.stage {
            Stage::Up(pulse) => {
                if at > pulse.path_heard + PATH_FRESH {
                    pulse.path_since = at;
                }
                pulse.path_heard = pulse.path_heard.max(at);
            }
            Stage::Waiting(_) if returns => self.hurry(at),
            Stage::Connecting(_) => self.is_back |= returns,
            Stage::Waiting(_) | Stage::Idle => {}
        }
    }

    /// The connection is over. Whether the one that is opened beside it is the attempt at the next.
    pub(super) fn fall_back(&mut self) -> bool {
        let race = match self.stage {
            Stage::Up(pulse) => pulse.racing,
            _ => None,
        };
        let Some(since) = race.and_then(Race::under_way) else {
            return false;
        };
        self.patience = Race::ATTEMPT;
        self.stage = Stage::Connecting(since);
        true
    }

    /// The connection, or the attempt at one, is over: wait and try again.
    pub(super) fn lost(&mut self, now: Duration, config: &Config) {
        let wait = config
            .backoff
            .get(self.attempts)
            .or(config.backoff.last())
            .copied()
            .unwrap_or_default();
        self.attempts += 1;
        self.stage = Stage::Waiting(now + self.jittered(wait));
        if core::mem::take(&mut self.is_back) {
            self.hurry(now);
        }
    }

    /// The next attempt comes without its wait; if that fails, the waits go on as before.
    pub(super) fn hurry(&mut self, now: Duration) {
        if let Stage::Waiting(at) = &mut self.stage {
            *at = now.min(*at);
        }
    }

    /// How long an attempt that begins may take.
    pub(super) fn allow(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(super) fn next_need(&mut self, now: Duration, config: &Config) -> Option<Need> {
        if self.deadline(config)? > now {
            return None;
        }
        match &mut self.stage {
            Stage::Idle => None,
            Stage::Waiting(_) => {
                self.stage = Stage::Connecting(now);
                Some(Need::Connect)
            }
            Stage::Connecting(_) => Some(Need::Lost),
            Stage::Up(pulse) if pulse.is_dead(now, config) => Some(Need::Lost),
            Stage::Up(pulse) if pulse.race_at(config).is_some_and(|at| now >= at) => {
                let race = pulse.racing.map_or(Race::Opening(now), |it| it.turn(now));
                pulse.racing = Some(race);
                Some(match race {
                    Race::Won => Need::Replace,
                    _ => Need::Race,
                })
            }
            Stage::Up(pulse) => {
                // As exact as the ping says it, so that the answer compares.
                pulse.pinged = Duration::from_micros(now.as_micros() as u64);
                pulse.unanswered.get_or_insert(pulse.pinged);
                Some(Need::Ping)
            }
        }
    }

    /// The peer is gone, as far as one can tell, and not the network.
    pub(super) fn is_peer_gone(&self, now: Duration, config: &Config) -> bool {
        matches!(&self.stage, Stage::Up(pulse)
            if pulse.peer_gone_at(config).is_some_and(|at| now >= at))
    }

    pub(super) fn deadline(&self, config: &Config) -> Option<Duration> {
        match self.stage {
            Stage::Idle => None,
            Stage::Waiting(at) => Some(at),
            Stage::Connecting(since) => Some(since + self.patience),
            Stage::Up(pulse) => {
                let ping = pulse.next_ping(self.is_watched, config);
                let dead = pulse.dead_at(config).into_iter();
                let others = [pulse.peer_gone_at(config), pulse.race_at(config)];
                dead.chain(others.into_iter().flatten()).chain([ping]).min()
            }
        }
    }

    /// 80 % to 120 % of `wait`, so that a crowd does not come back at once.
    fn jittered(&mut self, wait: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        wait * (80 + (self.random % 41) as u32) / 100
    }
}

impl Pulse {
    fn is_suspicious(&self, now: Duration, config: &Config) -> bool {
        self.unanswered
            .is_some_and(|oldest| now >= oldest + config.suspicious_after)
    }

    /// When it has been silent for so long. Silence alone is no proof after a sleep of our own: a ping must have gone
    /// unanswered for a while as well.
    fn silent_for(&self, time: Duration, config: &Config) -> Option<Duration> {
        let grace = time.saturating_sub(config.ping_every);
        self.unanswered
            .map(|oldest| (oldest + grace).max(self.heard + time))
    }

    fn dead_at(&self, config: &Config) -> Option<Duration> {
        self.silent_for(config.dead_after, config)
    }

    /// When another connection is to be opened beside it, or to take its place: the network may be back later and this
    /// one live, or the peer be gone for good.
    fn race_at(&self, config: &Config) -> Option<Duration> {
        match self.racing {
            Some(race) => race.at(),
            None => {
                // The peer's last word may be a ping older than the silence is.
                let heard = self.path_heard.min(self.heard + config.ping_every);
                let silent = heard + config.race_after;
                self.silent_for(config.race_after, config)
                    .map(|at| at.max(silent))
            }
        }
    }

    /// The network works and the ping's answer did not come by it: the peer is
    /// gone, and waiting for the network to heal would be in vain. Only of a
    /// peer that has answered here before; a new one may have to fetch the meeting.
    fn peer_gone_at(&self, config: &Config) -> Option<Duration> {
        let grace = config.peer_gone_after + ROUND_TRIPS * self.rtt?;
        let at = self.unanswered? + grace;
        // Heard so late that the answer, sent at once, would have come before it.
        let is_late = self.path_heard + PATH_FRESH >= at;
        let resumed = self.path_since + RESUMED + ROUND_TRIPS * self.rtt?;
        is_late.then_some(at.max(resumed))
    }

    fn is_dead(&self, now: Duration, config: &Config) -> bool {
        let gone = [self.dead_at(config), self.peer_gone_at(config)];
        gone.into_iter().flatten().any(|at| now >= at)
    }

    fn next_ping(&self, is_watched: bool, config: &Config) -> Duration {
        match self.unanswered {
            _ if is_watched => self.pinged + config.ping_suspicious_every,
            None => self.pinged + config.ping_every,
            Some(oldest) => (oldest + config.suspicious_after)
                .max(self.pinged + config.ping_suspicious_every)
                .min(self.pinged + config.ping_every),
        }
    }
}
