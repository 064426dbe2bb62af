//! Commits that a controller changed on their way: a member takes none of them, and stays where it is.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use darktower_e2ee::{Group, Identity, LinkSecret};
use darktower_wire::ids::{MeetingId, ParticipantId};

const WALL: u64 = 1_795_000_000_000;

/// A member, and the commits that others made for the epoch it is in.
struct Meeting {
    member: Group,
    commits: [Bytes; 2],
}

fn meeting() -> Result<Meeting, darktower_e2ee::Error> {
    let link = LinkSecret::generate()?;
    let id = |n: u8| Identity::new(ParticipantId([n; 16]));
    let mut member = Group::found(id(1)?, MeetingId([7; 16]), Some(&link), WALL)?;
    let info = member.group_info()?;
    let (mut other, commit) = Group::join(id(2)?, &info, Some(&link), WALL)?;
    member.process(&commit.message, WALL)?;
    let refresh = other.refresh(WALL)?.message;
    let (_, join) = Group::join(id(3)?, &commit.group_info, Some(&link), WALL)?;
    Ok(Meeting {
        member,
        commits: [refresh, join.message],
    })
}

/// The first byte of `data` chooses the commit and how it is changed: by edits (two bytes of place, one that is
/// combined with what is there) or by being cut and continued with the rest.
pub fn run(data: &[u8]) {
    static MEETING: OnceLock<Option<Mutex<Meeting>>> = OnceLock::new();
    let meeting = MEETING.get_or_init(|| meeting().ok().map(Mutex::new));
    let (Some(meeting), Some((&how, rest))) = (meeting, data.split_first()) else {
        return;
    };
    let mut meeting = meeting.lock().unwrap_or_else(PoisonError::into_inner);
    let commit = meeting.commits[usize::from(how & 1)].clone();
    let mut changed = commit.to_vec();
    match (how & 2, rest) {
        (0, edits) => {
            for edit in edits.chunks_exact(3) {
                let place = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % changed.len();
                changed[place] ^= edit[2];
            }
        }
        (_, [high, low, tail @ ..]) => {
            let place = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
            changed.truncate(place);
            changed.extend_from_slice(tail);
        }
        _ => {}
    }
    if changed[..] == commit[..] {
        return;
    }
    let epoch = meeting.member.epoch();
    let taken = meeting.member.process(&changed, WALL);
    assert!(taken.is_err(), "took a changed commit: {taken:?}");
    assert_eq!(meeting.member.epoch(), epoch);
    assert_eq!(meeting.member.members().len(), 2);
}
