//! Out of rotation within 3 s, and back when it has healed for good.

use std::time::Duration;

use darktower_placement::{PROBE_EVERY, Plane, Way};

const MS: Duration = Duration::from_millis(1);

/// A handler probed each second, from `from` to `to`: what comes back of each probe is said by `works`.
struct Probed {
    plane: Plane,
    number: u64,
}

impl Probed {
    fn new() -> Self {
        Self {
            plane: Plane::default(),
            number: 0,
        }
    }

    /// Sends a probe at its time and lets come back what does, 20 ms later; gives when it turned deaf or well since the
    /// last, with the deadlines kept.
    fn probe(&mut self, datagram: bool, stream: bool) -> Option<(Duration, bool)> {
        let (was, at) = (self.plane.is_deaf(), PROBE_EVERY * self.number as u32);
        let mut turned = None;
        if let Some(deadline) = self.plane.deadline().filter(|deadline| *deadline < at) {
            self.plane.review(deadline);
            turned = self.plane.is_deaf().then_some((deadline, true));
        }
        self.number += 1;
        self.plane.sent(at, self.number);
        for (comes, way) in [(datagram, Way::Datagram), (stream, Way::Stream)] {
            if comes {
                self.plane.heard(at + 20 * MS, way, self.number);
            }
        }
        match self.plane.is_deaf() != was {
            true => turned.or(Some((at + 20 * MS, self.plane.is_deaf()))),
            false => turned,
        }
    }

    fn probes(&mut self, count: u32, datagram: bool, stream: bool) -> Option<(Duration, bool)> {
        let turns = (0..count).filter_map(|_| self.probe(datagram, stream));
        turns.collect::<Vec<_>>().first().copied()
    }
}

#[test]
fn a_handler_through_which_nothing_comes_is_out_within_three_seconds() {
    for (datagram, stream) in [(false, false), (true, false), (false, true)] {
        let mut probed = Probed::new();
        assert_eq!(probed.probes(10, true, true), None);
        let last = PROBE_EVERY * 9 + 20 * MS;
        let (at, deaf) = probed.probes(3, datagram, stream).unwrap();
        assert!(deaf && at - last < Duration::from_secs(3), "{at:?}");
    }
}

#[test]
fn one_lost_packet_and_late_ones_are_no_sign() {
    let mut probed = Probed::new();
    for _ in 0..20 {
        assert_eq!(probed.probe(true, true), None);
        assert_eq!(probed.probe(false, true), None);
    }
    let mut plane = Plane::default();
    for number in 1..20 {
        let at = PROBE_EVERY * number;
        plane.sent(at, u64::from(number));
        // More than a second late, each of them.
        for way in [Way::Datagram, Way::Stream] {
            plane.heard(at + 300 * MS, way, u64::from(number) - 1);
        }
        assert!(!plane.is_deaf(), "{number}");
    }
}

#[test]
fn a_prober_that_was_asleep_hears_first_and_judges_then() {
    let awake = PROBE_EVERY * 5;
    for comes in [true, false] {
        let mut plane = Plane::default();
        plane.sent(PROBE_EVERY, 1);
        plane.review(awake);
        assert!(!plane.is_deaf());
        if comes {
            plane.heard(awake + MS, Way::Datagram, 1);
            plane.heard(awake + MS, Way::Stream, 1);
            assert_eq!(plane.deadline(), None);
        }
        if let Some(deadline) = plane.deadline() {
            assert!(deadline < awake + Duration::from_secs(1));
            plane.review(deadline);
        }
        assert_eq!(plane.is_deaf(), !comes);
    }
}

#[test]
fn it_comes_back_when_it_has_been_well_for_a_while_and_longer_each_time() {
    let mut probed = Probed::new();
    probed.probes(3, true, true);
    assert!(matches!(probed.probes(4, false, false), Some((_, true))));
    // Every other one is not well.
    for _ in 0..10 {
        assert_eq!(probed.probe(true, true), None);
        assert_eq!(probed.probe(false, false), None);
    }
    assert_eq!(probed.probes(4, true, true), None);
    assert!(matches!(probed.probe(true, true), Some((_, false))));
    // It fails again at once, and takes twice as long.
    assert!(matches!(probed.probes(4, false, false), Some((_, true))));
    assert_eq!(probed.probes(9, true, true), None);
    assert!(matches!(probed.probe(true, true), Some((_, false))));
    // After a good minute that is forgotten.
    assert_eq!(probed.probes(70, true, true), None);
    assert!(matches!(probed.probes(4, false, false), Some((_, true))));
    assert_eq!(probed.probes(4, true, true), None);
    assert!(matches!(probed.probe(true, true), Some((_, false))));
}
