//! What a path is believed to carry, from stretches of arrivals: the same rules for
//! acknowledgements (`Path`) and for what a handler reports (`uplink`).
//!
//! Media seldom fills a path, so nothing may be concluded from what was not sent. Two
//! things are evidence. While a queue stands, what arrives is what the path carries, as
//! the bottleneck is never idle then: the belief comes down to it. While none stands,
//! what was sent and arrived fits: the belief comes up to it. All else leaves it alone.

use super::stretch::{History, Lowest, Micros, Stretch};

/// How far back the smallest delay is sought: clocks may drift and routes change, and a
/// sender that has drained its queue within this time has seen the path empty.
const BASE_WINDOW_US: u64 = 10_000_000;

/// A queue shorter than this is nobody's harm. Less for each doubling of the rate beyond
/// [`SLOW_BPS`]: slow links take long for a packet, and of flows that share a queue the
/// larger gives way first, which is what makes them even.
const QUEUE_US: u64 = 50_000;
const QUEUE_STEP_US: u64 = 8_000;
const LEAST_QUEUE_US: u64 = 20_000;
const SLOW_BPS: u64 = 250_000;

/// More jitter than this is not believed: a queue must not hide in it.
const MOST_JITTER_US: u64 = 80_000;

/// One move more than this is a queue, or a new path.
const MOST_MOVE_US: u64 = 40_000;

/// Where so much arrives of what is believed to fit, or ever arrived of late, a longer delay is the queue that we make.
const OURS_PERCENT: u64 = 90;

/// What is taken for jitter before any was seen.
const FIRST_JITTER_US: u64 = 15_000;

/// A queue has stood for so long, and one and a half times the jitter, before it is
/// believed, where what is sent is more than what arrives.
const STANDING_US: u64 = 70_000;

/// The same where it is not more: somebody else's burst passes in this time.
const PLATEAU_US: u64 = 300_000;

/// What flowed before a silence may flow after it, and this much (hundredths) has to be believed so that it does: for
/// less than all of the belief is spent, and key frames come first, so that layers seem to take more than before. Where
/// the path has become slower its queue says so within a moment.
const GOES_ON_PERCENT: u64 = 150;

/// One step down to what arrives keeps at least this share, and the next comes no sooner.
const SOFT_PERCENT: u64 = 80;
const SOFT_GAP_US: u64 = 100_000;

/// Over how long rates are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// While a queue stands, at most: the path may go on to change.
    pub(crate) capacity_us: u64,
    /// Without one, at least: shorter spans show bursts.
    pub(crate) delivery_us: u64,
    /// What the first step down to what arrives keeps at least (hundredths).
    pub(crate) keep_percent: u64,
    /// How long an answer takes on an empty path, where delays do not tell.
    pub(crate) answer_us: Option<u64>,
    /// A queue of so many thresholds shows a path that has become slow.
    pub(crate) sudden: u64,
    /// Half as many times as the mean move of delays they are spread.
    pub(crate) jitter: u64,
}

impl Spans {
    /// Where each packet is seen.
    pub(crate) const OF_PACKETS: Self = Self {
        capacity_us: 300_000,
        delivery_us: 200_000,
        keep_percent: 3,
        answer_us: None,
        sudden: 1,
        jitter: 7,
    };
    /// Where reports tell of frames, each 100 ms: streams bring some of them in bursts, behind a piece that was lost.
    pub(crate) const OF_FRAMES: Self = Self {
        capacity_us: 600_000,
        delivery_us: 600_000,
        keep_percent: 8,
        answer_us: Some(200_000),
        sudden: 2,
        jitter: 6,
    };

    fn of_frames(&self) -> bool {
        self.answer_us.is_some()
    }
}

/// Growth each second while what is sent fills the belief: a share of it, and beside it a
/// part that is the same for all flows but the smallest, so that they become even.
const GROWTH_PERCENT: u64 = 2;
const GROWTH_BPS: u64 = 80_000;
const GROWTH_SMALL_PERCENT: u64 = 12;

/// A path that carries so much of what it carried when it was full is another one.
const ANOTHER_PERCENT: u64 = 115;

/// A queue of ours is a quarter shorter when so much time has gone since the first cut,
/// for meanwhile far less was sent than leaves it.
const OTHERS_US: u64 = 2_000_000;

/// No longer queue of others is put up with than this.
const MOST_TOLERATED_US: u64 = 1_000_000;

/// Where losses count: over this much time and data.
const LOSS_SPAN_US: u64 = 500_000;
const LOSS_BYTES: u64 = 15_000;

/// Losses are the path's own until they are this much (thousandths) beyond one and a
/// half times what it always loses.
const LOSS_MARGIN: u64 = 150;

/// Marks of congestion count for half of what they would at full share, as DCTCP has it
/// (RFC 8257); this many stretches are averaged.
const MARK_GAIN: u64 = 8;

/// The belief, in bits a second.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    bps: u64,
    min_bps: u64,
    max_bps: u64,
    spans: Spans,
    history: History,
    base: Lowest,
    last_delay_us: u64,
    /// The mean of what the smallest delay moves by, and the jitter that it shows.
    moves_us: u64,
    jitter_us: u64,
    /// Queue that is there whatever we do.
    tolerated_us: u64,
    queue_us: u64,
    /// Stretches and time since a queue stands.
    standing: usize,
    standing_us: u64,
    /// This queue has shown that the path is less than half of what was sent.
    collapsed: bool,
    /// When the first cut for this queue was, what was believed before it, and how long
    /// the queue has been at most.
    cut: Option<(Micros, u64)>,
    longest_us: u64,
    /// No cut by a fixed share before this.
    hold_until: Micros,
    /// No further step down to what arrives before this.
    soft_until: Micros,
    /// No growth before this.
    calm_from: Micros,
    losses: Losses,
    /// Share of marks, in 1024ths.
    marks: u64,
    /// What the path carried when it last was full: without a test the belief creeps no further.
    full_bps: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    arrived: u64,
    lost: u64,
    span_us: u64,
    /// Thousandths that the path loses when it is not full. `None`: not known.
    floor: Option<u64>,
    /// Spans in a row beyond it.
    beyond: u32,
}

/// What a stretch has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing that a sender has to react to at once.
    Steady,
    /// More is on the way than the path takes.
    Cut,
}

impl Belief {
    pub(crate) fn new(bps: u64, min_bps: u64, max_bps: u64, spans: Spans) -> Self {
        Self {
            bps: bps.clamp(min_bps, max_bps),
            min_bps,
            max_bps,
            spans,
            history: History::default(),
            base: Lowest::new(BASE_WINDOW_US),
            last_delay_us: 0,
            moves_us: FIRST_JITTER_US / 3,
            jitter_us: FIRST_JITTER_US,
            tolerated_us: 0,
            queue_us: 0,
            standing: 0,
            standing_us: 0,
            collapsed: false,
            cut: None,
            longest_us: 0,
            hold_until: 0,
            soft_until: 0,
            calm_from: 0,
            losses: Losses::default(),
            marks: 0,
            full_bps: None,
        }
    }

    pub(crate) fn bps(&self) -> u64 {
        self.bps
    }

    /// The smallest delay of late.
    pub(crate) fn base_us(&self) -> Option<u64> {
        self.base.get()
    }

    /// The queue that others make and that is put up with.
    pub(crate) fn tolerated_us(&self) -> u64 {
        self.tolerated_us
    }

    pub(crate) fn jitter_us(&self) -> u64 {
        self.jitter_us
    }

    /// Delay beyond the smallest.
    pub(crate) fn queue_us(&self) -> u64 {
        self.queue_us
    }

    /// How long a queue must be to count.
    pub(crate) fn threshold_us(&self) -> u64 {
        let doublings = u64::from((self.bps / SLOW_BPS).checked_ilog2().unwrap_or(0));
        let queue = QUEUE_US.saturating_sub(QUEUE_STEP_US * doublings);
        queue.max(LEAST_QUEUE_US) + self.jitter_us + self.tolerated_us
    }

    /// Thousandths that the path loses without being full.
    pub(crate) fn inherent_loss(&self) -> u64 {
        self.losses.floor.unwrap_or(0)
    }

    /// No queue stands, and none did a moment ago.
    pub(crate) fn is_calm(&self, now: Micros) -> bool {
        self.standing == 0 && now >= self.calm_from
    }

    /// A test has shown that so much fits, or how much does.
    pub(crate) fn raise(&mut self, bps: u64) {
        self.bps = self.bps.max(bps).min(self.max_bps);
        if self
            .full_bps
            .is_some_and(|full| self.bps > full / 100 * ANOTHER_PERCENT)
        {
            self.full_bps = None;
        }
    }

    /// The sender's own queue shows that it is less: what has arrived, and a part of the
    /// belief, so that a queue of one large frame does little.
    pub(crate) fn yield_to_backlog(&mut self, now: Micros) {
        let seen = self.history.together(usize::MAX, self.spans.delivery_us);
        let arrived = self.undo_loss(seen.arrival_bps());
        self.set((arrived / 100 * 90).max(self.bps / 100 * SOFT_PERCENT));
        self.calm_from = now + PLATEAU_US;
    }

    /// Nothing was heard for so long that the path may be another one.
    pub(crate) fn restart(&mut self, percent: u64) {
        let flowed = self.history.together(usize::MAX, u64::MAX).delivered_bps();
        let goes_on = self.bps.min(flowed / 100 * GOES_ON_PERCENT);
        self.set((self.bps / 100 * percent).max(goes_on));
        self.history.clear();
        self.drained();
        self.losses = Losses {
            floor: self.losses.floor,
            ..Losses::default()
        };
    }

    pub(crate) fn observe(&mut self, now: Micros, stretch: Stretch) -> Outcome {
        self.history.push(stretch);
        self.base.observe(now, stretch.delay_us);
        let base = self.base.get().unwrap_or(stretch.delay_us);
        self.queue_us = stretch.delay_us.saturating_sub(base);
        let before = self.bps;
        if self.spans.of_frames() {
            self.learn_jitter(&stretch);
            self.watch_queue(now, &stretch);
        } else {
            // Afterwards, or a queue that grows would count as jitter before it is judged.
            self.watch_queue(now, &stretch);
            self.learn_jitter(&stretch);
        }
        self.watch_losses(now, &stretch);
        self.watch_marks(now, &stretch);
        if self.bps < before {
            self.calm_from = now + self.answer_us() + 200_000;
            return Outcome::Cut;
        }
        if self.is_calm(now) && self.queue_us < self.threshold_us() {
            self.grow(&stretch);
        }
        Outcome::Steady
    }

    fn watch_queue(&mut self, now: Micros, stretch: &Stretch) {
        let threshold = self.threshold_us();
        if self.queue_us <= threshold {
            if self.queue_us < threshold * 3 / 4 || self.standing == 1 {
                self.drained();
            }
            if self.queue_us < self.tolerated_us / 2 {
                // Some forty stretches, two seconds, until it is forgotten.
                self.tolerated_us -= self.tolerated_us / 20 + 1;
            }
            return;
        }
        self.standing += 1;
        self.standing_us += stretch.arrival_us;
        if self.standing < 2 {
            return;
        }
        let seen = self.history.together(self.standing, self.spans.capacity_us);
        let capacity = self.undo_loss(seen.arrival_bps());
        let sent = seen.sent_bps(self.inherent_loss());
        let collapsed = sent / 2 > seen.arrival_bps();
        let long = self.standing_us >= STANDING_US + self.jitter_us * 3 / 2;
        let sudden = collapsed && self.queue_us > threshold * self.spans.sudden;
        if !(long || sudden) {
            return;
        }
        let before = self.bps;
        self.full_bps = Some(capacity);
        if sent > seen.arrival_bps() / 20 * 21 {
            if now >= self.soft_until {
                self.step_down(now, capacity, collapsed);
            }
        } else if self.standing_us >= PLATEAU_US && now >= self.hold_until {
            // A queue that neither grows nor goes: gently, for it may be somebody else's.
            // Larger flows give way a little more, so that shares become even.
            let keep = match self.bps {
                0..500_000 => 90,
                500_000..1_500_000 => 85,
                _ => 80,
            };
            self.set(before.max(capacity) / 100 * keep);
            self.hold_until = now + PLATEAU_US + self.queue_us;
        }
        self.put_up_with(now, before);
    }

    /// More is sent than comes out: it comes out as fast as the path is. Where less than
    /// half does, the path has become slow, and one step goes all the way; else others'
    /// bursts may have taken their part for a moment.
    fn step_down(&mut self, now: Micros, capacity: u64, collapsed: bool) {
        let first = collapsed && !self.collapsed;
        self.collapsed |= collapsed;
        let (keep, wait) = match first {
            true => (self.spans.keep_percent, 0),
            false => (SOFT_PERCENT, self.answer_us()),
        };
        let less = capacity / 100 * if collapsed { 80 } else { 90 };
        self.set(less.max(self.bps / 100 * keep));
        self.soft_until = now + SOFT_GAP_US + wait;
        self.hold_until = self.hold_until.max(now + PLATEAU_US);
    }

    /// A queue that stays whatever is given up is made by others, who will not give way
    /// (or the path has become a longer one): put up with it, and take back half.
    fn put_up_with(&mut self, now: Micros, before: u64) {
        self.longest_us = self.longest_us.max(self.queue_us);
        if self.bps < before && self.cut.is_none() {
            self.cut = Some((now, before));
        }
        let Some((since, full)) = self.cut else {
            return;
        };
        let stays = self.queue_us > self.longest_us / 4 * 3;
        if now >= since + OTHERS_US && stays && self.bps <= full / 4 * 3 {
            self.tolerated_us = self.queue_us.min(MOST_TOLERATED_US);
            self.drained();
            self.raise(full / 2);
        }
    }

    fn drained(&mut self) {
        (self.standing, self.standing_us) = (0, 0);
        (self.cut, self.longest_us) = (None, 0);
        self.collapsed = false;
    }

    /// From one stretch to the next the smallest delay moves little where only queues
    /// make it, and much where the path does. It rises as often as it falls, so rises are
    /// enough; and where as much arrives as fits, it rises by our own queue.
    fn learn_jitter(&mut self, stretch: &Stretch) {
        let last = core::mem::replace(&mut self.last_delay_us, stretch.delay_us);
        let fits = (self.bps / 2 * 3).min(self.history.fastest_bps());
        let is_ours = stretch.arrival_bps() > fits / 100 * OURS_PERCENT;
        let move_us = match self.spans.of_frames() {
            // Of frames nobody knows what of their delay is a queue.
            true => last.abs_diff(stretch.delay_us).min(MOST_MOVE_US),
            false if is_ours => 0,
            false => 2 * stretch.delay_us.saturating_sub(last).min(MOST_MOVE_US),
        };
        self.moves_us = (self.moves_us * 15 + move_us) / 16;
        self.jitter_us = (self.moves_us * self.spans.jitter / 2).min(MOST_JITTER_US);
    }

    fn watch_losses(&mut self, now: Micros, stretch: &Stretch) {
        let losses = &mut self.losses;
        losses.arrived += stretch.bytes;
        losses.lost += stretch.lost;
        losses.span_us += stretch.arrival_us;
        let all = losses.arrived + losses.lost;
        if losses.span_us < LOSS_SPAN_US || all < LOSS_BYTES {
            return;
        }
        let share = losses.lost * 1000 / all;
        let delivered = super::stretch::bps(losses.arrived, losses.span_us);
        (losses.arrived, losses.lost, losses.span_us) = (0, 0, 0);
        if losses.floor.is_none() && self.standing > 0 {
            // What a full queue drops says nothing of the path.
            return;
        }
        let floor = *losses.floor.get_or_insert(share);
        let limit = floor * 3 / 2 + LOSS_MARGIN;
        if share <= limit {
            losses.beyond = 0;
            losses.floor = Some((floor * 3 + share) / 4);
            return;
        }
        losses.beyond += 1;
        if losses.beyond > 4 {
            // Less was sent, and as large a share was lost: the path loses so much.
            losses.floor = Some(share);
        } else if losses.beyond > 1 || share > limit + 300 {
            self.set(delivered / 100 * 95);
            self.calm_from = now + LOSS_SPAN_US;
        }
    }

    fn watch_marks(&mut self, now: Micros, stretch: &Stretch) {
        let share = u64::from(stretch.marked) * 1024 / u64::from(stretch.acks.max(1));
        self.marks = (self.marks * (MARK_GAIN - 1) + share) / MARK_GAIN;
        if stretch.marked > 0 && now >= self.hold_until {
            let cut = u128::from(self.bps) * u128::from(self.marks) / 2048;
            self.set(self.bps - u64::try_from(cut).unwrap_or(0));
            self.hold_until = now + self.answer_us();
        }
    }

    fn grow(&mut self, stretch: &Stretch) {
        let seen = self.history.together(usize::MAX, self.spans.delivery_us);
        if seen.arrival_us < self.spans.delivery_us {
            return;
        }
        let delivered = self.undo_loss(seen.delivered_bps());
        if delivered > self.bps {
            self.raise(delivered.min(self.bps / 2 * 3));
        } else if delivered > self.bps / 5 * 4 || (stretch.full && delivered > self.bps / 2) {
            let same = GROWTH_BPS.min(self.bps / 100 * GROWTH_SMALL_PERCENT);
            let each_second = self.bps / 100 * GROWTH_PERCENT + same;
            let more = u128::from(each_second) * u128::from(stretch.arrival_us) / 1_000_000;
            let more = self.bps + u64::try_from(more).unwrap_or(0);
            self.raise(more.min(self.full_bps.unwrap_or(u64::MAX)));
        }
    }

    /// When what is done now is seen.
    fn answer_us(&self) -> u64 {
        let empty = self.spans.answer_us.or(self.base.get());
        empty.unwrap_or(0) + self.queue_us
    }

    /// What has to be sent for so much to arrive.
    fn undo_loss(&self, arrived: u64) -> u64 {
        let kept = 1000 - self.inherent_loss().min(300);
        arrived / kept * 1000
    }

    fn set(&mut self, bps: u64) {
        self.bps = self.bps.min(bps).max(self.min_bps);
    }
}
