//! How a meeting is taken, kept and lost.

use std::time::Duration;

use darktower_placement::{Answer, Held, Logged, Outcome, Renewal, Step, Takeover, Tenure};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, NodeId};

const ME: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);
const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_secs(3);

fn takeover() -> Takeover {
    let mut takeover = Takeover::new(Duration::ZERO, ME, TTL);
    assert_eq!(takeover.step(), Step::Acquire);
    takeover.leased(Some(OTHER), Fence(7));
    assert_eq!(takeover.step(), Step::Ask(OTHER, 400 * MS));
    takeover
}

#[test]
fn a_free_lease_is_taken_and_a_held_one_is_asked_about() {
    let mut free = Takeover::new(Duration::ZERO, ME, TTL);
    free.leased(Some(ME), Fence(3));
    assert_eq!(free.step(), Step::Done(Outcome::Mine(Fence(3))));

    let mut held = takeover();
    let holds = Answer::Said {
        node: OTHER,
        holds: true,
    };
    held.asked(MS, Fence(7), Some(true), holds, false);
    assert_eq!(held.step(), Step::Done(Outcome::Theirs(OTHER)));

    let mut gone = takeover();
    gone.asked(MS, Fence(7), Some(false), Answer::Silent, false);
    assert_eq!(gone.step(), Step::GiveBack(OTHER, Fence(7)));
    gone.given_back();
    assert_eq!(gone.step(), Step::Acquire);
}

#[test]
fn a_silent_owner_is_waited_for_no_longer_than_its_lease() {
    let mut takeover = takeover();
    let mut now = Duration::ZERO;
    let refused = Step::Done(Outcome::Refused(Code::NotOwner));
    while takeover.step() != refused {
        takeover.asked(now, Fence(7), Some(true), Answer::Silent, false);
        if let Step::Wait(wait) = takeover.step() {
            now += wait;
            takeover.waited();
            takeover.leased(Some(OTHER), Fence(7));
            // It may leave the registry soon: each look is short.
            assert_eq!(takeover.step(), Step::Ask(OTHER, 100 * MS));
        }
        assert!(now <= TTL + 1100 * MS, "{now:?}");
    }
    assert!(now >= TTL, "{now:?}");
}

#[test]
fn without_a_registry_the_lease_decides_and_who_drains_waits_for_nobody() {
    let mut takeover = takeover();
    takeover.asked(MS, Fence(7), None, Answer::Silent, false);
    assert!(matches!(takeover.step(), Step::Wait(_)));
    takeover.waited();
    takeover.leased(Some(OTHER), Fence(7));
    takeover.asked(MS, Fence(7), None, Answer::Silent, true);
    assert_eq!(
        takeover.step(),
        Step::Done(Outcome::Refused(Code::NotOwner))
    );
}

fn held(owner: NodeId, fence: u64, written: u64) -> Option<Held> {
    Some(Held {
        owner: Some(owner),
        fence: Fence(fence),
        written,
    })
}

#[test]
fn what_the_log_lacks_a_snapshot_brings() {
    let mut tenure = Tenure::new(ME, Fence(5), 0);
    tenure.appended(Logged::Yes);
    tenure.appended(Logged::Failed);
    assert!(tenure.is_unsaved() && !tenure.appends());
    assert!(!tenure.saved(Logged::Failed));
    assert!(tenure.saved(Logged::Yes), "whole again");
    assert!(tenure.appends());
    assert_eq!(tenure.renewed(None), Renewal::Not);
    assert!(
        tenure.is_unsaved(),
        "a store that failed may have forgotten"
    );
    for _ in 0..256 {
        assert!(!tenure.wants_snapshot());
        tenure.appended(Logged::Yes);
    }
    assert!(tenure.wants_snapshot());
    tenure.saved(Logged::Failed);
    assert!(!tenure.wants_snapshot(), "not again with each change");
    assert!(tenure.is_unsaved(), "but with the next renewal");
}

/// A store that was away for less than the time between two renewals fails none of them.
#[test]
fn what_a_store_lost_while_nobody_looked_is_written_anew() {
    let mut tenure = Tenure::new(ME, Fence(5), 7);
    assert_eq!(tenure.renewed(held(ME, 5, 7)), Renewal::Same);
    assert!(!tenure.is_unsaved());
    assert_eq!((tenure.next_number(), tenure.next_number()), (8, 9));
    tenure.appended(Logged::Yes);
    tenure.appended(Logged::Yes);
    assert_eq!(tenure.renewed(held(ME, 5, 8)), Renewal::Same);
    assert!(tenure.is_unsaved() && !tenure.appends(), "9 is gone");
    assert_eq!(tenure.next_number(), 10);
    assert!(tenure.saved(Logged::Yes), "whole again");
    tenure.renewed(held(ME, 5, 10));
    assert!(!tenure.is_unsaved() && tenure.appends());
    // Or the next write finds it first.
    assert_eq!(tenure.next_number(), 11);
    tenure.appended(Logged::OutOfTurn);
    assert!(tenure.wants_snapshot() && !tenure.appends());
    tenure.next_number();
    assert!(tenure.saved(Logged::Yes), "whole again");
    assert!(!tenure.wants_snapshot());
}

#[test]
fn who_is_fenced_has_lost() {
    let lost = |change: fn(&mut Tenure)| {
        let mut tenure = Tenure::new(ME, Fence(5), 0);
        change(&mut tenure);
        tenure.is_lost() && !tenure.appends()
    };
    assert!(lost(|it| it.appended(Logged::Fenced)));
    assert!(lost(|it| {
        it.saved(Logged::Fenced);
    }));
    assert!(lost(|it| {
        it.renewed(held(OTHER, 6, 0));
    }));
    assert!(lost(|it| it.fenced()));
}

#[test]
fn a_lease_that_ran_out_is_kept_only_where_nobody_wrote_meanwhile() {
    let mut tenure = Tenure::new(ME, Fence(5), 0);
    let again = tenure.renewed(held(ME, 9, 0));
    assert_eq!(again, Renewal::Regained(Fence(9)));
    assert!(tenure.regained(Fence(9), Fence(5)));
    assert_eq!(tenure.fence(), Fence(9));
    assert!(tenure.is_unsaved(), "the log is written anew");

    let mut tenure = Tenure::new(ME, Fence(5), 0);
    assert!(!tenure.regained(Fence(9), Fence(7)), "another wrote as 7");
    assert!(tenure.is_lost());
}
