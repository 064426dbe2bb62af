//! A clock beside the one that all share.

use darktower_placement::{Clock, Skew};

const NOW: u64 = 1_790_000_000_000;
const MINUTE: u64 = 60_000;

/// Looks at both clocks; the answer takes 2 ms.
fn look(skew: &mut Skew, own: u64) -> Option<Clock> {
    skew.compare(own - 1, NOW, own + 1)
}

#[test]
fn a_clock_that_is_minutes_apart_is_told_once_whichever_way() {
    for (own, ahead) in [(NOW + 6 * MINUTE, 360_000), (NOW - 6 * MINUTE, -360_000)] {
        let mut skew = Skew::default();
        assert_eq!(look(&mut skew, own), Some(Clock::Apart(ahead)));
        assert_eq!(look(&mut skew, own), None);
        assert_eq!(skew.ahead_ms(), ahead);
        assert_eq!(look(&mut skew, NOW), Some(Clock::Together));
        assert_eq!(look(&mut skew, NOW), None);
        assert_eq!(look(&mut skew, own), Some(Clock::Apart(ahead)));
    }
}

#[test]
fn clocks_that_follow_a_time_server_are_not_worth_a_word() {
    let mut skew = Skew::default();
    for apart in [0, 10, 300, 1000, 2400] {
        assert_eq!(look(&mut skew, NOW + apart), None);
        assert_eq!(look(&mut skew, NOW - apart), None);
    }
    // Between the two it is told neither way.
    assert!(look(&mut skew, NOW + 2600).is_some());
    assert_eq!(look(&mut skew, NOW + 2000), None);
    assert_eq!(look(&mut skew, NOW + 2600), None);
}

#[test]
fn an_answer_that_took_long_shows_little() {
    let mut skew = Skew::default();
    // It was read at any time in this second.
    assert_eq!(skew.compare(NOW - 1000, NOW - 3400, NOW), None);
    assert_eq!(skew.compare(NOW - 60_000, NOW - 60_000, NOW), None);
    // The own clock was set back meanwhile.
    assert_eq!(skew.compare(NOW, NOW, NOW - MINUTE), None);
    assert_eq!(skew.compare(0, u64::MAX, 0), Some(Clock::Apart(-i64::MAX)));
}
