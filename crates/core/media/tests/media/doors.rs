//! Whom a handler lets in, and what it says that it carries.

use std::time::Duration;

use darktower_media::door::{Caller, Door};

const S: Duration = Duration::from_secs(1);

/// So many come; how many get in.
fn come(door: &mut Door, caller: Caller, many: usize) -> usize {
    (0..many).filter(|_| door.opens(S, caller)).count()
}

#[test]
fn a_full_handler_takes_probes_and_trunks_and_nobody_else() {
    let mut door = Door::new(10);
    assert_eq!(come(&mut door, Caller::Participant, 12), 10);
    assert_eq!(come(&mut door, Caller::Probe, 100), 64);
    assert_eq!(come(&mut door, Caller::Trunk, 1100), 1024);
    assert_eq!(come(&mut door, Caller::Participant, 1), 0);
}

#[test]
fn who_is_refused_takes_nobodys_place() {
    let mut door = Door::new(1);
    assert!(door.opens(S, Caller::Participant));
    assert!(!door.opens(S, Caller::Participant));
    door.left(Caller::Participant);
    assert!(door.opens(S, Caller::Participant));
}

#[test]
fn it_says_that_it_is_crowded_for_as_long_as_somebody_who_was_refused_may_come_again() {
    let mut door = Door::new(10);
    assert_eq!(come(&mut door, Caller::Participant, 4), 4);
    assert_eq!(door.load(S), 4);
    // Probes beyond what it takes are no load.
    assert_eq!(come(&mut door, Caller::Probe, 8), 8);
    assert_eq!(door.load(S), 10);
    assert!(!door.opens(S, Caller::Participant));
    assert_eq!(door.load(8 * S), 11);
    assert_eq!(door.load(9 * S), 10);
}
