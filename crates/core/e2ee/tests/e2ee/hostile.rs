//! A controller that lies, a newcomer that cheats, bytes that rot.

use darktower_e2ee::{Error, Group, Identity, Keyring, LinkSecret, OpenError, Sealer};
use proptest::prelude::*;
use std::time::Duration;

use crate::world::{MEETING, WALL, World, identity, participant};

#[test]
fn without_the_links_secret_nobody_gets_in() {
    let mut world = World::with_link(3);
    let info = world.groups[0].group_info().unwrap();
    let (_, commit) = Group::join(identity(9), &info, None, WALL).unwrap();
    for member in &mut world.groups {
        assert_eq!(
            member.process(&commit.message, WALL),
            Err(Error::LinkSecretMissing)
        );
    }
    world.agreed();
}

#[test]
fn with_another_secret_nobody_gets_in() {
    let mut world = World::with_link(3);
    let info = world.groups[0].group_info().unwrap();
    let other = LinkSecret::generate().unwrap();
    let (impostor, commit) = Group::join(identity(9), &info, Some(&other), WALL).unwrap();
    for member in &mut world.groups {
        assert_eq!(
            member.process(&commit.message, WALL),
            Err(Error::KeysDiffer)
        );
    }
    assert_ne!(world.agreed(), impostor.verification_code().unwrap());
    world.join();
    world.agreed();
}

#[test]
fn a_group_without_a_link_knows_no_secret() {
    let mut world = World::of(2, None);
    world.agreed();
    let info = world.groups[0].group_info().unwrap();
    let link = LinkSecret::generate().unwrap();
    let (_, commit) = Group::join(identity(9), &info, Some(&link), WALL).unwrap();
    assert_eq!(
        world.groups[0].process(&commit.message, WALL),
        Err(Error::LinkSecretUnknown)
    );
    world.join();
    world.agreed();
}

/// The controller answers a newcomer with a group of its own making instead of the meeting's.
#[test]
fn a_swapped_group_shows_in_the_code() {
    let world = World::of(2, None);
    let parallel = Group::found(identity(0), MEETING, None, WALL).unwrap();
    let (newcomer, _) =
        Group::join(identity(9), &parallel.group_info().unwrap(), None, WALL).unwrap();
    assert_ne!(newcomer.verification_code().unwrap(), world.agreed());
}

/// With a link secret the swap does not even give the controller the newcomer's keys: it cannot process the commit.
#[test]
fn a_swapped_group_gets_no_keys_without_the_links_secret() {
    let link = LinkSecret::generate().unwrap();
    let guessed = LinkSecret::generate().unwrap();
    let mut parallel = Group::found(identity(0), MEETING, Some(&guessed), WALL).unwrap();
    let (_, commit) = Group::join(
        identity(9),
        &parallel.group_info().unwrap(),
        Some(&link),
        WALL,
    )
    .unwrap();
    assert_eq!(
        parallel.process(&commit.message, WALL),
        Err(Error::KeysDiffer)
    );
}

#[test]
fn the_removed_cannot_follow() {
    let mut world = World::with_link(3);
    let id = world.groups[2].participant();
    let commit = world.groups[0].remove(&[id], WALL).unwrap();
    let mut removed = world.groups.pop().unwrap();
    let mut keyring = Keyring::new();
    keyring.install(Duration::ZERO, removed.keys().unwrap().opening);
    world.relay(&commit);
    assert_eq!(removed.process(&commit.message, WALL), Err(Error::Removed));

    let mut sealer = Sealer::new(world.groups[0].keys().unwrap().sealing);
    let mut sealed = Vec::new();
    sealer.seal(b"", b"not for you", &mut sealed).unwrap();
    let opened = keyring.open(participant(0), b"", &sealed, &mut Vec::new());
    assert_eq!(opened, Err(OpenError::UnknownEpoch { newer: true }));
    assert_ne!(removed.verification_code().ok(), Some(world.agreed()));
}

#[test]
fn a_removed_one_that_did_not_hear_of_it_cannot_open_either() {
    let mut world = World::with_link(3);
    let mut removed = world.remove(0, 2);
    let mut deaf = Keyring::new();
    deaf.install(Duration::ZERO, removed.keys().unwrap().opening);
    // It commits something in its old epoch: nobody takes it.
    let stale = removed.refresh(WALL).unwrap();
    assert!(matches!(
        world.groups[0].process(&stale.message, WALL),
        Err(Error::WrongEpoch { .. })
    ));
    // It takes its own commit for the truth, and is now in an epoch of the same number, but with other keys.
    removed.accept_own(stale.epoch).unwrap();
    deaf.install(Duration::ZERO, removed.keys().unwrap().opening);
    let mut sealer = Sealer::new(world.groups[0].keys().unwrap().sealing);
    let mut sealed = Vec::new();
    sealer.seal(b"", b"not for you", &mut sealed).unwrap();
    assert_eq!(
        deaf.open(participant(0), b"", &sealed, &mut Vec::new()),
        Err(OpenError::BadTag)
    );
}

#[test]
fn the_same_commit_twice_is_refused() {
    let mut world = World::with_link(2);
    let commit = world.groups[0].refresh(WALL).unwrap();
    world.relay(&commit);
    for member in &mut world.groups {
        assert!(matches!(
            member.process(&commit.message, WALL),
            Err(Error::WrongEpoch { .. })
        ));
    }
    world.agreed();
}

#[test]
fn what_is_not_a_commit_is_refused() {
    let mut world = World::with_link(2);
    let info = world.groups[0].group_info().unwrap();
    for message in [&b""[..], b"\0\x01\0\x01", &info, &[0xff; 300]] {
        assert!(world.groups[1].process(message, WALL).is_err());
        assert!(Group::join(identity(9), &message[..message.len().min(200)], None, WALL).is_err());
    }
    let commit = world.groups[0].refresh(WALL).unwrap();
    assert_eq!(
        Group::join(identity(9), &commit.message, None, WALL).err(),
        Some(Error::Malformed)
    );
    world.relay(&commit);
    world.agreed();
}

#[test]
fn a_fragment_is_22_characters() {
    let link = LinkSecret::generate().unwrap();
    let fragment = link.to_fragment();
    assert_eq!(fragment.len(), 22);
    assert_eq!(LinkSecret::from_fragment(&fragment).unwrap(), link);
    for bad in [
        "",
        "abc",
        "????????????????????",
        &format!("{}A", *fragment),
        &format!("{}AAAA", *fragment),
    ] {
        assert_eq!(LinkSecret::from_fragment(bad), Err(Error::BadFragment));
    }
}

#[test]
fn a_key_that_is_in_the_group_cannot_come_in_twice() {
    // Two attendances that use one signature key.
    let link = LinkSecret::generate().unwrap();
    let founder = identity(0);
    let mut group = Group::found(founder.clone(), MEETING, Some(&link), WALL).unwrap();
    let info = group.group_info().unwrap();
    // The same identity replaces its own leaf, which is the way back and nothing else.
    let (mut back, commit) = Group::join(founder, &info, Some(&link), WALL).unwrap();
    assert_eq!(back.members().len(), 1);
    assert_eq!(group.process(&commit.message, WALL), Err(Error::Removed));
    let (_, commit) = Group::join(identity(1), &commit.group_info, Some(&link), WALL).unwrap();
    back.process(&commit.message, WALL).unwrap();
    assert_eq!(back.members().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rotten_commit_is_an_error_and_harms_nothing(
        at in any::<prop::sample::Index>(), flip in 1..=255u8, cut in any::<prop::sample::Index>(), external: bool,
    ) {
        let mut world = World::with_link(3);
        let (newcomer, commit) = if external {
            let info = world.groups[0].group_info().unwrap();
            let (group, commit) = Group::join(identity(9), &info, world.link.as_ref(), WALL).unwrap();
            (Some(group), commit)
        } else {
            (None, world.groups[0].refresh(WALL).unwrap())
        };
        let mut rotten = commit.message.to_vec();
        rotten[at.index(commit.message.len())] ^= flip;
        prop_assert!(world.groups[1].process(&rotten, WALL).is_err());
        prop_assert!(world.groups[1].process(&commit.message[..cut.index(commit.message.len())], WALL).is_err());
        world.relay(&commit);
        world.groups.extend(newcomer);
        world.agreed();
    }

    #[test]
    fn a_rotten_public_state_is_an_error_or_leads_nowhere(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut world = World::with_link(2);
        let mut info = world.groups[0].group_info().unwrap().to_vec();
        let at = at.index(info.len());
        info[at] ^= flip;
        let id = Identity::new(participant(9)).unwrap();
        if let Ok((_, commit)) = Group::join(id, &info, world.link.as_ref(), WALL) {
            prop_assert!(world.groups[0].process(&commit.message, WALL).is_err());
        }
        world.agreed();
    }
}
