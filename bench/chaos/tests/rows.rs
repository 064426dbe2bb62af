//! Rows of failures, as small as they get: who is back is who was there. Times are measured by `make chaos`.

use std::process::Command;

use darktower_cluster_tests::program;

fn holds(row: &str) {
    holds_with(row, "1", "2");
}

fn holds_with(row: &str, meetings: &str, people: &str) {
    let out = Command::new(env!("CARGO_BIN_EXE_bench-chaos"))
        .args([
            "--row",
            row,
            "--repeat",
            "1",
            "--meetings",
            meetings,
            "--people",
            people,
        ])
        .arg("--untimed")
        .env("DARKTOWER_BIN", program("darktower", "DARKTOWER_BIN"))
        .env("DARKTOWER_BOT", program("darktower-bot", "DARKTOWER_BOT"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&out.stdout);
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{log}");
}

#[test]
fn nobody_in_a_meeting_notices_that_a_global_controller_is_gone() {
    holds("F1-kill");
}

#[test]
fn a_meeting_outlives_its_controller() {
    holds("F2-kill");
}

#[test]
fn a_paused_controller_wakes_to_a_meeting_that_is_anothers() {
    holds("F2-pause");
}

#[test]
fn a_controller_that_is_stopped_hands_its_meetings_on() {
    holds("F2-drain");
}

#[test]
fn a_meeting_outlives_its_media_handler() {
    holds("F3-kill");
}

#[test]
fn who_finds_no_room_on_the_last_handler_is_told_and_gets_in_when_there_is_some() {
    holds_with("F3b", "2", "3");
}

#[test]
fn controllers_that_come_get_meetings_of_one_that_carries_all() {
    holds_with("rebalance", "4", "2");
}

#[test]
fn a_meeting_on_several_media_handlers_outlives_one() {
    holds_with("spread-handler", "1", "4");
}

#[test]
fn a_meeting_on_several_media_handlers_outlives_its_controller() {
    holds_with("spread-owner", "1", "3");
}

#[test]
fn a_media_handler_that_is_stopped_is_left_in_order() {
    holds("F3-drain");
}

#[test]
fn a_media_handler_whose_datagrams_are_lost_is_left() {
    holds("F3-udp");
}

#[test]
fn a_media_handler_that_loses_a_fifth_of_its_datagrams_is_left() {
    holds("F7-loss20");
}

#[test]
fn a_media_handler_that_cannot_be_called_is_left() {
    holds("F7-control");
}

#[test]
fn meetings_outlive_their_database() {
    holds("F1b");
}

#[test]
fn an_owner_that_is_cut_off_from_the_state_steps_down() {
    holds("F2b");
}

#[test]
fn an_outage_of_five_seconds_keeps_every_connection() {
    holds("F8-5s");
}

#[test]
fn everybody_may_come_from_another_port() {
    holds("F10-port");
}

#[test]
fn everybody_may_come_from_another_address() {
    holds("F10-address");
}

#[test]
fn meetings_on_a_master_that_dies_can_be_joined_again() {
    holds("F5-kill");
}

#[test]
fn who_was_cut_off_for_a_while_is_the_one_that_it_was() {
    holds("F9-12s");
}
