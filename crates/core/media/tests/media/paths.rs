//! What a `Path` makes of links: each case is a script of the link, and what must hold
//! of a flow when. Names are those of the scenarios in `docs/testing.md`.

use darktower_link::{Conditions, Loss, Queue};
use darktower_media::Bitrate;
use darktower_media::path::{Config, Path, Rtt};

use crate::pair::ms;
use crate::transport::{Flow, Net, Source, What};

/// A time after the start, in milliseconds, and another.
type Span = (u64, u64);

#[derive(Clone, Copy, Debug)]
enum Holds {
    /// The estimate is at least so much (kbit/s) all the time.
    Least(Span, u64),
    /// At most.
    Most(Span, u64),
    /// It is at least so much at some time.
    Reaches(Span, u64),
    /// So much of it arrives, in kbit/s.
    Arrives(Span, u64),
    /// This share (hundredths) of packets waits no longer than so many ms beyond the
    /// link's own delay.
    Waits(Span, usize, u64),
    /// Between two packets of sound there is never more than so many ms.
    Sound(Span, u64),
    /// No flow gets more than so much of what all get (hundredths).
    Shares(Span, u64),
    /// No more padding than so many kB in all.
    Padding(u64),
}

struct Case<'a> {
    link: Conditions,
    changes: &'a [(u64, Conditions)],
    sources: &'a [Source],
    holds: &'a [Holds],
}

impl Case<'_> {
    /// Runs the script from several seeds, so that nothing holds by luck.
    fn check(&self) {
        for seed in 1..=4 {
            let mut net = Net::new(self.link, self.sources, seed);
            for &(at, conditions) in self.changes {
                net.schedule(ms(at), conditions);
            }
            let end = self.holds.iter().map(|holds| holds.span().1).max();
            net.run_until(ms(end.unwrap_or(0)));
            for holds in self.holds {
                holds.check(&net, self.link, seed);
            }
        }
    }
}

impl Holds {
    fn span(self) -> Span {
        match self {
            Self::Least(span, _)
            | Self::Most(span, _)
            | Self::Reaches(span, _)
            | Self::Arrives(span, _)
            | Self::Waits(span, _, _)
            | Self::Sound(span, _)
            | Self::Shares(span, _) => span,
            Self::Padding(_) => (0, 0),
        }
    }

    fn check(self, net: &Net, link: Conditions, seed: u64) {
        let (from, to) = self.span();
        let flow = &net.flows[0];
        let estimates = flow.estimates.iter();
        let estimates = estimates.filter(|(at, _)| *at >= ms(1000 + from) && *at < ms(1000 + to));
        let mut estimates = estimates.map(|(_, estimate)| estimate.bps() / 1000);
        match self {
            Self::Least(_, kbps) => {
                let least = estimates.min().unwrap_or(0);
                assert!(least >= kbps, "{self:?}: {least}, seed {seed}");
            }
            Self::Most(_, kbps) => {
                let most = estimates.max().unwrap_or(0);
                assert!(most <= kbps, "{self:?}: {most}, seed {seed}");
            }
            Self::Reaches(_, kbps) => {
                assert!(estimates.any(|one| one >= kbps), "{self:?}, seed {seed}");
            }
            Self::Arrives(_, kbps) => {
                let rate = bytes(flow, (from, to)) * 8 / (to - from);
                assert!(rate >= kbps, "{self:?}: {rate}, seed {seed}");
            }
            Self::Waits(_, percent, limit) => {
                let ways = flow.between(ms(from), ms(to));
                let mut waits: Vec<_> = ways.map(|one| one.at - one.sent - link.delay).collect();
                waits.sort_unstable();
                let wait = waits[(waits.len() - 1) * percent / 100].as_millis() as u64;
                assert!(wait <= limit, "{self:?}: {wait}, seed {seed}");
            }
            Self::Sound(_, limit) => {
                let sound = flow.between(ms(from), ms(to));
                let sound = sound.filter(|one| one.what == What::Audio);
                let times: Vec<_> = sound.map(|one| one.at).collect();
                let gaps = times.windows(2).map(|two| two[1] - two[0]);
                let gap = gaps.max().unwrap_or_default().as_millis() as u64;
                assert!(gap <= limit, "{self:?}: {gap}, seed {seed}");
            }
            Self::Shares(_, percent) => {
                let all: Vec<_> = net.flows.iter().map(|one| bytes(one, (from, to))).collect();
                let most = all.iter().max().copied().unwrap_or(0) * 100;
                let share = most / all.iter().sum::<u64>().max(1);
                assert!(share <= percent, "{self:?}: {share}, seed {seed}");
            }
            Self::Padding(kb) => {
                let padding = flow.padding / 1000;
                assert!(padding <= kb, "{self:?}: {padding}, seed {seed}");
            }
        }
    }
}

fn bytes(flow: &Flow, (from, to): Span) -> u64 {
    let arrivals = flow.between(ms(from), ms(to));
    arrivals.map(|one| one.bytes as u64).sum()
}

fn link(rate_kbps: u64, round_trip_ms: u64) -> Conditions {
    Conditions {
        delay: ms(round_trip_ms / 2),
        rate_bps: Some(rate_kbps * 1000),
        ..Conditions::default()
    }
}

fn deep(rate_kbps: u64) -> Conditions {
    Conditions {
        queue: Queue::Time(ms(1000)),
        ..link(rate_kbps, 40)
    }
}

/// Pictures of three layers, 2.5 Mbit/s at most.
const MEDIA: Source = Source::DEFAULT;

/// Acknowledges as seldom as Chromium does.
const SELDOM: Source = Source {
    ack_every: 10,
    ..MEDIA
};

#[test]
fn n1_the_path_carries_the_top_layer_soon() {
    for source in [MEDIA, SELDOM] {
        Case {
            link: link(5000, 40),
            changes: &[],
            sources: &[source],
            holds: &[
                Holds::Reaches((0, 1500), 2500),
                Holds::Least((1500, 20_000), 2500),
                Holds::Waits((500, 20_000), 95, 60),
                Holds::Sound((0, 20_000), 100),
                Holds::Padding(150),
            ],
        }
        .check();
    }
}

#[test]
fn n2_a_path_that_becomes_slow_is_obeyed_and_its_recovery_found() {
    for source in [MEDIA, SELDOM] {
        Case {
            link: link(5000, 40),
            changes: &[(8000, link(600, 40)), (20_000, link(5000, 40))],
            sources: &[source],
            holds: &[
                Holds::Most((9000, 20_000), 850),
                Holds::Arrives((9000, 20_000), 500),
                Holds::Waits((10_000, 20_000), 50, 130),
                Holds::Sound((0, 30_000), 250),
                Holds::Reaches((20_000, 25_000), 2500),
                Holds::Least((26_000, 30_000), 2500),
            ],
        }
        .check();
    }
}

#[test]
fn n2_the_same_with_a_deep_queue() {
    Case {
        link: deep(5000),
        changes: &[(8300, deep(600)), (20_000, deep(5000))],
        sources: &[MEDIA],
        holds: &[
            Holds::Most((9300, 20_000), 850),
            Holds::Sound((0, 30_000), 400),
            Holds::Waits((9500, 20_000), 95, 300),
            Holds::Reaches((20_000, 26_000), 2500),
        ],
    }
    .check();
}

#[test]
fn n3_losses_by_chance_do_not_slow_the_path() {
    for loss in [
        Loss::Random(0.01),
        Loss::Random(0.05),
        Loss::Random(0.1),
        Loss::Random(0.2),
        Loss::bursty(0.05, 4.0),
        Loss::bursty(0.1, 4.0),
    ] {
        Case {
            link: Conditions {
                loss,
                ..link(5000, 60)
            },
            changes: &[],
            sources: &[MEDIA],
            holds: &[
                Holds::Reaches((0, 4000), 2500),
                Holds::Least((4000, 20_000), 2000),
                Holds::Arrives((4000, 20_000), 2000),
            ],
        }
        .check();
    }
}

#[test]
fn n4_jitter_is_no_queue() {
    for source in [MEDIA, SELDOM] {
        Case {
            link: Conditions {
                jitter: ms(60),
                ..link(5000, 40)
            },
            changes: &[],
            sources: &[source],
            holds: &[
                Holds::Reaches((0, 5000), 2500),
                Holds::Least((5000, 30_000), 2500),
            ],
        }
        .check();
    }
}

/// Nine cameras of 1.5 Mbit/s over a wire that is never full, between programs that are late
/// by some milliseconds as they share their cores with others.
#[test]
fn a_wire_that_is_never_full_is_never_thought_narrow() {
    for (late, within) in [(0, 3000), (5, 3000), (20, 6000)] {
        Case {
            link: Conditions {
                jitter: ms(late),
                ..Conditions::default()
            },
            changes: &[],
            sources: &[Source {
                cap: Bitrate::from_kbps(13_500),
                ..MEDIA
            }],
            holds: &[
                Holds::Reaches((0, within), 13_500),
                Holds::Least((within, 60_000), 13_500),
            ],
        }
        .check();
    }
}

#[test]
fn n8_a_deep_queue_is_not_filled() {
    Case {
        link: deep(1000),
        changes: &[],
        sources: &[MEDIA],
        holds: &[
            Holds::Waits((2000, 40_000), 99, 200),
            Holds::Waits((2000, 40_000), 50, 100),
            Holds::Arrives((2000, 40_000), 850),
            Holds::Sound((1000, 40_000), 200),
        ],
    }
    .check();
}

#[test]
fn n9_after_a_blackout_the_path_is_there_at_once() {
    let lit = link(3000, 40);
    let dark = Conditions {
        blackout: true,
        ..lit
    };
    Case {
        link: lit,
        changes: &[(6000, dark), (8000, lit)],
        sources: &[MEDIA],
        holds: &[
            Holds::Least((8000, 16_000), 1200),
            Holds::Arrives((8100, 9000), 1000),
            Holds::Reaches((8000, 11_000), 2500),
        ],
    }
    .check();
}

#[test]
fn what_flowed_before_a_silence_is_believed_to_flow_after_it() {
    let mut path = Path::new(Config::default(), ms(0));
    let rtt = Rtt {
        min: ms(10),
        smoothed: ms(10),
    };
    // 560 kbit/s of the 1,000 that are believed.
    for at in 0..80 {
        path.sent(ms(at * 25), 1750);
        path.acked(ms(at * 25 + 10), ms(at * 25), 1750, true, rtt);
    }
    assert_eq!(path.estimate(), Bitrate::from_kbps(1000));
    path.sent(ms(2000), 1200);
    path.padding(ms(4000));
    path.sent(ms(4000), 1200);
    path.acked(ms(4010), ms(4000), 1200, true, rtt);
    let kbps = path.estimate().bps() / 1000;
    assert!((820..=850).contains(&kbps), "{kbps}");
}

#[test]
fn a_packet_of_which_nothing_is_ever_told_is_not_on_the_way_for_ever() {
    let mut path = Path::new(Config::default(), ms(0));
    let rtt = Rtt {
        min: ms(10),
        smoothed: ms(10),
    };
    // Much more than the path is let to have on the way at a time.
    path.sent(ms(0), 1_000_000);
    for at in 1..6 {
        path.sent(ms(at * 25), 1200);
        path.acked(ms(at * 25 + 10), ms(at * 25), 1200, true, rtt);
    }
    path.probe(ms(140), Bitrate::from_kbps(2_000));
    assert_eq!(path.padding(ms(140)), 0, "the window is full");
    path.remaining(0);
    assert!(path.padding(ms(141)) > 0);
}

#[test]
fn n10_two_receivers_behind_one_link_share_it() {
    let late = Source {
        starts: ms(3000),
        ..MEDIA
    };
    Case {
        link: link(2000, 40),
        changes: &[],
        sources: &[MEDIA, late],
        holds: &[
            Holds::Shares((15_000, 60_000), 60),
            Holds::Waits((15_000, 60_000), 95, 150),
        ],
    }
    .check();
}

#[test]
fn a_download_beside_it_does_not_starve_it() {
    let download = Source {
        starts: ms(5000),
        rival: true,
        ..MEDIA
    };
    for queue in [200, 1000] {
        Case {
            link: Conditions {
                queue: Queue::Time(ms(queue)),
                ..link(3000, 40)
            },
            changes: &[],
            sources: &[MEDIA, download],
            holds: &[
                Holds::Arrives((10_000, 60_000), 600),
                Holds::Sound((15_000, 60_000), 650),
            ],
        }
        .check();
    }
}

#[test]
fn the_slowest_link_carries_sound_and_a_little_more() {
    Case {
        link: link(300, 40),
        changes: &[],
        sources: &[MEDIA],
        holds: &[
            Holds::Most((1000, 30_000), 500),
            Holds::Arrives((1000, 30_000), 240),
            Holds::Sound((1000, 30_000), 220),
        ],
    }
    .check();
}

#[test]
fn what_is_not_sent_says_nothing() {
    let quiet = Source {
        cap: Bitrate::from_kbps(200),
        probes: false,
        ..MEDIA
    };
    Case {
        link: link(5000, 40),
        changes: &[],
        sources: &[quiet],
        holds: &[
            Holds::Least((0, 20_000), 1000),
            Holds::Most((0, 20_000), 1500),
            Holds::Padding(0),
        ],
    }
    .check();
}

/// Acknowledgements of one packet each 10 ms over a round trip of 40 ms, `marked` of 10
/// with a mark of congestion; the estimate after 600 ms, in kbit/s.
fn marked(marked: u64) -> u64 {
    let mut path = Path::new(Config::default(), ms(0));
    let rtt = Rtt {
        min: ms(40),
        smoothed: ms(40),
    };
    for at in 0..56 {
        let (sent, now) = (ms(at * 10), ms(at * 10 + 40));
        path.sent(sent, 1200);
        if at % 10 < marked {
            path.congested(now, sent, 0, true, false);
        }
        path.acked(now, sent, 1200, true, rtt);
    }
    path.estimate().bps() / 1000
}

#[test]
fn marks_of_congestion_count_by_their_share() {
    let estimates = [0, 1, 5, 10].map(marked);
    assert!(estimates[0] >= 1000, "{estimates:?}");
    assert!(
        estimates.windows(2).all(|two| two[0] > two[1]),
        "{estimates:?}"
    );
    assert!(estimates[1] > 500 && estimates[3] < 500, "{estimates:?}");
}

#[test]
fn tests_that_fail_are_rare_and_small() {
    // Two minutes on a full link: what a test costs stays bounded.
    Case {
        link: link(1000, 40),
        changes: &[],
        sources: &[MEDIA],
        holds: &[Holds::Padding(900), Holds::Arrives((1000, 120_000), 850)],
    }
    .check();
}

#[test]
fn what_another_path_carried_is_believed_within_bounds() {
    let kbps = Bitrate::from_kbps;
    let after = |carried: u64| {
        let mut path = Path::new(Config::default(), ms(0));
        path.hear_of(kbps(carried));
        path.estimate()
    };
    assert_eq!(after(2_000), kbps(2_000));
    assert_eq!(after(500), Config::default().initial);
    assert_eq!(after(90_000), kbps(5_000));
}

#[test]
fn a_peer_that_moves_to_another_network_is_believed_to_take_as_much_there_within_bounds() {
    let kbps = Bitrate::from_kbps;
    let after = |believed: u64| {
        let (config, now) = (Config::default(), ms(0));
        let (mut former, mut path) = (Path::new(config, now), Path::new(config, now));
        former.hear_of(kbps(believed));
        path.follow(&former);
        path.estimate()
    };
    assert_eq!(after(4_000), kbps(4_000));
    assert_eq!(after(500), Config::default().initial);
}
