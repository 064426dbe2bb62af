//! What the others are told that somebody decodes, whenever it becomes known.

use std::time::Duration;

use darktower_meeting::meeting;
use darktower_meeting::session::{Input, Phase};
use darktower_wire::signal::{self, ClientMessage, client_message::Body};
use darktower_wire::token::Role;

use crate::world::World;

pub(crate) fn decodes(is_able: bool) -> Vec<String> {
    let all = ["vp8", "vp09.00.31.08"].map(str::to_owned);
    all.into_iter().take(if is_able { 2 } else { 1 }).collect()
}

/// What `viewer` knows of what `of` decodes; empty where that has not said, or is not there.
fn known(world: &World, viewer: usize, of: usize) -> Vec<String> {
    let roster = &world.ends[viewer].session.state().participants;
    let decodes = roster.get(&world.ends[of].id).map(|it| it.decodes.clone());
    decodes.unwrap_or_default()
}

/// One who waits, and one who has been asked to join without a track, for so long.
fn joining(ms: u64) -> World {
    let mut world = World::new(10);
    world.joined(Role::Host);
    world.run(Duration::from_secs(1));
    let newcomer = world.add(Role::Guest);
    world.join(newcomer, &[]);
    world.run(Duration::from_millis(ms));
    world
}

fn everybody_is_told(world: &mut World) {
    world.until(|world| known(world, 0, 1) == decodes(true));
    // Who comes later is told with the roster, also by another controller.
    world.run(Duration::from_secs(1));
    world.take_over();
    let late = world.joined(Role::Guest);
    assert_eq!(known(world, late, 1), decodes(true));
    world.run(Duration::from_secs(10));
    assert_eq!(known(world, 0, 1), decodes(true));
    world.assert_settled();
}

#[test]
fn who_knows_it_in_time_tells_it_with_the_join() {
    let mut world = World::new(10);
    world.joined(Role::Host);
    let newcomer = world.add(Role::Guest);
    world.say(newcomer, Input::Decodes(decodes(true)));
    world.join(newcomer, &[]);
    let id = world.ends[newcomer].id;
    world.until(|world| {
        let roster = &world.ends[0].session.state().participants;
        roster.contains_key(&id)
    });
    assert_eq!(known(&world, 0, newcomer), decodes(true));
    everybody_is_told(&mut world);
}

/// A browser answers after 0 ms, while the join is under way, and later; the one that it is of publishes nothing.
#[test]
fn who_learns_it_while_joining_or_later_tells_it_then() {
    for ms in (0..200).step_by(5) {
        let mut world = joining(ms);
        assert_eq!(known(&world, 0, 1), [""; 0]);
        world.say(1, Input::Decodes(decodes(true)));
        everybody_is_told(&mut world);
    }
}

#[test]
fn who_learns_it_without_a_connection_tells_it_when_it_is_back() {
    let mut world = joining(1000);
    world.break_link(1);
    assert_eq!(world.phase(1), Phase::Reconnecting);
    world.say(1, Input::Decodes(decodes(true)));
    everybody_is_told(&mut world);
    // The message is lost with the connection.
    world.say(1, Input::Decodes(decodes(false)));
    world.break_link(1);
    world.until(|world| known(world, 0, 1) == decodes(false));
}

/// The one page that was there told it; the next one has not asked its browser yet.
#[test]
fn a_page_that_is_loaded_anew_takes_nothing_back() {
    let mut world = joining(1000);
    world.say(1, Input::Decodes(decodes(true)));
    world.run(Duration::from_secs(1));
    world.reload(1, false);
    world.run(Duration::from_secs(10));
    assert_eq!(world.phase(1), Phase::Joined);
    everybody_is_told(&mut world);
}

#[test]
fn a_list_without_end_is_told_to_nobody() {
    let mut world = joining(1000);
    world.say(1, Input::Decodes(decodes(true)));
    world.run(Duration::from_secs(1));
    let session = world.ends[1].live.expect("a connection");
    for long in [vec!["vp8".to_owned(); 33], vec!["x".repeat(65)]] {
        let body = Body::SetDecodes(signal::SetDecodes { decodes: long });
        let message = ClientMessage {
            body: Some(body),
            ..ClientMessage::default()
        };
        world.tell(meeting::Input::Message { session, message });
    }
    everybody_is_told(&mut world);
}
