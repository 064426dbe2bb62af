//! What is reported of a meeting, for when it is over.

use std::time::Duration;

use darktower_meeting::meeting::{self, Happened, Report};
use darktower_meeting::session::Input;
use darktower_wire::ids::ParticipantId;
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
    world.run(Duration::from_secs(1));
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

/// Who left, and when it came, without the ends.
fn left(world: &mut World) -> Vec<(ParticipantId, Role, u64)> {
    let left = reported(world).into_iter();
    left.filter_map(|report| match report.what {
        Happened::Left {
            participant,
            role,
            joined_ms,
        } => Some((participant, role, joined_ms)),
        _ => None,
    })
    .collect()
}

#[test]
fn everybody_who_came_is_reported_to_have_left_once() {
    let mut world = World::new(10);
    let host = world.joined(Role::Host);
    let came = now_ms(&world);
    let [leaves, vanishes, stays] = [(); 3].map(|()| world.joined(Role::Guest));
    let ids = [leaves, vanishes, stays, host].map(|end| world.ends[end].id);
    assert_eq!(left(&mut world), []);
    world.say(leaves, Input::Leave);
    world.run(Duration::from_secs(1));
    let gone = left(&mut world);
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].0, gone[0].1), (ids[0], Role::Guest));
    world.ends[vanishes].cut = true;
    world.run(world.config.seat_ttl / 2);
    assert_eq!(left(&mut world), [], "its seat is held");
    world.run(world.config.seat_ttl);
    assert_eq!(left(&mut world)[0].0, ids[1]);
    // A new owner knows as well when they came.
    world.take_over();
    world.run(Duration::from_secs(10));
    assert_eq!(left(&mut world), []);
    world.say(host, Input::EndMeeting);
    world.until(|world| world.over == Some(true));
    let mut gone = left(&mut world);
    gone.sort_by_key(|(id, ..)| *id != ids[3]);
    assert_eq!(gone.len(), 2);
    assert_eq!((gone[0].0, gone[0].1), (ids[3], Role::Host));
    assert!(gone[0].2 <= came && gone[0].2 + 200 > came, "{gone:?}");
    assert_eq!(gone[1].0, ids[2]);
}

#[test]
fn whom_a_host_removed_is_reported_with_the_host() {
    let mut world = World::new(10);
    let (host, guest) = (world.joined(Role::Host), world.joined(Role::Guest));
    let (by, participant) = (world.ends[host].id, world.ends[guest].id);
    world.say(guest, Input::Remove(by));
    world.run(Duration::from_secs(1));
    assert_eq!(reported(&mut world), []);
    world.say(host, Input::Remove(participant));
    world.run(Duration::from_secs(1));
    let what: Vec<_> = reported(&mut world)
        .into_iter()
        .map(|report| report.what)
        .collect();
    assert!(matches!(&what[0], Happened::Left { participant: id, .. } if *id == participant));
    assert_eq!(what[1..], [Happened::Removed { participant, by }]);
}
