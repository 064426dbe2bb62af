//! A controller goes away, in order or not: where its participants go.

use std::time::Duration;

use darktower_meeting::meeting;
use darktower_meeting::session::{self, Phase};
use darktower_wire::Code;
use darktower_wire::signal::{Controller, Elsewhere, ServerMessage, server_message::Body};
use darktower_wire::token::Role;

use crate::world::World;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn controllers(urls: &[&str]) -> Vec<Controller> {
    let controller = |url: &&str| Controller {
        url: (*url).to_owned(),
        ..Controller::default()
    };
    urls.iter().map(controller).collect()
}

/// A world of so many participants that know two other controllers.
fn with_others(many: usize) -> World {
    let mut world = World::new(10);
    for _ in 0..many {
        world.joined(Role::Guest);
    }
    world.tell(meeting::Input::Elsewhere(controllers(&["b", "c"])));
    world.run(ms(1500));
    world
}

/// Lets time pass in which other things arrive at an end.
fn run_hearing(world: &mut World, end: usize, time: Duration) {
    let until = world.now + time;
    while world.now < until {
        world.run(ms(20));
        let now = world.now;
        world.ends[end].session.path_heard(now);
    }
}

#[test]
fn a_meeting_that_moves_takes_everybody_along() {
    let mut world = with_others(3);
    let log = world.meeting.snapshot();
    let moved = meeting::Input::Moved {
        to: controllers(&["c", "b"]),
        code: Code::Draining,
    };
    world.tell(moved);
    assert_eq!(
        world.meeting.snapshot(),
        log,
        "nobody is away: the next one says so"
    );
    world.take_over_quietly();
    let began = world.now;
    world.until(|world| {
        (0..3).all(|end| world.phase(end) == Phase::Joined && world.ends[end].doors.len() == 2)
    });
    assert!(world.now - began < ms(200), "{:?}", world.now - began);
    for end in &world.ends {
        assert_eq!(end.doors, ["", "c"]);
    }
    world.run(ms(500));
    world.assert_settled();
}

#[test]
fn a_silent_controller_on_a_working_network_is_given_up_at_once() {
    let mut world = with_others(2);
    world.ends[0].cut = true;
    run_hearing(&mut world, 0, ms(2000));
    assert_eq!(world.ends[0].doors[..2], ["", "b"]);
    world.ends[1].cut = true;
    world.run(ms(2000));
    assert_eq!(world.ends[1].doors, [""], "it may as well be the network");
    world.run(ms(1500));
    assert_eq!(world.ends[1].doors[..2], ["", ""]);
}

#[test]
fn doors_are_tried_in_turn_until_one_opens() {
    let mut world = with_others(1);
    world.ends[0].cut = true;
    run_hearing(&mut world, 0, ms(9000));
    assert_eq!(world.ends[0].doors[..4], ["", "b", "c", ""]);
    world.heal(0);
    world.until(|world| world.phase(0) == Phase::Joined);
    world.run(ms(500));
    world.assert_settled();
}

#[test]
fn where_every_door_is_shut_the_api_is_asked_again_and_again() {
    let mut world = with_others(1);
    world.ends[0].cut = true;
    world.until(|world| world.ends[0].lookups == 1);
    assert_eq!(world.ends[0].doors[..4], ["", "", "b", "c"]);
    world.until(|world| world.ends[0].lookups == 2);
    assert_eq!(world.ends[0].doors[4..], ["", "b", "c"]);
    world.ends[0].cut = false;
    world.say(0, session::Input::Found);
    let began = world.now;
    world.until(|world| world.phase(0) == Phase::Joined);
    assert!(world.now - began < ms(200), "{:?}", world.now - began);
    assert_eq!(world.ends[0].doors[7..], [""]);
    world.run(ms(500));
    world.assert_settled();
}

#[test]
fn who_is_not_in_yet_asks_the_api_as_well_and_goes_where_it_says() {
    let mut world = World::new(10);
    let end = world.add(Role::Guest);
    world.ends[end].cut = true;
    world.join(end, &[1]);
    world.until(|world| world.ends[end].lookups == 2);
    world.ends[end].cut = false;
    world.say(end, session::Input::Found);
    let began = world.now;
    world.until(|world| world.phase(end) == Phase::Joined);
    assert!(world.now - began < ms(200), "{:?}", world.now - began);
}

#[test]
fn a_short_silence_moves_nobody() {
    let mut world = with_others(1);
    world.ends[0].cut = true;
    run_hearing(&mut world, 0, ms(700));
    world.ends[0].cut = false;
    run_hearing(&mut world, 0, ms(3000));
    assert_eq!(world.ends[0].doors, [""]);
}

/// What is tried beside a silent connection counts only where that one stays silent.
#[test]
fn an_outage_of_eight_seconds_keeps_the_connection() {
    let mut world = with_others(1);
    let live = world.ends[0].live;
    world.ends[0].cut = true;
    world.run(ms(8000));
    assert!(world.ends[0].beside.is_some());
    assert_eq!(
        world.ends[0].session.state().link,
        session::Link::Connecting
    );
    world.ends[0].cut = false;
    world.run(ms(300));
    assert_eq!(world.ends[0].session.state().link, session::Link::Up);
    assert_eq!((world.ends[0].live, world.ends[0].beside), (live, None));
    // The next silence begins with the controller that it has.
    let before = world.ends[0].doors.len();
    world.ends[0].cut = true;
    world.run(ms(4000));
    assert_eq!(world.ends[0].doors[before..], [""]);
}

/// Chromium ends a connection after some seven seconds of silence.
#[test]
fn where_a_silent_connection_ends_the_one_beside_it_goes_on() {
    let mut world = with_others(1);
    let live = world.ends[0].live.unwrap();
    world.ends[0].cut = true;
    world.run(ms(7000));
    let (beside, tried) = (world.ends[0].beside, world.ends[0].doors.len());
    world.break_link(0);
    assert_eq!((world.ends[0].live, world.ends[0].beside), (beside, None));
    assert_ne!(beside, Some(live));
    assert_eq!(world.ends[0].doors.len(), tried, "nothing else is opened");
    assert_eq!(world.phase(0), Phase::Reconnecting);
    world.ends[0].cut = false;
    world.until(|world| world.phase(0) == Phase::Joined);
    world.run(ms(1500));
    world.assert_settled();
}

#[test]
fn where_the_peer_is_gone_the_connection_beside_it_wins() {
    let mut world = with_others(2);
    let live = world.ends[0].live;
    // It knows nothing of the connections that stand.
    world.take_over_quietly();
    let began = world.now;
    world.until(|world| world.ends[0].live != live && world.phase(0) == Phase::Joined);
    assert!(world.now - began < ms(3500), "{:?}", world.now - began);
    world.run(ms(1500));
    world.assert_settled();
}

#[test]
fn an_outage_of_everything_moves_nobody_when_media_is_back_first() {
    let mut world = with_others(1);
    run_hearing(&mut world, 0, ms(1000));
    world.ends[0].cut = true;
    world.run(ms(1500));
    let now = world.now;
    world.ends[0].session.path_heard(now);
    world.ends[0].cut = false;
    run_hearing(&mut world, 0, ms(3000));
    assert_eq!(world.ends[0].doors, [""]);
}

/// The first that is reached after an outage may not have the meeting.
#[test]
fn who_is_sent_on_after_many_failures_goes_at_once() {
    let mut world = with_others(1);
    world.ends[0].cut = true;
    world.run(ms(40_000));
    assert_eq!(world.phase(0), Phase::Reconnecting);
    let moved = ServerMessage {
        body: Some(Body::Elsewhere(Elsewhere {
            controllers: controllers(&["c"]),
            moved: true,
        })),
        ..ServerMessage::default()
    };
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.say(0, session::Input::Connected);
        let tried = world.ends[0].doors.len();
        let sent_on = world.now;
        world.say(0, session::Input::Message(moved.clone()));
        world.until(|world| world.ends[0].doors.len() > tried);
        waits.push(world.now - sent_on);
    }
    assert!(waits[0] < ms(10), "{waits:?}");
    // Two that send it to one another are not asked all the time.
    assert!(waits[1] > ms(200) && waits[3] > ms(2000), "{waits:?}");
}
