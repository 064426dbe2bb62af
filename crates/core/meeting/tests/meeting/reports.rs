//! What is reported of a meeting, for when it is over.

use darktower_meeting::meeting::{self, Happened, Report};
use darktower_meeting::session::Input;
use darktower_wire::token::Role;

use crate::world::{WALL, World};

fn reported(world: &mut World) -> Vec<Report> {
    std::iter::from_fn(|| world.meeting.poll_report()).collect()
}

fn now_ms(world: &World) -> u64 {
    WALL + world.now.as_millis() as u64
}

fn is_end(report: &Report) -> bool {
    matches!(report.what, Happened::Ended { .. })
}

#[test]
fn who_ended_it_is_reported_once_and_a_guest_who_may_not_is_not() {
    let mut world = World::new(10);
    let (host, guest) = (world.joined(Role::Host), world.joined(Role::Guest));
    world.say(guest, Input::EndMeeting);
    world.run(std::time::Duration::from_secs(1));
    assert!(!reported(&mut world).iter().any(is_end));
    world.say(host, Input::EndMeeting);
    world.until(|world| world.over == Some(true));
    let by = Some(world.ends[host].id);
    let mut ends = reported(&mut world);
    ends.retain(is_end);
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].what, Happened::Ended { by });
    assert!(ends[0].at_ms <= now_ms(&world) && ends[0].at_ms + 100 > now_ms(&world));
    world.tell(meeting::Input::End);
    assert!(!reported(&mut world).iter().any(is_end));
}

#[test]
fn an_end_from_outside_is_by_nobody() {
    let mut world = World::new(10);
    world.joined(Role::Guest);
    world.tell(meeting::Input::End);
    let reports = reported(&mut world);
    let end = reports.into_iter().find(is_end).expect("an end");
    assert_eq!(end.what, Happened::Ended { by: None });
    assert_eq!(end.at_ms, now_ms(&world));
}
