//! Scripted steps.

use std::time::Duration;

use darktower_meeting::meeting;
use darktower_meeting::session::{Input, KeySaid, Phase, What};
use darktower_wire::Code;
use darktower_wire::ids::NodeId;
use darktower_wire::ids::TrackId;
use darktower_wire::token::Role;

use crate::spread::handler;
use crate::world::{World, publish};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn three_join_and_share_one_history() {
    let mut world = World::new(10);
    for _ in 0..3 {
        world.joined(Role::Guest);
    }
    world.run(ms(500));
    world.assert_settled();
    let state = world.ends[0].session.state();
    assert_eq!(state.participants.len(), 3);
    assert!(
        state
            .participants
            .values()
            .all(|one| one.tracks.len() == 1 && !one.away)
    );
}

#[test]
fn all_join_at_once() {
    let mut world = World::new(20);
    for _ in 0..12 {
        let end = world.add(Role::Guest);
        world.join(end, &[1, 2]);
    }
    world.run(ms(5000));
    world.assert_settled();
}

#[test]
fn a_join_with_its_commit_takes_one_round_trip() {
    let mut world = World::new(10);
    world.joined(Role::Host);
    let end = world.add(Role::Guest);
    world.say(end, Input::EnterLobby);
    world.until(|world| world.phase(end) == Phase::Lobby);
    let (_, info) = world.meeting.description().keys.unwrap();
    let key = Some(world.ends[end].owner.join(&info));
    let start = world.now;
    let name = "Ann".into();
    world.say(
        end,
        Input::Join {
            name,
            publish: vec![publish(9)],
            key,
        },
    );
    world.until(|world| world.ends[end].owner.group.is_some());
    assert_eq!(world.now - start, 2 * crate::world::DELAY);
    world.run(ms(300));
    world.assert_settled();
}

#[test]
fn two_founders_race_and_one_group_stands() {
    let mut world = World::new(10);
    let ends = [world.add(Role::Guest), world.add(Role::Guest)];
    for end in ends {
        let key = Some(world.ends[end].owner.found(crate::world::MEETING));
        world.say(
            end,
            Input::Join {
                name: "x".into(),
                publish: vec![],
                key,
            },
        );
    }
    world.run(ms(1000));
    world.assert_settled();
}

#[test]
fn the_lobby_sees_epochs_move_and_is_not_on_the_roster() {
    let mut world = World::new(10);
    let waiting = world.add(Role::Guest);
    world.say(waiting, Input::EnterLobby);
    world.until(|world| world.phase(waiting) == Phase::Lobby);
    assert_eq!(world.ends[waiting].founds, 1, "nothing founded yet");
    world.joined(Role::Guest);
    assert_eq!(world.meeting.description().participants, 1);
}

#[test]
fn leaving_changes_the_epoch_and_tells_the_others() {
    let mut world = World::new(10);
    let [a, b, c] = [(); 3].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    let before = world.ends[a].owner.group.as_ref().unwrap().epoch;
    world.say(b, Input::Leave);
    world.run(ms(500));
    assert_eq!(world.phase(b), Phase::Left);
    assert!(world.ends[a].owner.group.as_ref().unwrap().epoch > before);
    assert_eq!(world.ends[c].session.state().participants.len(), 2);
    world.assert_settled();
}

/// One leaves while nothing comes through, having noticed it or not, and is heard again later.
fn leave_unheard(away: bool) {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    world.ends[b].cut = true;
    if away {
        world.until(|world| world.phase(b) == Phase::Reconnecting);
    }
    world.say(b, Input::Leave);
    assert_eq!(world.phase(b), Phase::Left);
    world.run(ms(3000));
    assert_eq!(world.ends[a].session.state().participants.len(), 2);
    world.heal(b);
    world.until(|world| world.ends[a].session.state().participants.len() == 1);
    world.run(ms(500));
    assert_eq!(world.phase(b), Phase::Left);
    assert_eq!(world.ends[b].session.deadline(), None, "it is over");
}

#[test]
fn who_leaves_into_silence_says_it_when_it_is_heard() {
    leave_unheard(false);
}

#[test]
fn who_leaves_while_away_does_not_hold_its_seat() {
    leave_unheard(true);
}

#[test]
fn a_farewell_that_nobody_can_hear_ends() {
    let mut world = World::new(10);
    let a = world.joined(Role::Guest);
    world.ends[a].cut = true;
    world.say(a, Input::Leave);
    world.run(ms(31_000));
    assert_eq!(world.phase(a), Phase::Left);
    assert_eq!(world.ends[a].session.deadline(), None);
}

#[test]
fn the_next_member_removes_where_the_first_does_not() {
    let mut world = World::new(10);
    let [a, b, c] = [(); 3].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    world.ends[a].cut = true;
    world.say(b, Input::Leave);
    world.until(|world| {
        let group = world.ends[c].owner.group.as_ref().unwrap();
        !group.leaves.contains(&Some(world.ends[b].id))
    });
}

#[test]
fn who_has_a_seat_and_is_removed_from_the_group_joins_it_again() {
    let mut world = World::new(10);
    let [a, b, _] = [(); 3].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    let id = world.ends[b].id;
    let commit = world.ends[a].owner.shut_out(id);
    world.say(a, Input::Key(KeySaid::Commit(commit)));
    world.run(ms(500));
    assert!(world.ends[b].owner.group.as_ref().unwrap().epoch > 3);
    world.assert_settled();
}

#[test]
fn a_lost_session_comes_back_to_the_same_seat_and_catches_up() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    let tracks = world.ends[a].session.state().own_tracks.clone();
    world.ends[a].cut = true;
    world.until(|world| world.phase(a) == Phase::Reconnecting);
    world.break_link(a);
    world.until(|world| world.ends[b].session.state().participants[&world.ends[a].id].away);
    let joiners = [(); 2].map(|()| world.joined(Role::Guest));
    world.say(joiners[0], Input::Leave);
    world.run(ms(3000));
    world.ends[a].cut = false;
    world.until(|world| world.phase(a) == Phase::Joined);
    world.run(ms(1500));
    assert_eq!(world.ends[a].session.state().own_tracks, tracks);
    world.assert_settled();
}

#[test]
fn a_seat_is_given_up_only_after_its_time() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.ends[a].cut = true;
    world.until(|world| world.ends[b].session.state().participants[&world.ends[a].id].away);
    // It was silent for that long before they knew.
    world.run(world.config.seat_ttl - world.config.away_after - ms(1000));
    assert!(
        world.ends[b]
            .session
            .state()
            .participants
            .contains_key(&world.ends[a].id)
    );
    world.run(ms(20_000));
    assert!(
        !world.ends[b]
            .session
            .state()
            .participants
            .contains_key(&world.ends[a].id)
    );
    assert_eq!(world.phase(a), Phase::Failed);
    assert_eq!(
        world.ends[a].session.state().error.as_ref().unwrap().code,
        Code::SeatExpired
    );
    world.run(ms(2000));
    world.assert_settled();
}

#[test]
fn a_second_session_supersedes_the_first() {
    let mut world = World::new(10);
    let [a, _] = [(); 2].map(|()| world.joined(Role::Guest));
    let token = world.ends[a].session.state().resume_token.clone().unwrap();
    let twin = world.add(Role::Guest);
    world.ends[twin].session =
        darktower_meeting::Session::resume(world.now, Default::default(), 3, token);
    world.ends[twin].owner = crate::keys::Owner::new(world.ends[a].id);
    world.say(twin, Input::Tick);
    world.until(|world| world.phase(a) == Phase::Failed);
    assert_eq!(
        world.ends[a].session.state().error.as_ref().unwrap().code,
        Code::SeatTaken
    );
    world.run(ms(1500));
    assert_eq!(world.ends[twin].session.state().me, Some(world.ends[a].id));
    // What the lost page had published is taken back.
    assert!(
        world.ends[twin].session.state().participants[&world.ends[a].id]
            .tracks
            .is_empty()
            || world.ends[1].session.state().participants[&world.ends[a].id]
                .tracks
                .is_empty()
    );
    world.assert_settled();
}

#[test]
fn a_poisoned_commit_is_voided_and_its_maker_shown_out() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    let bad = world.add(Role::Guest);
    world.ends[bad].owner.poisoned = true;
    world.join(bad, &[]);
    world.until(|world| world.phase(bad) == Phase::Failed);
    assert_eq!(
        world.ends[bad].session.state().error.as_ref().unwrap().code,
        Code::LinkSecretNeeded
    );
    world.run(ms(2000));
    assert_eq!(world.phase(a), Phase::Joined);
    assert_eq!(world.phase(b), Phase::Joined);
    world.assert_settled();
}

#[test]
fn one_shown_out_who_did_not_hear_why_hears_it_when_it_asks_again() {
    let mut world = World::new(10);
    let [_, _] = [(); 2].map(|()| world.joined(Role::Guest));
    let bad = world.add(Role::Guest);
    world.ends[bad].owner.poisoned = true;
    world.join(bad, &[]);
    world.until(|world| world.phase(bad) == Phase::Joined);
    let token = world.ends[bad].session.state().resume_token.clone();
    world.until(|world| world.phase(bad) == Phase::Failed);
    let again = world.add(Role::Guest);
    world.ends[again].session =
        darktower_meeting::Session::resume(world.now, Default::default(), 3, token.unwrap());
    world.say(again, Input::Tick);
    world.until(|world| world.phase(again) == Phase::Failed);
    assert_eq!(
        world.ends[again]
            .session
            .state()
            .error
            .as_ref()
            .unwrap()
            .code,
        Code::LinkSecretNeeded
    );
}

#[test]
fn a_member_that_refuses_everything_does_not_hold_up_the_group() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    world.ends[a].owner.refuses = true;
    let c = world.add(Role::Guest);
    world.join(c, &[]);
    world.run(ms(5000));
    world.ends[a].owner.refuses = false;
    world.run(ms(5000));
    assert_eq!(world.phase(b), Phase::Joined);
    let d = world.joined(Role::Guest);
    world.run(ms(5000));
    assert_eq!(world.phase(d), Phase::Joined);
    world.assert_settled();
}

#[test]
fn a_takeover_keeps_ids_roster_and_epoch() {
    let mut world = World::new(10);
    let [a, b, c] = [(); 3].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    let before = (
        world.ends[a].session.state().participants.clone(),
        world.ends[a].owner.group.clone(),
    );
    let start = world.now;
    world.take_over();
    world.until(|world| {
        [a, b, c]
            .iter()
            .all(|end| world.phase(*end) == Phase::Joined)
    });
    assert!(world.now - start < ms(2000));
    world.run(ms(500));
    assert_eq!(world.ends[a].session.state().participants, before.0);
    assert_eq!(world.ends[a].owner.group, before.1);
    world.assert_settled();
}

/// Two controllers, of which one was the owner no more, led to the same number by different commits, and whoever followed
/// the former came back only after another takeover.
#[test]
fn who_followed_a_fork_to_the_same_number_joins_the_group_again() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.run(ms(200));
    let before = world.meeting.snapshot();
    world.joined(Role::Guest);
    world.run(ms(200));
    for end in [a, b] {
        world.ends[end].cut = true;
    }
    world.fork(before);
    let d = world.joined(Role::Guest);
    let numbers = [a, d].map(|end| world.ends[end].owner.group.as_ref().map(|it| it.epoch));
    assert_eq!(numbers, [Some(2); 2]);
    world.take_over();
    for end in [a, b] {
        world.heal(end);
    }
    world.run(ms(5000));
    world.assert_settled();
}

#[test]
fn hosts_remove_and_end_guests_do_not() {
    let mut world = World::new(10);
    let host = world.joined(Role::Host);
    let [guest, other] = [(); 2].map(|()| world.joined(Role::Guest));
    let (guest_id, host_id) = (world.ends[guest].id, world.ends[host].id);
    world.say(guest, Input::Remove(host_id));
    world.say(guest, Input::EndMeeting);
    world.run(ms(200));
    assert_eq!(
        world.ends[guest].refused,
        [
            (What::Remove, Code::Forbidden),
            (What::EndMeeting, Code::Forbidden)
        ]
    );
    world.say(host, Input::Remove(guest_id));
    world.run(ms(500));
    assert_eq!(
        world.ends[guest]
            .session
            .state()
            .error
            .as_ref()
            .unwrap()
            .code,
        Code::Removed
    );
    world.assert_settled();
    world.say(host, Input::EndMeeting);
    world.run(ms(200));
    assert_eq!(world.phase(other), Phase::Ended);
    assert_eq!(world.over, Some(true));
    let late = world.add(Role::Guest);
    world.join(late, &[]);
    world.run(ms(200));
    assert_eq!(world.phase(late), Phase::Ended);
}

#[test]
fn a_full_meeting_says_so() {
    let mut world = World::new(1);
    world.joined(Role::Guest);
    let late = world.add(Role::Guest);
    world.join(late, &[1]);
    world.run(ms(300));
    assert_eq!(world.ends[late].refused, [(What::Join, Code::MeetingFull)]);
    assert_eq!(world.phase(late), Phase::Lobby);
}

#[test]
fn tracks_are_published_muted_wanted_and_taken_back() {
    let mut world = World::new(10);
    let [a, b] = [(); 2].map(|()| world.joined(Role::Guest));
    world.say(a, Input::Publish(publish(2)));
    world.say(
        a,
        Input::SetMuted {
            handle: 2,
            muted: true,
        },
    );
    world.run(ms(300));
    let id = world.ends[a].id;
    let own = world.ends[a].session.state().own_tracks[&2].track.unwrap();
    assert!(world.ends[b].session.state().participants[&id].tracks[&own].muted);
    world.say(
        b,
        Input::Subscribe {
            track: own,
            wanted: false,
        },
    );
    world.say(
        b,
        Input::Subscribe {
            track: TrackId(999),
            wanted: false,
        },
    );
    world.say(
        a,
        Input::Subscribe {
            track: own,
            wanted: true,
        },
    );
    world.run(ms(100));
    assert_eq!(
        world.ends[b].refused,
        [(What::Subscribe(TrackId(999)), Code::TrackUnknown)]
    );
    assert_eq!(
        world.ends[a].refused,
        [(What::Subscribe(own), Code::OwnTrack)]
    );
    world.say(a, Input::Unpublish { handle: 2 });
    world.run(ms(100));
    assert!(
        !world.ends[b].session.state().participants[&id]
            .tracks
            .contains_key(&own)
    );
    // A publication while away goes out with the resume.
    world.break_link(a);
    world.say(a, Input::Publish(publish(3)));
    world.run(ms(1000));
    assert!(world.ends[a].session.state().own_tracks[&3].track.is_some());
    world.assert_settled();
}

#[test]
fn names_and_track_counts_are_bounded() {
    let mut world = World::new(10);
    let end = world.add(Role::Guest);
    for name in ["", "   ", "a\u{7}b", &"x".repeat(65)] {
        let name = name.to_owned();
        world.say(
            end,
            Input::Join {
                name,
                publish: vec![],
                key: None,
            },
        );
        world.run(ms(200));
        assert_eq!(
            world.ends[end].refused.pop(),
            Some((What::Join, Code::NameInvalid))
        );
    }
    world.join(end, &(1..=17).collect::<Vec<_>>());
    world.run(ms(200));
    assert_eq!(
        world.ends[end].refused.pop(),
        Some((What::Join, Code::TooManyTracks))
    );
    world.join(end, &(1..=16).collect::<Vec<_>>());
    world.run(ms(200));
    assert_eq!(world.phase(end), Phase::Joined);
}

#[test]
fn the_handler_is_told_and_assigned() {
    let mut world = World::new(10);
    let early = world.joined(Role::Guest);
    assert!(world.ends[early].assigned.is_empty());
    let node = NodeId([4; 16]);
    world.tell(meeting::Input::Handler(Some(handler(4))));
    assert_eq!(world.meeting.handler_nodes(), [node]);
    let late = world.joined(Role::Guest);
    for end in [early, late] {
        let assigned = &world.ends[end].assigned;
        assert_eq!(assigned.len(), 1);
        assert_eq!(assigned[0].ticket.len(), 32);
    }
    assert_eq!(
        world.meeting.media_orders(node).len(),
        4,
        "two seats, two tracks"
    );
}

#[test]
fn an_empty_meeting_is_given_up() {
    let mut world = World::new(10);
    let end = world.joined(Role::Guest);
    world.say(end, Input::Leave);
    world.run(world.config.empty_for + ms(1000));
    assert_eq!(world.over, Some(false));
}

#[test]
fn who_comes_after_everybody_left_founds_anew() {
    let mut world = World::new(10);
    let a = world.joined(Role::Guest);
    world.say(a, Input::Leave);
    world.run(ms(500));
    let b = world.joined(Role::Guest);
    assert_eq!(world.ends[b].owner.group.as_ref().unwrap().epoch, 0);
    world.run(ms(500));
    world.assert_settled();
}
