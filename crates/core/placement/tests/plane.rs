//! Out of rotation within 3 s, and back when it has healed for good.

use std::collections::BTreeSet;
use std::time::Duration;

use darktower_placement::{Health, Plane, Way};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
/// From a prober through the handler and back.
const ROUND: Duration = Duration::from_millis(20);
/// How long a part of a stream waits until it is sent again.
const AGAIN: Duration = Duration::from_millis(60);

/// A handler that is probed over a path in virtual time, from one seed.
struct Probed {
    plane: Plane,
    now: Duration,
    /// What comes back, and when.
    coming: BTreeSet<(Duration, bool, u64)>,
    /// The share that is lost each way.
    loss: f64,
    datagrams: bool,
    streams: bool,
    random: u64,
    /// How many went out.
    sent: u32,
    /// When it turned, and into what.
    turns: Vec<(Duration, Health)>,
}

impl Probed {
    fn new(seed: u64) -> Self {
        Self {
            plane: Plane::default(),
            now: Duration::ZERO,
            coming: BTreeSet::new(),
            loss: 0.0,
            datagrams: true,
            streams: true,
            random: seed,
            sent: 0,
            turns: Vec::new(),
        }
    }

    fn is_lost(&mut self) -> bool {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let it = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let it = (it ^ it >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((it ^ it >> 31) >> 11) as f64) < self.loss * (1_u64 << 53) as f64
    }

    /// Lets so much time pass.
    fn lasts(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let was = self.plane.health();
            let due = self.plane.due().max(self.now);
            let deadline = self.plane.deadline();
            let coming = self.coming.first().map(|(at, ..)| *at);
            let next = [deadline, coming]
                .into_iter()
                .flatten()
                .fold(due, Duration::min);
            let next = next.max(self.now);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
            if coming == Some(next)
                && let Some((_, stream, number)) = self.coming.pop_first()
            {
                let way = if stream { Way::Stream } else { Way::Datagram };
                self.plane.heard(next, way, number);
            } else if deadline == Some(next) {
                self.plane.review(next);
            } else {
                self.send();
            }
            if self.plane.health() != was {
                self.turns.push((next, self.plane.health()));
            }
        }
    }

    fn send(&mut self) {
        let probe = self.plane.probe(self.now);
        self.sent += 1;
        let lost = self.is_lost() | self.is_lost();
        if self.datagrams && !lost {
            self.coming.insert((self.now + ROUND, false, probe.number));
        }
        if self.streams && probe.stream {
            let mut late = ROUND;
            while self.is_lost() {
                late += AGAIN;
            }
            while self.is_lost() {
                late += AGAIN;
            }
            self.coming.insert((self.now + late, true, probe.number));
        }
    }

    fn silent(&mut self, is_silent: bool) {
        (self.datagrams, self.streams) = (!is_silent, !is_silent);
    }
}

#[test]
fn a_handler_through_which_nothing_comes_is_out_within_three_seconds() {
    for (datagrams, streams, within) in [
        (false, false, S),
        (true, false, 3 * S),
        (false, true, 3 * S),
    ] {
        let mut probed = Probed::new(1);
        probed.lasts(10 * S + 500 * MS);
        assert_eq!(probed.turns, []);
        (probed.datagrams, probed.streams) = (datagrams, streams);
        let since = probed.now;
        probed.lasts(5 * S);
        let [(at, health)] = probed.turns[..] else {
            panic!("{:?}", probed.turns)
        };
        assert_eq!(health, Health::Silent);
        assert!(at - since < within, "{at:?}");
    }
}

#[test]
fn what_a_prober_that_is_often_asleep_does_not_send_is_no_sign() {
    let mut plane = Plane::default();
    for nap in 0..100 {
        let now = 900 * MS * nap;
        let probe = plane.probe(now);
        plane.heard(now + ROUND, Way::Datagram, probe.number);
        let last = plane.probe(now + 100 * MS);
        // It wakes, looks at the clock before it hears, and sends.
        plane.review(now + 890 * MS);
        let next = plane.probe(now + 890 * MS);
        for number in [last.number, next.number] {
            plane.heard(now + 895 * MS, Way::Stream, number);
            plane.heard(now + 895 * MS, Way::Datagram, number);
        }
        assert_eq!(plane.health(), Health::Sound, "{nap}");
    }
}

#[test]
fn one_lost_packet_and_late_ones_are_no_sign() {
    let mut probed = Probed::new(1);
    for _ in 0..20 {
        probed.lasts(S);
        // The second half of the datagrams of a second, and then its stream.
        probed.datagrams = false;
        probed.lasts(500 * MS);
        probed.datagrams = true;
        probed.lasts(500 * MS);
        probed.streams = false;
        probed.lasts(S);
        probed.streams = true;
    }
    assert_eq!(probed.turns, []);
    let mut plane = Plane::default();
    let mut sent = Vec::new();
    for tick in 0..2000 {
        let now = 10 * MS * tick;
        if plane.due() <= now {
            sent.push((now, plane.probe(now)));
        }
        // More than a second late, each of them.
        while let Some((at, probe)) = sent.first().copied()
            && at + 1300 * MS <= now
        {
            sent.remove(0);
            plane.heard(now, Way::Datagram, probe.number);
            if probe.stream {
                plane.heard(now, Way::Stream, probe.number);
            }
        }
        assert_eq!(plane.health(), Health::Sound, "{now:?}");
    }
}

#[test]
fn packets_that_overtake_one_another_are_not_lost() {
    let mut plane = Plane::default();
    for numbers in (0..300).map(|row| [3 * row + 3, 3 * row + 1, 3 * row + 2]) {
        for number in numbers {
            plane.heard(S, Way::Datagram, number);
        }
    }
    assert_eq!(plane.health(), Health::Sound);
    assert_eq!(plane.due(), Duration::ZERO);
}

#[test]
fn a_prober_that_was_asleep_hears_first_and_judges_then() {
    let awake = 5 * S;
    for comes in [true, false] {
        let mut plane = Plane::default();
        let probe = plane.probe(S);
        plane.review(awake);
        assert_eq!(plane.health(), Health::Sound);
        if comes {
            plane.heard(awake + MS, Way::Datagram, probe.number);
            plane.heard(awake + MS, Way::Stream, probe.number);
            assert_eq!(plane.deadline(), None);
        }
        if let Some(deadline) = plane.deadline() {
            assert!(deadline < awake + S);
            plane.review(deadline);
        }
        assert_eq!(plane.health() == Health::Silent, !comes);
    }
}

/// How long it takes to come back, once it is well.
fn comes_back(probed: &mut Probed) -> Duration {
    let since = probed.now;
    probed.turns.clear();
    probed.lasts(100 * S);
    let [(at, health)] = probed.turns[..] else {
        panic!("{:?}", probed.turns)
    };
    assert_eq!(health, Health::Sound);
    at - since
}

#[test]
fn it_comes_back_when_it_has_been_well_for_a_while_and_longer_each_time() {
    let mut probed = Probed::new(1);
    probed.lasts(3 * S);
    probed.silent(true);
    probed.lasts(4 * S);
    // Every other second is not well.
    for _ in 0..10 {
        probed.silent(false);
        probed.lasts(S);
        probed.silent(true);
        probed.lasts(S);
    }
    assert_eq!(probed.turns.len(), 1, "{:?}", probed.turns);
    probed.silent(false);
    probed.lasts(6 * S);
    assert_eq!(probed.turns.len(), 2, "{:?}", probed.turns);
    // It fails again at once, and takes twice as long.
    probed.silent(true);
    probed.lasts(4 * S);
    probed.silent(false);
    let back = comes_back(&mut probed);
    assert!(back > 9 * S && back < 11 * S, "{back:?}");
    // After a good minute that is forgotten.
    probed.silent(true);
    probed.lasts(4 * S);
    probed.silent(false);
    let back = comes_back(&mut probed);
    assert!(back > 4 * S && back < 6 * S, "{back:?}");
}

#[test]
fn a_handler_that_loses_a_fifth_each_way_is_out_within_three_seconds_and_comes_back() {
    let mut longest = Duration::ZERO;
    for seed in 0..500 {
        let mut probed = Probed::new(seed);
        probed.lasts(10 * S + 37 * MS * seed as u32);
        probed.loss = 0.2;
        let since = probed.now;
        probed.lasts(30 * S);
        // It stays out for as long as it loses.
        let [(at, Health::Lossy)] = probed.turns[..] else {
            panic!("seed {seed}: {:?}", probed.turns)
        };
        longest = longest.max(at - since);
        probed.loss = 0.0;
        let back = comes_back(&mut probed);
        assert!(back > 4 * S && back < 8 * S, "seed {seed}: {back:?}");
    }
    assert!(longest < 3 * S, "{longest:?}");
}

#[test]
fn at_a_loss_of_a_twentieth_each_way_it_stays() {
    for seed in 0..20 {
        let mut probed = Probed::new(seed);
        probed.lasts(10 * S);
        probed.loss = 0.05;
        probed.lasts(600 * S);
        assert_eq!(probed.turns, [], "seed {seed}");
    }
}

#[test]
fn between_the_two_it_does_not_come_and_go() {
    for (seed, loss) in (0..20).zip([0.09, 0.11, 0.13, 0.16].into_iter().cycle()) {
        let mut probed = Probed::new(seed);
        probed.loss = loss;
        probed.lasts(600 * S);
        let outs = probed.turns.iter();
        let outs = outs.filter(|(_, health)| *health == Health::Lossy).count();
        assert!(outs <= 3, "seed {seed}, {loss}: {:?}", probed.turns);
    }
}

#[test]
fn a_short_outage_is_no_loss_and_a_well_path_is_probed_rarely() {
    let mut probed = Probed::new(1);
    for _ in 0..100 {
        probed.silent(true);
        probed.lasts(300 * MS);
        probed.silent(false);
        probed.lasts(3 * S);
    }
    assert_eq!(probed.turns, []);
    let before = probed.sent;
    probed.lasts(100 * S);
    assert!(probed.sent - before < 1100, "{}", probed.sent - before);
}
