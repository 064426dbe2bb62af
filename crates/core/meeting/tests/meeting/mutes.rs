//! What each sees of the others' muting, judged by what these wished: a view may be late, and goes back to nothing. And
//! what becomes of a wish when the connection, the controller or the page goes.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_meeting::session::{Input, OwnTrack, Phase, TrackState};
use darktower_wire::ids::TrackId;
use darktower_wire::signal::TrackDescription;
use darktower_wire::token::Role;
use prost::Message as _;

use crate::world::{DELAY, World, publish};

/// Whose track, and by which handle.
type Of = (usize, u32);

#[derive(Debug, Default)]
pub(crate) struct Mutes {
    /// Every wish so far, oldest first.
    wishes: BTreeMap<Of, Vec<bool>>,
    /// By who looks: the wish that it has got to.
    seen: BTreeMap<(usize, Of), usize>,
}

impl Mutes {
    /// The owner says this, with these tracks.
    pub(crate) fn wished(&mut self, end: usize, own: &BTreeMap<u32, OwnTrack>, input: &Input) {
        let mut wish = |handle, muted| self.wishes.entry((end, handle)).or_default().push(muted);
        match input {
            Input::SetMuted { handle, muted } if own.contains_key(handle) => wish(*handle, *muted),
            Input::Publish(publish) if !own.contains_key(&publish.handle) => {
                wish(publish.handle, publish.muted);
            }
            Input::Join { publish, .. } => {
                let publish = publish.iter();
                let new = publish.filter(|publish| !own.contains_key(&publish.handle));
                new.for_each(|publish| wish(publish.handle, publish.muted));
            }
            _ => {}
        }
    }

    /// What the owner wishes.
    pub(crate) fn wish(&self, end: usize, handle: u32) -> bool {
        let wishes = self.wishes.get(&(end, handle));
        *wishes.and_then(|wishes| wishes.last()).expect("a wish")
    }

    /// `viewer` is shown a track of `owner`.
    pub(crate) fn seen(&mut self, viewer: usize, owner: usize, shown: &TrackState) {
        let Some((of, wishes)) =
            handle_of(shown).and_then(|handle| self.wishes.get_key_value(&(owner, handle)))
        else {
            return;
        };
        let seen = self.seen.entry((viewer, *of)).or_default();
        let next = (*seen..wishes.len()).find(|at| wishes[*at] == shown.muted);
        let Some(next) = next else {
            panic!(
                "{viewer} is shown {of:?} with muted: {} after it had got to number {seen} of the wishes {wishes:?}",
                shown.muted
            );
        };
        *seen = next;
    }

    /// The owner is shown its own track.
    pub(crate) fn own(
        &self,
        owner: usize,
        track: TrackId,
        shown: &TrackState,
        own: &BTreeMap<u32, OwnTrack>,
    ) {
        let known = own.iter().find(|(_, own)| own.track == Some(track));
        if let Some((handle, _)) = known {
            assert_eq!(shown.muted, self.wish(owner, *handle), "of its own track");
        }
    }
}

fn handle_of(shown: &TrackState) -> Option<u32> {
    let description = TrackDescription::decode(&shown.description[..]).ok()?;
    description.label.parse().ok()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn mute(world: &mut World, end: usize, muted: bool) {
    world.say(end, Input::SetMuted { handle: 1, muted });
}

/// What `viewer` is shown of the track of `owner`; `None` where it is shown none.
fn shown(world: &World, viewer: usize, owner: usize) -> Option<bool> {
    let state = world.ends[viewer].session.state();
    let tracks = &state.participants.get(&world.ends[owner].id)?.tracks;
    let track = tracks.values().find(|it| handle_of(it) == Some(1))?;
    Some(track.muted)
}

/// One who is muted, and one who sees it.
fn muted() -> World {
    let mut world = World::new(10);
    for _ in 0..2 {
        world.joined(Role::Guest);
    }
    world.run(ms(500));
    mute(&mut world, 0, true);
    world.until(|world| shown(world, 1, 0) == Some(true));
    world
}

/// Its track is never shown unmuted until `done` and for a while after it.
fn stays_muted(world: &mut World, done: impl Fn(&World) -> bool) {
    world.until(|world| {
        assert_ne!(shown(world, 1, 0), Some(false));
        done(world)
    });
    world.run(ms(1000));
    assert_eq!(shown(world, 1, 0), Some(true));
    let newcomer = world.joined(Role::Guest);
    assert_eq!(shown(world, newcomer, 0), Some(true));
    world.run(ms(1000));
    world.assert_settled();
}

fn is_back(world: &World) -> bool {
    world.phase(0) == Phase::Joined && world.ends[0].owner.group.is_some()
}

#[test]
fn who_is_muted_stays_so_through_a_lost_connection_and_an_outage() {
    let mut world = muted();
    world.break_link(0);
    stays_muted(&mut world, is_back);
    world.ends[0].cut = true;
    world.run(ms(12_000));
    world.heal(0);
    stays_muted(&mut world, is_back);
}

#[test]
fn who_is_muted_stays_so_under_another_controller() {
    let mut world = muted();
    world.take_over();
    stays_muted(&mut world, |world| {
        is_back(world) && world.phase(1) == Phase::Joined
    });
}

#[test]
fn who_is_muted_stays_so_when_its_page_is_loaded_anew() {
    for is_early in [true, false] {
        let mut world = muted();
        world.reload(0, is_early);
        stays_muted(&mut world, |world| {
            is_back(world) && shown(world, 1, 0) == Some(true)
        });
    }
}

#[test]
fn what_is_wished_while_the_connection_is_gone_counts() {
    for wish in [true, false] {
        let mut world = muted();
        mute(&mut world, 0, !wish);
        world.until(|world| shown(world, 1, 0) == Some(!wish));
        world.break_link(0);
        mute(&mut world, 0, wish);
        world.until(|world| shown(world, 1, 0) == Some(wish));
        world.run(ms(1000));
        world.assert_settled();
    }
}

/// It was said to a track that the controller knew no more, and the answer with the new one brought the old wish.
#[test]
fn who_mutes_while_its_track_is_published_anew_is_muted() {
    let mut world = World::new(10);
    for _ in 0..2 {
        world.joined(Role::Guest);
    }
    world.run(ms(500));
    let before = world.meeting.snapshot();
    world.say(0, Input::Publish(publish(2)));
    world.run(ms(500));
    // Another owner never heard of it, and gives its id to the track of another.
    world.fork(before);
    world.break_link(1);
    world.until(|world| world.phase(1) == Phase::Joined);
    world.say(1, Input::Publish(publish(2)));
    world.run(ms(500));
    world.break_link(0);
    world.until(|world| world.phase(0) == Phase::Joined);
    let muted = true;
    world.say(0, Input::SetMuted { handle: 2, muted });
    world.run(ms(3000));
    world.assert_settled();
}

#[test]
fn a_join_that_is_said_again_says_what_was_wished_meanwhile() {
    let mut world = World::new(10);
    world.joined(Role::Guest);
    let end = world.add(Role::Guest);
    world.join(end, &[1]);
    // It is on its way.
    world.run(2 * DELAY + ms(5));
    world.break_link(end);
    mute(&mut world, end, true);
    world.until(|world| {
        assert_ne!(shown(world, 0, end), Some(false));
        shown(world, 0, end) == Some(true)
    });
    world.run(ms(1000));
    world.assert_settled();
}

/// What the world says of a view that goes back.
#[test]
#[should_panic(expected = "muted: false")]
fn an_unmute_that_nobody_wished_is_found() {
    let mut world = muted();
    let state = world.ends[1].session.state();
    let tracks = &state.participants[&world.ends[0].id].tracks;
    let mut track = tracks.values().next().cloned().expect("a track");
    track.muted = false;
    world.mutes.seen(1, 0, &track);
}
