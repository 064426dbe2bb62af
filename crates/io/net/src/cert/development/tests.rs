use super::*;

fn at(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(20_000 * DAY + day * DAY)
}

#[test]
fn a_page_that_learned_the_hashes_lives_through_a_rotation() {
    let names = names(&[]);
    let first = Pair::issue(&names, at(0)).unwrap();
    assert!(!first.due(at(0)) && !first.due(at(10)) && first.due(at(11)));
    let second = first.rotated(at(11)).unwrap();
    assert_eq!(first.hashes()[1], second.hashes()[0]);
    assert!(!second.due(at(11)) && !second.due(at(21)));
    assert_ne!(second.hashes()[0], second.hashes()[1]);
}

#[test]
fn never_shown_outside_its_validity() {
    let mut pair = Pair::issue(&names(&[]), at(0)).unwrap();
    for day in 1..60 {
        if pair.due(at(day)) {
            pair = pair.rotated(at(day)).unwrap();
        }
        let now = unix(at(day));
        assert!(pair.current.not_before <= now && now + DAY < pair.current.not_after);
        assert!(pair.current.not_after - pair.current.not_before <= 13 * DAY);
    }
}

#[test]
fn a_long_sleep_or_a_clock_set_back_gives_new_ones() {
    let pair = Pair::issue(&names(&[]), at(100)).unwrap();
    for day in [0, 400] {
        assert!(pair.due(at(day)));
        let fresh = pair.rotated(at(day)).unwrap();
        assert!(!fresh.due(at(day)));
        assert!(!pair.hashes().contains(&fresh.hashes()[0]));
    }
}

#[test]
fn text_form_round_trips_and_damage_is_seen() {
    let pair = Pair::issue(&names(&["example.org".into()]), at(0)).unwrap();
    let text = pair.encode();
    let back = Pair::decode(&text).unwrap();
    assert_eq!(back.hashes(), pair.hashes());
    assert_eq!(back.names(), pair.names());
    assert_eq!(back.due_at(), pair.due_at());
    assert!(Pair::decode("").is_none());
    for cut in (0..text.len()).step_by(97) {
        let _ = Pair::decode(&text[..cut]);
    }
    assert!(Pair::decode(&text[..text.len() / 2]).is_none());
}

#[test]
fn names_are_checked() {
    assert!(Pair::issue(&["not a name\u{e9}".into()], at(0)).is_err());
}
