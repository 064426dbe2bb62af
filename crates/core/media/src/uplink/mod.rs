//! What a publisher's connection carries, from what the handler says of its frames: the
//! belief of `path`, fed with reports in place of acknowledgements, for a browser tells
//! nothing of its own congestion control.

mod lag;
mod split;
mod trial;

use core::time::Duration;

use darktower_wire::datagram::MAX_BUNDLE;
use lag::Lag;
pub(crate) use split::{Want, range, split};
use trial::Trial;

use crate::Bitrate;
use crate::arrivals::Feedback;
use crate::path::{Belief, Loss, Meter, Micros, Outcome, Spans, Stretch, micros, redundancy};

/// Bounds of the belief.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What a connection is taken to carry before anything is known of it: all layers
    /// but the largest.
    pub initial: Bitrate,
    /// What it is taken to carry where the handler never says anything.
    pub silent: Bitrate,
    /// The belief is never less: sound, and pictures that still show who speaks.
    pub min: Bitrate,
    /// Nor more.
    pub max: Bitrate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial: Bitrate::from_kbps(1_000),
            silent: Bitrate::from_kbps(2_500),
            min: Bitrate::from_kbps(60),
            max: Bitrate::from_kbps(20_000),
        }
    }
}

/// A handler that has said nothing by then does not know how to.
const SILENT_FROM_US: u64 = 2_000_000;

/// Reports come each 100 ms; when none has come for so long the belief shrinks, and again
/// each time.
const MISSED_US: u64 = 1_000_000;
const MISSED_AGAIN_US: u64 = 500_000;
const MISSED_PERCENT: u64 = 80;

/// Silence makes it no smaller than this: the smallest picture and sound go on, for it is they that find out that
/// the path is back.
const MISSED_LEAST: Bitrate = Bitrate::from_kbps(250);

/// Pictures get this much of the belief; the rest is for what encoders overshoot.
const SPENT_PERCENT: u64 = 90;

/// A backlog that takes longer than this to leave, or frames left out for one, over this
/// many reports, show that the sender's own congestion control allows less. Key frames
/// leave sooner.
const BACKLOG: Duration = Duration::from_millis(200);
const BACKLOG_REPORTS: u32 = 3;

/// Sound with its repetitions takes no more than this part of the belief, but for one.
const SOUND_PART: u64 = 3;

/// With less than this missing the repetitions suffice.
const MISSING: Loss = Loss::from_thousandths(5);

/// Over how long the rate of sound is taken.
const SOUND_US: u64 = 500_000;

/// Delays of one way lie between two clocks; this is what the first one counts as.
const FIRST_DELAY_US: i64 = 1 << 40;

#[derive(Debug)]
pub(crate) struct Uplink {
    config: Config,
    belief: Belief,
    trial: Trial,
    loss: Meter,
    /// What redundancy did not bring either.
    missing: Meter,
    connected: Micros,
    /// When a report came, or the belief shrank for want of one.
    heard: Option<Micros>,
    reported: Option<Micros>,
    first_transit_us: Option<i64>,
    last_delay_us: Option<u64>,
    lag: Lag,
    /// What all wanted layers would take.
    wanted: Bitrate,
    /// Bytes sent since the last report.
    offered: u64,
    backlogged: u32,
    /// Frames were left out since the last report, as others had not left.
    lagged: bool,
    sound: Sound,
}

/// The rate of sound, repetitions included.
#[derive(Debug, Default)]
struct Sound {
    began: Micros,
    bytes: u64,
    rate: Bitrate,
}

impl Uplink {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            belief: believe(&config, config.initial),
            trial: Trial::default(),
            loss: Meter::default(),
            missing: Meter::default(),
            connected: 0,
            heard: None,
            reported: None,
            first_transit_us: None,
            last_delay_us: None,
            lag: Lag::new(),
            wanted: Bitrate::ZERO,
            offered: 0,
            backlogged: 0,
            lagged: false,
            sound: Sound::default(),
        }
    }

    /// A new session, maybe over another network: not all that was known of the last.
    pub(crate) fn connected(&mut self, now: Duration) {
        let known = self.estimate().percent(75);
        let start = match self.heard {
            Some(_) => known.min(self.config.initial),
            None => self.config.initial,
        };
        let sound = core::mem::take(&mut self.sound);
        *self = Self {
            belief: believe(&self.config, start),
            loss: Meter::new(now),
            missing: Meter::new(now),
            connected: micros(now),
            wanted: self.wanted,
            sound,
            ..Self::new(self.config)
        };
    }

    /// There is nobody to test with.
    pub(crate) fn disconnected(&mut self) {
        self.trial = Trial::default();
    }

    /// A report. `backlog`: bytes given to streams that have not left.
    pub(crate) fn feedback(&mut self, now: Duration, feedback: &Feedback, backlog: u64) {
        let at = micros(now);
        self.heard = Some(at);
        self.reported = Some(at);
        let span_us = micros(feedback.interval).clamp(1_000, MISSED_US);
        let first = *self.first_transit_us.get_or_insert(feedback.transit_us);
        let delay = FIRST_DELAY_US.saturating_add(feedback.transit_us.saturating_sub(first));
        let delay = delay.max(0).cast_unsigned();
        let delay = self.lag.taken_off(delay, self.belief.base_us());
        let last = self.last_delay_us.replace(delay).unwrap_or(delay);
        let change = delay.cast_signed().saturating_sub(last.cast_signed());
        let (arrived, missing) = (feedback.datagrams, feedback.datagrams_lost);
        let (arrived, missing) = (u64::from(arrived), u64::from(missing));
        // What a full queue drops is no reason to send sound twice.
        if self.belief.queue_us() <= self.belief.threshold_us() {
            self.loss.count(now, arrived, missing);
        }
        let heard = u64::from(feedback.audio);
        self.missing
            .count(now, heard, u64::from(feedback.audio_lost));
        let stretch = Stretch {
            bytes: feedback.bytes,
            offered: core::mem::take(&mut self.offered),
            lost: feedback.bytes.saturating_mul(missing) / arrived.max(1),
            arrival_us: span_us,
            // What took longer to arrive than to be sent was delayed by the difference.
            send_us: span_us
                .saturating_add_signed(change.saturating_neg())
                .max(span_us / 8),
            delay_us: delay,
            acks: 1,
            ..Stretch::default()
        };
        let outcome = self.belief.observe(at, stretch);
        if outcome == Outcome::Steady {
            self.watch_backlog(at, backlog);
        }
        let bytes = feedback.bytes;
        self.trial.heard(at, bytes, span_us, &mut self.belief);
        self.test(at);
    }

    fn watch_backlog(&mut self, now: Micros, backlog: u64) {
        let lagged = core::mem::take(&mut self.lagged);
        if !lagged && backlog <= self.estimate().bytes_in(BACKLOG) {
            self.backlogged = 0;
            return;
        }
        self.backlogged += 1;
        if self.backlogged >= BACKLOG_REPORTS {
            self.belief.yield_to_backlog(now);
            self.backlogged = 0;
        }
    }

    /// Frames are left out, as what was sent before them has not left.
    pub(crate) fn lagged(&mut self) {
        self.lagged = true;
    }

    /// How often sound is to be repeated, where it is `repeats` times now: as the loss asks,
    /// once more where that was not enough, as losses come in bursts, and no more than the
    /// belief allows.
    pub(crate) fn repeats(&self, repeats: usize) -> usize {
        let more = self.missing.loss() >= MISSING;
        let wanted = redundancy(self.loss()) + usize::from(more);
        let once = self.sound.rate.bps() / (repeats as u64 + 1);
        let times = (self.belief.bps() / SOUND_PART).checked_div(once);
        let most = times.map_or(MAX_BUNDLE as u64, |times| times.saturating_sub(1).max(1));
        wanted.min(most as usize)
    }

    /// Reports were missed: what was sent of late may not have arrived.
    pub(crate) fn is_silent(&self, now: Duration) -> bool {
        self.reported.is_some_and(|at| micros(now) > at + MISSED_US)
    }

    /// Looks at the clock. True where the belief has changed for want of reports, or by the last of them.
    pub(crate) fn watch(&mut self, now: Duration) -> bool {
        let now = micros(now);
        let Some(heard) = self.heard else {
            let silent = self.config.silent;
            let waited = now >= self.connected + SILENT_FROM_US;
            let raise = waited && self.estimate() < silent;
            if raise {
                self.belief = believe(&self.config, silent);
            }
            return raise;
        };
        if now < heard + MISSED_US {
            return false;
        }
        // The next time comes sooner.
        self.heard = Some(now + MISSED_AGAIN_US - MISSED_US);
        let before = self.estimate();
        // A queue that stood is not known to stand any more.
        let shrinks = self.offered > 0 && self.estimate() > MISSED_LEAST;
        self.belief
            .restart(if shrinks { MISSED_PERCENT } else { 100 });
        // Too little may be believed to send anything at all, and of nothing there is no report.
        self.test(now);
        self.estimate() != before
    }

    /// Begins a test of what all layers would take, where that is more than is believed.
    fn test(&mut self, now: Micros) {
        self.trial.unheard(now, &mut self.belief);
        let all = self.wanted.percent(110) + self.sound.rate;
        self.trial.begin(now, all.bps(), &self.belief);
    }

    /// A frame is sent that was captured then, by the same clock.
    pub(crate) fn captured(&mut self, now: Duration, capture_us: u64) {
        let now = micros(now);
        self.lag.sent(now, now.saturating_sub(capture_us));
    }

    pub(crate) fn sent_audio(&mut self, now: Duration, bytes: u64) {
        let now = micros(now);
        self.offered += bytes;
        self.trial.sent(now, bytes);
        self.sound.bytes += bytes;
        let span = now.saturating_sub(self.sound.began);
        if span >= SOUND_US {
            self.sound.rate = Bitrate::of(self.sound.bytes, Duration::from_micros(span));
            (self.sound.began, self.sound.bytes) = (now, 0);
        }
    }

    pub(crate) fn sent_video(&mut self, now: Duration, bytes: u64) {
        self.offered += bytes;
        self.trial.sent(micros(now), bytes);
    }

    /// The size of a datagram of padding to send now; again until there is none.
    pub(crate) fn padding(&mut self, now: Duration) -> Option<usize> {
        let padding = self.trial.padding(micros(now));
        self.offered += padding.unwrap_or(0) as u64;
        padding
    }

    pub(crate) fn loss(&self) -> Loss {
        self.loss.loss()
    }

    pub(crate) fn estimate(&self) -> Bitrate {
        Bitrate::from_bps(self.belief.bps())
    }

    /// What pictures may take. Sound goes first.
    pub(crate) fn video_budget(&self) -> Bitrate {
        self.estimate().percent(SPENT_PERCENT) - self.sound.rate
    }

    /// What all layers that somebody gets would take at most.
    pub(crate) fn wanted(&mut self, all: Bitrate) {
        self.wanted = all;
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let is_wanted = self.wanted > Bitrate::ZERO;
        let missed = self
            .heard
            .filter(|_| is_wanted)
            .map(|heard| heard + MISSED_US);
        let at = self.trial.deadline().into_iter().chain(missed).min();
        at.map(Duration::from_micros)
    }
}

fn believe(config: &Config, start: Bitrate) -> Belief {
    let [start, min, max] = [start, config.min, config.max].map(Bitrate::bps);
    Belief::new(start, min, max, Spans::OF_FRAMES)
}
