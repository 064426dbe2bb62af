//! A meeting on several media handlers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use darktower_meeting::meeting::{Handler, Input, MediaOrder, Spare};
use darktower_meeting::session::{self, Phase};
use darktower_wire::ids::{NodeId, ParticipantId, TrackId};
use darktower_wire::signal;
use darktower_wire::token::Role;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::world::{World, publish};

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
        for node in world.synced.drain(..).filter(|node| used.contains(node)) {
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

#[derive(Debug, Clone)]
enum Step {
    Join,
    Lobby,
    Leave(usize),
    Break(usize),
    Publish(usize),
    /// All of the meeting goes to a handler, or those on one to another.
    Whole(u8),
    Part(usize, u8),
    Spare(usize, u8),
    TakeOver,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..=4_u8;
    prop_oneof![
        4 => Just(Step::Join),
        1 => Just(Step::Lobby),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Break),
        1 => any::<usize>().prop_map(Step::Publish),
        1 => id.clone().prop_map(Step::Whole),
        2 => (any::<usize>(), id.clone()).prop_map(|(from, to)| Step::Part(from, to)),
        3 => (0..4_usize, id).prop_map(|(from, to)| Step::Spare(from, to)),
        1 => Just(Step::TakeOver),
        4 => (1_u64..300).prop_map(Step::Wait),
    ]
}

/// Says where everybody is, as a controller does that has just got the meeting.
fn open_all(world: &mut World) {
    match world.meeting.handler_nodes()[..] {
        [] => {}
        [one] => world.tell(Input::Handler(Some(handler(one.0[0])))),
        ref nodes => {
            for from in nodes.iter().copied() {
                let to = handler(from.0[0]);
                world.tell(Input::Rehomed { from, to });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whoever is told to go where, each handler knows at any time exactly what it is to know, and everybody is sent to
    /// the handler that knows them.
    #[test]
    fn handlers_know_who_is_on_them_whatever_happens(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new(30);
        let mut handlers = Handlers::default();
        world.tell(Input::Handler(Some(handler(1))));
        for step in steps {
            let pick = |n: usize, world: &World| (!world.ends.is_empty()).then(|| n % world.ends.len());
            match step {
                Step::Join => {
                    let end = world.add(Role::Guest);
                    world.join(end, &[1]);
                }
                Step::Lobby => {
                    let end = world.add(Role::Guest);
                    world.say(end, session::Input::EnterLobby);
                }
                Step::Leave(n) => if let Some(end) = pick(n, &world) { world.say(end, session::Input::Leave) },
                Step::Break(n) => if let Some(end) = pick(n, &world) { world.break_link(end) },
                Step::Publish(n) => {
                    if let Some(end) = pick(n, &world).filter(|end| !world.phase(*end).is_final()) {
                        world.say(end, session::Input::Publish(publish(2)));
                    }
                }
                Step::Whole(id) => world.tell(Input::Handler(Some(handler(id)))),
                Step::Part(n, id) => {
                    let nodes = world.meeting.handler_nodes();
                    let (from, to) = (nodes[n % nodes.len()], handler(id));
                    // A shell that has one handler says `Handler`.
                    if nodes.len() > 1 {
                        world.tell(Input::Rehomed { from, to });
                    }
                }
                Step::Spare(from, id) => {
                    let current = world.meeting.handler_nodes()[0];
                    let spare = Spare { from, handler: handler(id) };
                    world.tell(Input::Spare((node(id) != current).then_some(spare)));
                }
                Step::TakeOver => {
                    world.take_over();
                    handlers = Handlers::default();
                    open_all(&mut world);
                }
                Step::Wait(ms) => world.run(Duration::from_millis(ms)),
            }
            handlers.hear(&mut world);
        }
        world.run(Duration::from_secs(20));
        handlers.hear(&mut world);
        for end in 0..world.ends.len() {
            if !matches!(world.phase(end), Phase::Joined | Phase::Lobby) {
                continue;
            }
            let id = world.ends[end].id;
            let sees = handlers.0.iter().filter(|(_, told)| told.seats.contains_key(&id));
            let sees: Vec<_> = sees.map(|(node, _)| *node).collect();
            prop_assert_eq!(sees.len(), 1, "{} is on {:?}", end, sees);
            prop_assert_eq!(goes_to(&world, end), handler(sees[0].0[0]).assignment.url);
        }
    }
}
