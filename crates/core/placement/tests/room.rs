//! Room: where a meeting goes for it, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_placement::{Candidate, Health, Room, keep_or_choose};
use darktower_wire::ids::{MeetingId, NodeId};
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);

fn node(n: u8, capacity: u32, load: u32) -> Candidate<'static> {
    Candidate {
        id: NodeId([n; 16]),
        region: "eu",
        capacity,
        load,
        draining: false,
        health: Health::Sound,
    }
}

fn meeting(n: u32) -> MeetingId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_le_bytes());
    MeetingId(id)
}

/// Asks each second for so long.
fn goes(room: &mut Room, here: &Candidate<'_>, all: &[Candidate<'_>], size: u32) -> Option<NodeId> {
    (0..20).find_map(|second| room.look(S * second, meeting(1), here, all, "eu", size))
}

#[test]
fn a_meeting_moves_only_where_it_fits() {
    let all = [node(1, 20, 21), node(2, 20, 16), node(3, 20, 15)];
    let go = |all: &[Candidate<'_>], size| goes(&mut Room::default(), &all[0], all, size);
    assert_eq!(go(&all, 5), Some(all[2].id));
    assert_eq!(go(&all, 6), None);
    // Not from one in which all have got in, nor to one that is not well or going.
    assert_eq!(go(&[node(1, 20, 20), all[2].clone()], 5), None);
    for (draining, health) in [(true, Health::Sound), (false, Health::Lossy)] {
        let poor = Candidate {
            draining,
            health,
            ..node(3, 20, 0)
        };
        assert_eq!(go(&[all[0].clone(), poor], 5), None);
    }
    // One that must go goes where it fits, and to the most room where it fits nowhere.
    let dead = Candidate {
        health: Health::Silent,
        ..node(1, 20, 21)
    };
    let all = [dead, node(2, 20, 16), node(3, 20, 15)];
    for n in 0..20 {
        for (size, there) in [(5, 3), (6, 3)] {
            let chosen = keep_or_choose(meeting(n), &all, "eu", Some(all[0].id), size);
            assert_eq!(chosen, Some(NodeId([there; 16])));
        }
    }
}

proptest! {
    /// A crowded handler, and others with room for all of them and a third more. Reports are two seconds old, and each
    /// meeting is another controller's, who knows nothing of what the others place.
    #[test]
    fn all_get_in_where_there_is_room_for_all_and_no_meeting_goes_round(
        sizes in prop::collection::vec(2_u32..8, 4..30),
        free in 1_u8..4,
        first in any::<u32>(),
    ) {
        let all: u32 = sizes.iter().sum();
        let capacity = all * 3 / 4;
        let mut on: BTreeMap<usize, u8> = (0..sizes.len()).map(|at| (at, 1)).collect();
        let mut rooms = vec![Room::default(); sizes.len()];
        let mut moves = vec![0; sizes.len()];
        let wants = |on: &BTreeMap<usize, u8>, handler: u8| -> u32 {
            on.iter().filter(|(_, it)| **it == handler).map(|(at, _)| sizes[*at]).sum()
        };
        let report = |on: &BTreeMap<usize, u8>| -> Vec<_> {
            (1..=free + 1).map(|n| node(n, capacity, wants(on, n).min(capacity + 1))).collect()
        };
        let mut reports = vec![report(&on); 21];
        for tick in 0..1200 {
            let now = S * tick / 10;
            let seen = reports[tick as usize].clone();
            for at in 0..sizes.len() {
                let here = &seen[usize::from(on[&at]) - 1];
                let id = meeting(first.wrapping_add(at as u32));
                if let Some(there) = rooms[at].look(now, id, here, &seen, "eu", sizes[at]) {
                    on.insert(at, there.0[0]);
                    moves[at] += 1;
                }
            }
            reports.push(report(&on));
        }
        for n in 1..=free + 1 {
            prop_assert!(wants(&on, n) <= capacity, "{n} of {on:?}");
        }
        prop_assert!(moves.iter().all(|moves| *moves <= 4), "{moves:?}");
    }
}
