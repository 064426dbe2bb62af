//! Whom a handler lets in, and what it says that it carries.

use std::time::Duration;

use darktower_media::door::{Caller, Door};

const S: Duration = Duration::from_secs(1);

#[test]
fn a_full_handler_takes_probes_and_trunks_and_nobody_else() {
    let mut door = Door::new(10);
    assert!(door.opens(S, Caller::Participant, 10, 0));
    assert!(!door.opens(S, Caller::Participant, 11, 0));
    assert!(door.opens(S, Caller::Probe, 74, 0));
    assert!(!door.opens(S, Caller::Probe, 75, 0));
    assert!(door.opens(S, Caller::Trunk, 75, 1023));
    assert!(!door.opens(S, Caller::Trunk, 0, 1024));
}

#[test]
fn it_says_that_it_is_crowded_for_as_long_as_somebody_who_was_refused_may_come_again() {
    let mut door = Door::new(10);
    assert_eq!(door.load(S, 4), 4);
    // Probes beyond what it takes are no load.
    assert_eq!(door.load(S, 12), 10);
    assert!(!door.opens(S, Caller::Participant, 11, 0));
    assert_eq!(door.load(8 * S, 10), 11);
    assert_eq!(door.load(9 * S, 10), 10);
}
