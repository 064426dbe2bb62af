use darktower_e2ee::{Error, Group, Identity, LinkSecret};
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal::{KeyCommit, KeyState};

use super::*;

const MEETING: MeetingId = MeetingId([7; 16]);
const WALL: u64 = 1_790_000_000_000;
const START: Duration = Duration::from_secs(5);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn participant(n: u8) -> ParticipantId {
    ParticipantId([n; 16])
}

/// A founded group that others come into.
struct Members {
    founder: Group,
    link: LinkSecret,
}

impl Members {
    fn new() -> Self {
        let link = LinkSecret::generate().unwrap();
        let identity = Identity::new(participant(1)).unwrap();
        let founder = Group::found(identity, MEETING, Some(&link), WALL).unwrap();
        Self { founder, link }
    }

    /// As the controller tells it.
    fn state(&self) -> Option<KeyState> {
        Some(KeyState {
            founded: true,
            epoch: self.founder.epoch().0,
            group_info: self.founder.group_info().unwrap(),
        })
    }

    fn entrant(&self, n: u8) -> Entrant {
        Entrant::new(participant(n), MEETING, Some(self.link.clone()))
    }

    /// Somebody else comes in.
    fn another(&mut self, n: u8) {
        let identity = Identity::new(participant(n)).unwrap();
        let info = self.founder.group_info().unwrap();
        let (_, commit) = Group::join(identity, &info, Some(&self.link), WALL).unwrap();
        self.founder.process(&commit.message, WALL).unwrap();
    }

    fn take(&mut self, commit: &KeyCommit) -> Result<(), Error> {
        self.founder.process(&commit.commit, WALL).map(drop)
    }
}

/// In the lobby, with an entry made ahead.
fn waiting(members: &Members, entrant: &Entrant) -> (Lobby, KeyCommit) {
    let mut lobby = Lobby::new(members.state());
    lobby.wait(START);
    lobby.tick(START, WALL, entrant);
    let commit = lobby.made_ahead().expect("it is made at the first tick");
    (lobby, commit)
}

#[test]
fn nothing_is_made_for_one_who_does_not_wait() {
    let members = Members::new();
    let mut lobby = Lobby::new(members.state());
    lobby.told(START, None);
    assert_eq!(lobby.deadline(), None);
    lobby.tick(START, WALL, &members.entrant(2));
    assert_eq!(lobby.made_ahead(), None);
}

#[test]
fn the_click_takes_what_was_made_ahead() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let (mut lobby, ahead) = waiting(&members, &entrant);
    // Told again what it knows already.
    lobby.told(START + ms(500), members.state());
    let entry = lobby.enter(WALL + 60_000, &entrant).unwrap();
    assert_eq!(entry.commit, ahead);
    members.take(&entry.commit).unwrap();
    let codes = [&members.founder, &entry.group].map(|end| end.verification_code().unwrap());
    assert_eq!(codes[0], codes[1]);
    assert_eq!(lobby.deadline(), None);
}

#[test]
fn what_was_used_is_never_used_again() {
    let members = Members::new();
    let entrant = members.entrant(2);
    let (mut lobby, ahead) = waiting(&members, &entrant);
    let first = lobby.enter(WALL, &entrant).unwrap().commit;
    assert_eq!(first, ahead);
    let second = lobby.enter(WALL, &entrant).unwrap().commit;
    assert_ne!(second, first);
    // The join was refused, for its name for instance: there is time to make another.
    lobby.wait(START + ms(50));
    lobby.tick(START + ms(50), WALL, &entrant);
    let third = lobby.enter(WALL, &entrant).unwrap().commit;
    assert!(third != first && third != second);
}

#[test]
fn a_state_that_moved_takes_the_entry_with_it() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let (mut lobby, stale) = waiting(&members, &entrant);
    members.another(3);
    lobby.told(START + ms(700), members.state());
    assert_eq!(lobby.made_ahead(), None);
    assert!(members.take(&stale).is_err());
    // Before it is time for another, the click makes one.
    let entry = lobby.enter(WALL, &entrant).unwrap();
    members.take(&entry.commit).unwrap();
}

#[test]
fn the_entry_is_made_anew_once_the_state_stands() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let (mut lobby, _) = waiting(&members, &entrant);
    members.another(3);
    let moved = START + CALM;
    lobby.told(moved, members.state());
    assert_eq!(lobby.deadline(), Some(moved + SETTLE));
    lobby.tick(moved + SETTLE, WALL, &entrant);
    let anew = lobby.made_ahead().unwrap();
    assert_eq!(lobby.enter(WALL, &entrant).unwrap().commit, anew);
    members.take(&anew).unwrap();
}

#[test]
fn the_same_epoch_with_another_history_is_another_state() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let before = members.state();
    members.another(3);
    let (mut lobby, _) = waiting(&members, &entrant);
    // The third one's commit was voided, a fourth one's took its place.
    let mut others = Members {
        founder: Group::found(
            Identity::new(participant(1)).unwrap(),
            MEETING,
            Some(&members.link),
            WALL,
        )
        .unwrap(),
        link: members.link.clone(),
    };
    others.another(4);
    let (one, other) = (members.state().unwrap(), others.state().unwrap());
    assert_eq!(one.epoch, other.epoch);
    lobby.told(START + ms(10), others.state());
    assert_eq!(lobby.made_ahead(), None);
    let entry = lobby.enter(WALL, &entrant).unwrap();
    others.take(&entry.commit).unwrap();
    assert_ne!(before, others.state());
}

#[test]
fn founding_is_made_ahead_and_given_up_when_somebody_was_faster() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let mut lobby = Lobby::new(None);
    lobby.wait(START);
    lobby.tick(START, WALL, &entrant);
    assert!(lobby.made_ahead().unwrap().founding);
    lobby.told(START + ms(10), None);
    assert!(lobby.made_ahead().unwrap().founding, "nothing changed");
    lobby.told(START + ms(20), members.state());
    assert_eq!(lobby.made_ahead(), None);
    let entry = lobby.enter(WALL, &entrant).unwrap();
    assert!(!entry.commit.founding);
    members.take(&entry.commit).unwrap();
    // And the other way round: everybody left, the group is forgotten.
    let (mut lobby, _) = waiting(&members, &entrant);
    lobby.told(START + ms(10), None);
    assert_eq!(lobby.made_ahead(), None);
    assert!(lobby.enter(WALL, &entrant).unwrap().commit.founding);
}

#[test]
fn an_old_entry_is_made_anew_by_either_clock() {
    let members = Members::new();
    let entrant = members.entrant(2);
    let (mut lobby, ahead) = waiting(&members, &entrant);
    let due = lobby.deadline().unwrap();
    assert_eq!(due, START + KEEP);
    lobby.tick(due, WALL + KEEP.as_millis() as u64, &entrant);
    let anew = lobby.made_ahead().unwrap();
    assert_ne!(anew, ahead);
    // The machine slept, so no tick came; or its clock was set back.
    for wall in [WALL + 2 * KEEP.as_millis() as u64 + 1, WALL - 1] {
        let (mut lobby, ahead) = waiting(&members, &entrant);
        assert_ne!(lobby.enter(wall, &entrant).unwrap().commit, ahead);
    }
}

#[test]
fn without_the_links_secret_an_entry_made_ahead_opens_nothing() {
    let mut members = Members::new();
    let stranger = LinkSecret::generate().unwrap();
    let entrant = Entrant::new(participant(2), MEETING, Some(stranger));
    let (mut lobby, _) = waiting(&members, &entrant);
    let entry = lobby.enter(WALL, &entrant).unwrap();
    assert!(members.take(&entry.commit).is_err());
}

#[test]
fn a_crowd_that_goes_in_costs_those_who_wait_little() {
    let mut members = Members::new();
    let entrant = members.entrant(2);
    let states = [members.state(), {
        members.another(3);
        members.state()
    }];
    let mut lobby = Lobby::new(states[0].clone());
    lobby.wait(START);
    let (mut entries, mut last) = (0, None);
    let minute = (0..600).map(|step| START + ms(100) * step);
    for (step, now) in minute.enumerate() {
        lobby.told(now, states[step % 2].clone());
        while lobby.deadline().is_some_and(|due| due <= now) {
            lobby.tick(now, WALL, &entrant);
            entries += 1;
            last = Some(now);
        }
    }
    assert!((8..=14).contains(&entries), "{entries} entries in a minute");
    // When it is over, the entry comes in time bounded by the last doubling.
    let now = START + ms(60_000);
    lobby.told(now, states[0].clone());
    let due = lobby.deadline().unwrap();
    assert!(due <= now + SETTLE * (1 << MAX_DOUBLINGS), "{due:?}");
    assert!(due >= last.unwrap() + SETTLE);
    lobby.tick(due, WALL, &entrant);
    // A calm group is worth being quick for again.
    lobby.told(due + CALM, states[1].clone());
    assert_eq!(lobby.deadline(), Some(due + CALM + SETTLE));
}

#[test]
fn what_nothing_can_be_built_on_is_tried_ever_more_rarely_and_told_at_the_click() {
    let members = Members::new();
    let entrant = members.entrant(2);
    let broken = |epoch| {
        Some(KeyState {
            founded: true,
            epoch,
            group_info: b"no group"[..].into(),
        })
    };
    let mut lobby = Lobby::new(broken(1));
    lobby.wait(START);
    lobby.tick(START, WALL, &entrant);
    assert_eq!(lobby.deadline(), None);
    lobby.told(START, broken(2));
    assert_eq!(lobby.deadline(), Some(START + SETTLE * 2));
    assert!(lobby.enter(WALL, &entrant).is_err());
}
