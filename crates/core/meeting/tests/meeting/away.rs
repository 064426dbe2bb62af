//! Somebody is silent: what the others are told, and what becomes of its seat.

use std::time::Duration;

use darktower_meeting::meeting;
use darktower_meeting::session::{self, Phase};
use darktower_wire::signal::{self, ClientMessage, client_message::Body};
use darktower_wire::token::Role;

use crate::world::World;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A world of two who have just been heard.
fn two() -> World {
    with(meeting::Config::default())
}

fn with(config: meeting::Config) -> World {
    let mut world = World::with(config, 10);
    for _ in 0..2 {
        world.joined(Role::Guest);
    }
    world.run(ms(2000));
    world.told_away.clear();
    world
}

fn sees_away(world: &World, end: usize, other: usize) -> bool {
    let state = world.ends[end].session.state();
    state.participants[&world.ends[other].id].away
}

/// Whoever comes and goes, in whatever moment of it, is no ghost for five minutes.
#[test]
fn who_leaves_while_joining_holds_no_seat() {
    for after in (0..250).step_by(5) {
        let mut world = two();
        let hasty = world.add(Role::Guest);
        world.join(hasty, &[1]);
        world.run(ms(after));
        world.say(hasty, session::Input::Leave);
        world.run(ms(3000));
        assert_eq!(world.phase(hasty), Phase::Left);
        let id = world.ends[hasty].id;
        assert!(!world.meeting.has_seat(id), "left after {after} ms");
        assert!(world.ends[hasty].live.is_none(), "left after {after} ms");
    }
}

#[test]
fn who_is_silent_is_away_and_back_on_the_connection_that_it_has() {
    let mut world = two();
    let live = world.ends[0].live;
    world.ends[0].cut = true;
    world.run(ms(3900));
    assert!(!sees_away(&world, 1, 0), "it may be a short silence");
    world.run(ms(1200));
    assert!(sees_away(&world, 1, 0));
    assert!(!sees_away(&world, 1, 1));
    let newcomer = world.joined(Role::Guest);
    assert!(sees_away(&world, newcomer, 0), "newcomers are told as well");
    world.ends[0].cut = false;
    world.until(|world| !sees_away(world, 1, 0) && !sees_away(world, newcomer, 0));
    assert_eq!(world.told_away, [true, false, false]);
    assert_eq!(world.ends[0].live, live);
    assert_eq!(world.phase(0), Phase::Joined);
    // It is as if nothing had been: the next silence counts from its own beginning.
    world.run(world.config.seat_ttl + ms(5000));
    assert_eq!(world.told_away.len(), 3);
    world.ends[0].cut = true;
    world.run(ms(3900));
    assert!(!sees_away(&world, 1, 0));
    world.run(ms(1200));
    assert!(sees_away(&world, 1, 0));
}

#[test]
fn a_connection_that_ends_after_its_silence_is_told_once() {
    let mut world = two();
    world.ends[0].cut = true;
    let cut = world.now;
    world.until(|world| world.phase(0) == Phase::Reconnecting);
    world.run(ms(500));
    assert_eq!(world.told_away, [true]);
    let sees = |world: &World| world.ends[1].session.state().participants.len() == 2;
    world.until(|world| !sees(world));
    assert_eq!(world.told_away, [true]);
    // Since it was last heard, which was less than a second before.
    let (gone, held) = (world.now - cut, world.config.seat_ttl);
    assert!(
        gone <= held + ms(100) && gone + ms(1000) >= held,
        "{gone:?}"
    );
    world.until(|world| world.phase(0) == Phase::Failed);
}

#[test]
fn who_is_silent_and_comes_back_on_another_connection_is_told_of_once() {
    let mut world = two();
    world.ends[0].cut = true;
    world.until(|world| world.phase(0) == Phase::Reconnecting);
    world.heal(0);
    world.until(|world| world.phase(0) == Phase::Joined);
    world.run(ms(1000));
    assert_eq!(world.told_away, [true, false]);
    world.assert_settled();
}

/// What waited for a controller that stood still is heard before anybody is judged.
#[test]
fn nobody_is_silent_because_the_controller_did_not_listen() {
    for stood_still in [ms(5000), ms(60_000)] {
        let mut world = two();
        let sessions: Vec<_> = world.ends.iter().filter_map(|end| end.live).collect();
        world.now += stood_still;
        world.tell(meeting::Input::Tick);
        for session in sessions {
            world.now += ms(400);
            let ping = Body::Ping(signal::Ping { sent_us: 1 });
            let message = ClientMessage {
                body: Some(ping),
                ..ClientMessage::default()
            };
            world.tell(meeting::Input::Message { session, message });
        }
        assert!(world.told_away.is_empty());
        let next = world.meeting.deadline().expect("two who may fall silent");
        assert!(next > world.now + ms(3000), "{next:?}");
    }
}

#[test]
fn a_seat_is_not_given_up_while_somebody_is_on_it() {
    let mut world = with(meeting::Config {
        seat_ttl: ms(6000),
        ..meeting::Config::default()
    });
    let live = world.ends[0].live;
    world.ends[0].cut = true;
    world.run(ms(8000));
    world.ends[0].cut = false;
    world.until(|world| !sees_away(world, 1, 0));
    assert_eq!(world.told_away, [true, false]);
    assert_eq!(world.ends[0].live, live);
    world.ends[0].cut = true;
    world.until(|world| world.ends[1].session.state().participants.len() == 1);
    world.until(|world| world.phase(0) == Phase::Failed);
}

/// Each length of an outage falls otherwise into the waits between attempts.
#[test]
fn who_waits_for_the_network_tries_at_once_when_something_comes_by_another_way() {
    for outage in 20..40 {
        let mut world = two();
        world.ends[0].cut = true;
        world.run(ms(1000 * outage));
        assert_eq!(world.phase(0), Phase::Reconnecting);
        world.ends[0].cut = false;
        let back = world.now;
        world.ends[0].session.path_heard(back);
        world.until(|world| world.phase(0) == Phase::Joined);
        // An attempt that began without a network goes its way first.
        let most = session::Config::default().connect_timeout + ms(200);
        let took = world.now - back;
        assert!(took <= most, "{took:?} after an outage of {outage} s");
    }
}

/// The media of somebody whose controller is gone comes all the time.
#[test]
fn what_comes_by_another_way_all_the_time_hurries_nobody() {
    let attempts = |hears: bool| {
        let mut world = two();
        world.ends[0].cut = true;
        let before = world.ends[0].doors.len();
        for _ in 0..500 {
            world.run(ms(100));
            if hears {
                let now = world.now;
                world.ends[0].session.path_heard(now);
            }
        }
        world.ends[0].doors.len() - before
    };
    let (hearing, deaf) = (attempts(true), attempts(false));
    assert!(hearing > 3 && hearing <= deaf, "{hearing} and {deaf}");
}
