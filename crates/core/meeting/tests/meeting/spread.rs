//! A meeting on several media handlers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use darktower_meeting::meeting::{Handler, Input, MediaOrder, Spare};
use darktower_meeting::session::{self, Phase};
use darktower_wire::ids::{NodeId, ParticipantId, TrackId};
use darktower_wire::signal;
use darktower_wire::token::Role;
use sha2::{Digest as _, Sha256};

use crate::world::World;

fn node(id: u8) -> NodeId {
    NodeId([id; 16])
}

pub(crate) fn handler(id: u8) -> Handler {
    let url = format!("https://handler-{id}/v1/media");
    Handler {
        node: node(id),
        trunk_url: url.clone(),
        assignment: signal::MediaAssignment {
            url,
            ..Default::default()
        },
        trunk_secret: [id; 32].into(),
    }
}

/// What a handler knows, by all that it was told.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Told {
    seats: BTreeMap<ParticipantId, bool>,
    tracks: BTreeMap<TrackId, (ParticipantId, Option<NodeId>)>,
    /// The hash that opens a trunk here, and what opens one there.
    trunks: BTreeMap<NodeId, Bytes>,
    neighbours: BTreeMap<NodeId, (String, Bytes)>,
}

impl Told {
    fn take(&mut self, order: MediaOrder) {
        match order {
            MediaOrder::Seat { seat, joined, .. } => {
                self.seats.insert(seat, joined);
            }
            MediaOrder::SeatGone { seat, .. } => {
                self.seats.remove(&seat);
            }
            MediaOrder::Track {
                track, seat, via, ..
            } => {
                self.tracks.insert(track, (seat, via));
            }
            MediaOrder::TrackGone { track } => {
                self.tracks.remove(&track);
            }
            MediaOrder::Trunk {
                node,
                ticket_sha256,
            } => {
                self.trunks.insert(node, ticket_sha256);
            }
            MediaOrder::Neighbour {
                node, url, ticket, ..
            } => {
                self.neighbours.insert(node, (url, ticket.0));
            }
            MediaOrder::Subscription { .. } | MediaOrder::MeetingOver => {}
        }
    }

    fn of(orders: impl IntoIterator<Item = MediaOrder>) -> Self {
        let mut told = Self::default();
        orders.into_iter().for_each(|order| told.take(order));
        told
    }
}

/// The handlers, as the shell keeps them: told everything where that is wanted, and of each change.
#[derive(Default)]
struct Handlers(BTreeMap<NodeId, Told>);

impl Handlers {
    fn hear(&mut self, world: &mut World) {
        for (to, order) in world.media.drain(..) {
            if let Some(told) = self.0.get_mut(&to) {
                told.take(order);
            }
        }
        let used = world.meeting.handler_nodes();
        self.0.retain(|node, _| used.contains(node));
        for node in world.synced.drain(..) {
            self.0
                .insert(node, Told::of(world.meeting.media_orders(node)));
        }
        for node in used {
            let all = Told::of(world.meeting.media_orders(node));
            let told = self.0.entry(node).or_insert_with(|| all.clone());
            assert_eq!(*told, all, "{node:?}");
        }
    }
}

/// A meeting of which so many fit on the first handler, and the rest on the second.
fn spread(on_first: usize, people: usize) -> (World, Handlers) {
    let mut world = World::new(20);
    let mut handlers = Handlers::default();
    world.tell(Input::Handler(Some(handler(1))));
    handlers.hear(&mut world);
    let spare = Spare {
        from: on_first,
        handler: handler(2),
    };
    world.tell(Input::Spare(Some(spare)));
    for _ in 0..people {
        world.joined(Role::Guest);
        world.run(Duration::from_millis(100));
        handlers.hear(&mut world);
    }
    (world, handlers)
}

fn goes_to(world: &World, end: usize) -> String {
    let assigned = world.ends[end].assigned.last().expect("an assignment");
    assigned.url.clone()
}

#[test]
fn newcomers_go_to_the_spare_handler_and_others_stay() {
    let (world, handlers) = spread(2, 5);
    for end in 0..5 {
        let at = if end < 2 { 1 } else { 2 };
        assert_eq!(goes_to(&world, end), handler(at).assignment.url, "{end}");
        assert_eq!(world.ends[end].assigned.len(), 1, "nobody moves");
        let id = world.ends[end].id;
        assert_eq!(world.meeting.handler_for(Some(id)), Some(node(at)));
    }
    assert_eq!(world.meeting.handler_for(None), Some(node(2)));
    assert_eq!(
        (
            world.meeting.on_handler(node(1)),
            world.meeting.on_handler(node(2))
        ),
        (2, 3)
    );
    let [first, second] = [1, 2].map(|id| &handlers.0[&node(id)]);
    assert_eq!((first.seats.len(), second.seats.len()), (2, 3));
    for told in [first, second] {
        assert_eq!(told.tracks.len(), 5, "all know all tracks");
    }
    for (seat, via) in second.tracks.values() {
        assert_eq!(via.is_some(), first.seats.contains_key(seat));
    }
    // What one shows is what the other lets in.
    for (here, there) in [(1, 2), (2, 1)] {
        let (url, ticket) = &handlers.0[&node(here)].neighbours[&node(there)];
        assert_eq!(*url, handler(there).trunk_url);
        let hash = Sha256::digest(ticket);
        assert_eq!(handlers.0[&node(there)].trunks[&node(here)], hash[..]);
    }
}

#[test]
fn those_on_a_handler_that_is_gone_go_elsewhere_and_the_others_do_not() {
    let (mut world, mut handlers) = spread(2, 4);
    world.tell(Input::Rehomed {
        from: node(2),
        to: handler(3),
    });
    world.run(Duration::from_millis(100));
    handlers.hear(&mut world);
    for end in 0..4 {
        let (at, told) = if end < 2 { (1, 1) } else { (3, 2) };
        assert_eq!(goes_to(&world, end), handler(at).assignment.url);
        assert_eq!(world.ends[end].assigned.len(), told);
    }
    assert_eq!(world.meeting.handler_nodes(), [node(3), node(1)]);
    // Both fit on one: there are no trunks any more.
    world.tell(Input::Rehomed {
        from: node(3),
        to: handler(1),
    });
    world.run(Duration::from_millis(100));
    handlers.hear(&mut world);
    assert_eq!(world.meeting.handler_nodes(), [node(1)]);
    let told = &handlers.0[&node(1)];
    assert!(told.trunks.is_empty() && told.neighbours.is_empty());
    assert!(told.tracks.values().all(|(_, via)| via.is_none()));
    assert_eq!(told.seats.len(), 4);
}

#[test]
fn a_handler_that_nobody_is_on_any_more_is_left() {
    let (mut world, mut handlers) = spread(1, 3);
    world.say(0, session::Input::Leave);
    world.run(Duration::from_millis(200));
    handlers.hear(&mut world);
    assert_eq!(world.meeting.handler_nodes(), [node(2)]);
    assert!(handlers.0[&node(2)].neighbours.is_empty());
}

#[test]
fn a_new_owner_finds_everybody_where_they_are() {
    let (mut world, _) = spread(2, 4);
    world.take_over();
    assert_eq!(world.meeting.handler_nodes(), [node(2), node(1)]);
    world.media.clear();
    world.synced.clear();
    for from in world.meeting.handler_nodes() {
        let to = handler(from.0[0]);
        world.tell(Input::Rehomed { from, to });
    }
    world.run(Duration::from_secs(5));
    let mut handlers = Handlers::default();
    handlers.hear(&mut world);
    for end in 0..4 {
        let at = if end < 2 { 1 } else { 2 };
        assert_eq!(goes_to(&world, end), handler(at).assignment.url);
    }
}

#[test]
fn who_waits_in_the_lobby_has_a_place_and_keeps_it() {
    let mut world = World::new(20);
    let mut handlers = Handlers::default();
    world.tell(Input::Handler(Some(handler(1))));
    let spare = Spare {
        from: 1,
        handler: handler(2),
    };
    world.tell(Input::Spare(Some(spare)));
    let waits = world.add(Role::Guest);
    world.say(waits, session::Input::EnterLobby);
    world.until(|world| world.phase(waits) == Phase::Lobby);
    handlers.hear(&mut world);
    let late = world.joined(Role::Guest);
    world.run(Duration::from_millis(100));
    handlers.hear(&mut world);
    assert_eq!(goes_to(&world, late), handler(2).assignment.url);
    world.join(waits, &[1]);
    world.run(Duration::from_millis(200));
    handlers.hear(&mut world);
    assert_eq!(goes_to(&world, waits), handler(1).assignment.url);
    assert_eq!(
        (
            world.meeting.on_handler(node(1)),
            world.meeting.on_handler(node(2))
        ),
        (1, 1)
    );
}
