//! What every backend has to do, as functions that panic where it does not.
//!
//! `state_conformance!(make)` and `database_conformance!(make)` turn them into one test each; `make` is an async
//! function that gives an empty store (and may give it with whatever has to live as long). Where servers take long to
//! start, `…_conformance_in_turn!(name, start, make)` is one test that makes each check in a store of its own:
//! `start` gives the servers, `make` an empty store on them. `…_conformance_together!(make)` is for stores that several
//! processes share: `make` gives a list of clients of one empty store.

pub mod database;
pub mod state;
pub mod together;

use std::time::Duration;

/// How long a state is waited for.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `reached` says so; panics after [`DEADLINE`].
pub async fn eventually(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, poll).await.is_err() {
        panic!("not reached in time: {what}");
    }
}

/// One test for each check of a state store.
#[macro_export]
macro_rules! state_conformance {
    ($make:path) => {
        $crate::state_checks!(conformance_tests, $make);
    };
}

/// One test of all checks of a state store.
#[macro_export]
macro_rules! state_conformance_in_turn {
    ($name:ident, $start:path, $make:path) => {
        $crate::state_checks!(conformance_in_turn, $name, $start, $make);
    };
}

/// One test for each check of several clients of one state store.
#[macro_export]
macro_rules! state_conformance_together {
    ($make:path) => {
        $crate::conformance_tests!($make; together:
            one_of_many_registers, one_of_many_owns, fences_only_grow, only_the_newest_owner_writes, everyone_counts_once,
            one_wakes_another);
    };
}

/// One test for each check of a database.
#[macro_export]
macro_rules! database_conformance {
    ($make:path) => {
        $crate::database_checks!(conformance_tests, $make);
    };
}

/// One test of all checks of a database.
#[macro_export]
macro_rules! database_conformance_in_turn {
    ($name:ident, $start:path, $make:path) => {
        $crate::database_checks!(conformance_in_turn, $name, $start, $make);
    };
}

/// The checks of a state store; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! state_checks {
    ($into:ident, $($how:tt)*) => {
        $crate::$into!($($how)*; state:
            nodes_come_change_and_go, a_node_id_is_one_nodes, nodes_expire, lease_has_one_owner, lease_expires_and_fence_grows,
            lease_race_has_one_winner, release_needs_the_present_fence, log_is_kept_in_order,
            what_comes_again_is_done_once_and_what_comes_late_is_not,
            what_was_lost_behind_the_owners_back_is_told, older_fence_writes_nothing, lease_alone_fences, forgotten_log_is_empty_and_fences_grow,
            log_is_bounded, counters_count_in_windows, notes_are_kept_for_their_time, wakes_arrive);
    };
}

/// The checks of a database; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! database_checks {
    ($into:ident, $($how:tt)*) => {
        $crate::$into!($($how)*; database:
            meeting_is_found_by_id_and_code, id_and_code_are_unique, meeting_ends_once,
            creation_race_has_one_winner, accounts_are_unique_by_name, participations_are_kept,
            an_end_may_be_noted_first, audit_log_is_kept_in_order, strange_text_comes_back);
    };
}

/// A test each; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($make:path; $suite:ident: $($check:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, _kept) = $make().await;
                $crate::conformance::$suite::$check(&store).await;
            }
        )*
    };
}

/// One test of all; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_in_turn {
    ($name:ident, $start:path, $make:path; $suite:ident: $($check:ident),* $(,)?) => {
        #[tokio::test]
        async fn $name() {
            let servers = $start().await;
            $(
                let store = $make(&servers, stringify!($check)).await;
                $crate::conformance::$suite::$check(&store).await;
            )*
        }
    };
}
