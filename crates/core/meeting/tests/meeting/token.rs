//! A join token opens one session: who loses that one before it is in the meeting.

use std::time::Duration;

use darktower_meeting::session::{self, Phase};
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::token::Role;

use crate::keys::Owner;
use crate::world::{DELAY, World};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One in the meeting, and another that knows it.
fn strict() -> (World, usize) {
    let mut world = World::new(10);
    world.is_strict = true;
    world.joined(Role::Guest);
    let end = world.add(Role::Guest);
    (world, end)
}

/// The API lets it come as somebody else.
fn admit(world: &mut World, end: usize) {
    let id = ParticipantId([end as u8 + 101; 16]);
    world.ends[end].id = id;
    world.ends[end].owner = Owner::new(id);
    world.ends[end].used = false;
    let (_, info) = world.meeting.description().keys.expect("a group");
    let joins = world.phase(end) == Phase::Joining;
    let key = joins.then(|| world.ends[end].owner.join(&info));
    world.say(end, session::Input::Admitted { key });
}

#[test]
fn who_loses_the_lobby_waits_there_until_the_api_lets_it_in_anew() {
    let (mut world, end) = strict();
    world.say(end, session::Input::EnterLobby);
    world.until(|world| world.phase(end) == Phase::Lobby);
    world.break_link(end);
    world.until(|world| world.ends[end].lookups == 1);
    assert!(world.ends[end].session.is_spent());
    let doors = world.ends[end].doors.len();
    world.until(|world| world.ends[end].lookups == 4);
    assert_eq!(world.phase(end), Phase::Lobby);
    assert_eq!(world.ends[end].session.state().error, None);
    assert_eq!(
        world.ends[end].doors.len(),
        doors,
        "the token opens nothing any more"
    );
    admit(&mut world, end);
    world.run(4 * DELAY);
    let id = world.ends[end].id;
    assert_eq!(world.ends[end].session.state().me, Some(id));
    assert!(!world.ends[end].session.is_spent());
    world.join(end, &[1]);
    world.until(|world| world.ends[end].owner.group.is_some());
    world.run(ms(500));
    world.assert_settled();
}

#[test]
fn who_loses_its_join_joins_as_whom_the_api_says_with_what_it_wished() {
    let (mut world, end) = strict();
    // The session it opens is one that it never hears of.
    world.ends[end].used = true;
    world.join(end, &[1, 2]);
    let mute = session::Input::SetMuted {
        handle: 2,
        muted: true,
    };
    world.say(end, mute);
    world.until(|world| world.ends[end].lookups == 1);
    assert_eq!(world.phase(end), Phase::Joining);
    admit(&mut world, end);
    let began = world.now;
    world.until(|world| world.ends[end].owner.group.is_some());
    assert!(world.now - began < ms(200), "{:?}", world.now - began);
    world.run(ms(500));
    world.assert_settled();
    let tracks = &world.ends[0].session.state().participants[&world.ends[end].id].tracks;
    let muted: Vec<_> = tracks.values().map(|track| track.muted).collect();
    assert_eq!(muted, [false, true]);
}

#[test]
fn where_the_api_lets_nobody_in_it_ends() {
    let (mut world, end) = strict();
    world.ends[end].used = true;
    world.join(end, &[1]);
    world.until(|world| world.phase(end) == Phase::Failed);
    let state = world.ends[end].session.state();
    assert_eq!(state.error.as_ref().unwrap().code, Code::ConnectFailed);
    assert!(world.now > ms(29_000), "{:?}", world.now);
    assert!(world.ends[end].lookups > 5);
    assert!(!world.ends[end].session.is_spent());
    assert_eq!(world.ends[end].session.deadline(), None);
}

/// Another connection could not be opened with the token that the silent one was opened with.
#[test]
fn a_silent_lobby_keeps_its_connection_and_spends_nothing() {
    let (mut world, end) = strict();
    world.say(end, session::Input::EnterLobby);
    world.until(|world| world.phase(end) == Phase::Lobby);
    let live = world.ends[end].live;
    world.ends[end].cut = true;
    world.run(ms(8000));
    assert_eq!(world.ends[end].doors.len(), 1);
    world.ends[end].cut = false;
    world.run(ms(1500));
    assert_eq!(world.ends[end].live, live);
    assert_eq!(world.phase(end), Phase::Lobby);
    assert_eq!(world.ends[end].lookups, 0);
}
