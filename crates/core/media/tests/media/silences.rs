//! Paths on which nothing is heard for a while, and what the first answers after that tell.

use darktower_media::Bitrate;
use darktower_media::path::{Config, Path, Patience, Rtt};

use crate::pair::ms;

/// What is let through of 10,000 bytes in flight, where the window is as large.
fn let_through(patience: &Patience, at: u64) -> u64 {
    patience.window(ms(at), 10_000) - 10_000
}

#[test]
fn other_congestion_controls_let_something_through_in_silence_too() {
    let mut patience = Patience::new(ms(0));
    assert_eq!(let_through(&patience, 5_000), 0, "nothing waits");
    patience.sent(ms(5_000), 30_000);
    assert_eq!(let_through(&patience, 5_249), 0);
    assert_eq!(let_through(&patience, 5_250), 1200);
    assert_eq!(let_through(&patience, 6_250), 21 * 1200);
    patience.heard(ms(6_000), 1_200);
    assert_eq!(let_through(&patience, 6_000), 0);
    patience.acked(ms(6_000), ms(5_800), ms(200));
    patience.heard(ms(6_000), 1_200);
    assert_eq!(
        let_through(&patience, 6_599),
        0,
        "longer paths answer later"
    );
    assert!(let_through(&patience, 6_601) > 0);
}

/// A transport takes an answer to what was sent before an outage for a round trip of as long, and spreads the window
/// over it.
#[test]
fn after_an_outage_as_much_leaves_as_before() {
    let told = |round_trip| Rtt {
        min: ms(30),
        smoothed: round_trip,
    };
    let (mut path, mut patience) = (Path::new(Config::default(), ms(0)), Patience::new(ms(0)));
    for at in (30..=3_000).step_by(10) {
        path.sent(ms(at), 1200);
        path.acked(ms(at), ms(at - 30), 1200, false, told(ms(30)));
        path.remaining(3600);
        patience.sent(ms(at), 1200);
        patience.acked(ms(at), ms(at - 30), ms(30));
        patience.heard(ms(at), 3600);
    }
    path.padding(ms(10_900));
    let misled = ms(1_030);
    path.acked(ms(11_000), ms(2_980), 1200, false, told(misled));
    path.remaining(0);
    patience.acked(ms(11_000), ms(2_980), misled);
    patience.heard(ms(11_000), 0);
    let spread = |window: u64| Bitrate::of(window, misled);
    assert!(
        spread(path.window()) >= path.estimate().percent(99),
        "{path:?}"
    );
    let window = patience.window(ms(11_000), 12_000);
    assert!(spread(window) >= Bitrate::of(12_000, ms(31)), "{window}");

    // Once the transport knows better it is as it was.
    path.sent(ms(11_000), 1200);
    path.acked(ms(11_030), ms(11_000), 1200, false, told(ms(30)));
    patience.sent(ms(11_000), 1200);
    patience.acked(ms(11_030), ms(11_000), ms(30));
    patience.heard(ms(11_030), 0);
    patience.heard(ms(11_030), 0);
    assert!(path.window() < 20_000, "{path:?}");
    assert_eq!(patience.window(ms(11_030), 12_000), 12_000);
}

/// An acknowledgement of our own gets no answer, and is no silence that a crowd of packets may end.
#[test]
fn who_says_little_is_let_say_little() {
    let mut patience = Patience::new(ms(0));
    patience.sent(ms(0), 40);
    assert_eq!(let_through(&patience, 60_000), 2 * 1200 + 40);
}

/// After an outage the first answer may be one to what was sent before it: of what was sent meanwhile nothing is known,
/// and it fills more than the window.
#[test]
fn an_answer_to_what_was_sent_before_an_outage_does_not_close_the_window() {
    let mut patience = Patience::new(ms(0));
    patience.sent(ms(0), 10_000);
    patience.sent(ms(1_950), 35_000);
    patience.heard(ms(2_000), 44_000);
    assert!(patience.window(ms(2_000), 10_000) > 44_000 + 1_500);
    assert!(patience.window(ms(2_300), 10_000) > 44_000);
    // What was sent meanwhile is known to be lost, and that is over.
    patience.heard(ms(2_020), 44_000);
    patience.lost(44_000);
    assert_eq!(patience.window(ms(2_020), 10_000), 10_000);

    let rtt = Rtt {
        min: ms(40),
        smoothed: ms(40),
    };
    let mut path = Path::new(Config::default(), ms(0));
    for at in 0..10 {
        path.sent(ms(at * 10), 1200);
    }
    for at in 0..9 {
        path.acked(ms(at * 10 + 40), ms(at * 10), 1200, true, rtt);
    }
    let mut on_the_way = 1200;
    for at in 0..40 {
        path.padding(ms(400 + at * 50));
        while on_the_way + 1200 <= path.window() {
            path.sent(ms(400 + at * 50), 1200);
            on_the_way += 1200;
        }
    }
    path.acked(ms(2_400), ms(90), 1200, true, rtt);
    path.remaining(on_the_way - 1200);
    assert!(path.window() > on_the_way - 1200 + 1_500);
}

#[test]
fn in_silence_a_packet_may_leave_now_and_then() {
    let mut path = Path::new(Config::default(), ms(0));
    let first = path.window();
    path.sent(ms(0), 1200);
    let begins = path.deadline().expect("a deadline");
    let mut at = begins;
    for packets in 1..=20 {
        path.padding(at);
        assert_eq!(path.window(), first + 1200 * packets);
        let next = path.deadline().expect("a deadline");
        assert!(next > at && next <= at + ms(50));
        at = next;
    }
    // One answer, and it is over.
    let rtt = Rtt {
        min: ms(40),
        smoothed: ms(40),
    };
    path.acked(at, at - ms(40), 1200, true, rtt);
    assert_eq!(path.window(), first);
    assert_eq!(path.deadline(), None, "nothing is on the way");
}

/// On a path that has become slow the next acknowledgement is two large packets away.
#[test]
fn a_path_that_has_become_slow_is_judged_by_the_acknowledgement_that_shows_it() {
    let mut path = Path::new(Config::default(), ms(0));
    let rtt = Rtt {
        min: ms(40),
        smoothed: ms(40),
    };
    for at in (0..2_000).step_by(5) {
        path.sent(ms(at), 1200);
        if at >= 40 {
            path.acked(ms(at), ms(at - 40), 1200, false, rtt);
            path.remaining(9600);
        }
    }
    assert!(path.estimate() > Bitrate::from_kbps(1_500), "{path:?}");
    // What is sent from now on arrives at 0.6 Mbit/s, and is acknowledged in pairs.
    for at in (2_000..2_040).step_by(5) {
        path.sent(ms(at), 1200);
        path.acked(ms(at), ms(at - 40), 1200, false, rtt);
        path.remaining(9600);
    }
    let mut judged = None;
    for pair in 1..=8 {
        let now = 2_040 + pair * 32;
        for packet in [pair * 2 - 2, pair * 2 - 1] {
            path.acked(ms(now), ms(2_000 + packet * 5), 1200, false, rtt);
        }
        path.remaining(30_000);
        if path.estimate() < Bitrate::from_kbps(1_000) {
            judged.get_or_insert(pair);
        }
    }
    assert_eq!(judged, Some(5), "{path:?}");
}
