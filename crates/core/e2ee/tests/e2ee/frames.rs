//! Sealed frames between members, over changes of the epoch, and changed on the way.

use std::time::Duration;

use darktower_e2ee::{
    Error, Header, Keyring, MAX_HEADER, MAX_OVERHEAD, OpenError, RETENTION, Sealer,
};
use proptest::prelude::*;

use crate::world::{World, participant};

const START: Duration = Duration::from_secs(100);

/// Two members, the first one's sealer and the second one's keyring.
fn pair() -> (World, Sealer, Keyring) {
    let mut world = World::with_link(3);
    let sealer = Sealer::new(world.groups[0].keys().unwrap().sealing);
    let mut keyring = Keyring::new();
    keyring.install(START, world.groups[1].keys().unwrap().opening);
    (world, sealer, keyring)
}

fn seal(sealer: &mut Sealer, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    sealer.seal(aad, plaintext, &mut sealed).unwrap();
    sealed
}

fn open(
    keyring: &mut Keyring,
    sender: u8,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut out = b"before".to_vec();
    let opened = keyring.open(participant(sender), aad, sealed, &mut out);
    let mut in_place = sealed.to_vec();
    let also = keyring.open_in_place(participant(sender), aad, &mut in_place);
    assert_eq!(&out[..6], b"before");
    match (opened, also) {
        (Ok(opened), Ok((also, range))) => {
            assert_eq!(opened, also);
            assert_eq!(in_place[range], out[6..]);
            Ok(out.split_off(6))
        }
        (Err(error), Err(also)) => {
            assert_eq!(error, also);
            assert_eq!(out, b"before");
            assert_eq!(in_place, sealed, "a refused frame is left as it was");
            Err(error)
        }
        (one, other) => panic!("the two ways to open differ: {one:?}, {other:?}"),
    }
}

#[test]
fn all_tracks_of_a_sender_share_one_count() {
    let (_, mut sealer, mut keyring) = pair();
    for count in 0..300u64 {
        let sealed = seal(&mut sealer, &[count as u8 % 3], b"picture");
        let mut out = Vec::new();
        let opened = keyring
            .open(participant(0), &[count as u8 % 3], &sealed, &mut out)
            .unwrap();
        assert_eq!((opened.counter, opened.leaf), (count, 0));
        assert_eq!(out, b"picture");
        assert!(sealed.len() <= 7 + MAX_OVERHEAD);
    }
}

#[test]
fn keys_are_given_out_once_an_epoch() {
    let (mut world, ..) = pair();
    assert_eq!(world.groups[0].keys().err(), Some(Error::KeysTaken));
    world.join();
    world.groups[0].keys().unwrap();
    // What hangs on other secrets goes on as before.
    world.groups[0].group_info().unwrap();
    world.agreed();
}

#[test]
fn frames_under_another_key_id_are_refused() {
    let (mut world, mut sealer, mut keyring) = pair();
    let mut other = Sealer::new(world.groups[2].keys().unwrap().sealing);
    let sealed = seal(&mut other, b"aad", b"I am the third");
    assert_eq!(
        open(&mut keyring, 0, b"aad", &sealed),
        Err(OpenError::WrongSender)
    );
    assert_eq!(
        open(&mut keyring, 2, b"aad", &sealed).unwrap(),
        b"I am the third"
    );

    // The third seals under its own key and writes the first one's key id.
    let (header, len) = Header::decode(&sealed).unwrap();
    let mut forged = [0; MAX_HEADER];
    let first = Header::decode(&seal(&mut sealer, b"", b"")).unwrap().0.kid;
    let forged_len = Header {
        kid: first,
        counter: header.counter,
    }
    .encode(&mut forged);
    let forged = [&forged[..forged_len], &sealed[len..]].concat();
    assert_eq!(
        open(&mut keyring, 0, b"aad", &forged),
        Err(OpenError::BadTag)
    );

    // Nobody is at leaf 9.
    let mut nobody = [0; MAX_HEADER];
    let len = Header {
        kid: (9 << 16) | (header.kid & 0xffff),
        counter: 0,
    }
    .encode(&mut nobody);
    let nobody = [&nobody[..len], &[0; 40]].concat();
    assert_eq!(
        open(&mut keyring, 0, b"aad", &nobody),
        Err(OpenError::UnknownSender)
    );
    let mut far = [0; MAX_HEADER];
    let len = Header {
        kid: u64::MAX << 16 | (header.kid & 0xffff),
        counter: u64::MAX,
    }
    .encode(&mut far);
    let far = [&far[..len], &[0; 40]].concat();
    assert_eq!(
        open(&mut keyring, 0, b"aad", &far),
        Err(OpenError::UnknownSender)
    );
}

#[test]
fn an_epoch_opens_for_ten_seconds_after_the_next() {
    let (mut world, mut sealer, mut keyring) = pair();
    let old = seal(&mut sealer, b"", b"old");
    world.join();
    sealer.switch(world.groups[0].keys().unwrap().sealing);
    let new = seal(&mut sealer, b"", b"new");
    assert_eq!(
        open(&mut keyring, 0, b"", &new),
        Err(OpenError::UnknownEpoch { newer: true })
    );

    assert_eq!(keyring.deadline(), None);
    let at = START + Duration::from_secs(60);
    keyring.install(at, world.groups[1].keys().unwrap().opening);
    assert_eq!(keyring.epoch(), Some(world.groups[0].epoch()));
    assert_eq!(keyring.deadline(), Some(at + RETENTION));
    keyring.tick(at + RETENTION - Duration::from_millis(1));
    assert_eq!(open(&mut keyring, 0, b"", &old).unwrap(), b"old");
    assert_eq!(open(&mut keyring, 0, b"", &new).unwrap(), b"new");
    keyring.tick(at + RETENTION);
    assert_eq!(
        open(&mut keyring, 0, b"", &old),
        Err(OpenError::UnknownEpoch { newer: false })
    );
    assert_eq!(open(&mut keyring, 0, b"", &new).unwrap(), b"new");
    assert_eq!(keyring.deadline(), None);
}

#[test]
fn a_sender_is_not_turned_back_to_an_older_epoch() {
    let mut world = World::with_link(2);
    let former = world.groups[0].keys().unwrap();
    world.join();
    let mut sealer = Sealer::new(world.groups[0].keys().unwrap().sealing);
    let epoch = sealer.epoch();
    sealer.switch(former.sealing);
    assert_eq!(sealer.epoch(), epoch);
}

#[test]
fn an_empty_keyring_waits_for_its_first_epoch() {
    let (_, mut sealer, _) = pair();
    let sealed = seal(&mut sealer, b"", b"");
    assert_eq!(
        open(&mut Keyring::new(), 0, b"", &sealed),
        Err(OpenError::UnknownEpoch { newer: true })
    );
}

#[test]
fn a_frame_again_is_the_same_frame() {
    let (_, mut sealer, mut keyring) = pair();
    let sealed = seal(&mut sealer, b"", b"once");
    let first = keyring
        .open(participant(0), b"", &sealed, &mut Vec::new())
        .unwrap();
    let again = keyring
        .open(participant(0), b"", &sealed, &mut Vec::new())
        .unwrap();
    assert_eq!(first, again);
}

#[test]
fn numbers_have_one_form() {
    for longer in [
        &[0x80, 0x07][..],
        &[0x08, 0x07],
        &[0x90, 0x00, 0xff],
        &[0x09, 0x00, 0xff],
    ] {
        assert_eq!(Header::decode(longer), None);
        let (_, _, mut keyring) = pair();
        let sealed = [longer, &[0; 32]].concat();
        assert_eq!(
            open(&mut keyring, 0, b"", &sealed),
            Err(OpenError::Malformed)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_round_trip(kid: u64, counter: u64, kid_bits in 0..64u32, counter_bits in 0..64u32) {
        let header = Header { kid: kid >> kid_bits, counter: counter >> counter_bits };
        let mut out = [0; MAX_HEADER];
        let len = header.encode(&mut out);
        prop_assert_eq!(Header::decode(&out[..len]), Some((header, len)));
        for cut in 0..len {
            prop_assert_eq!(Header::decode(&out[..cut]), None);
        }
    }

    #[test]
    fn any_bytes_decode_or_not_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some((header, len)) = Header::decode(&bytes) {
            let mut out = [0; MAX_HEADER];
            let encoded = header.encode(&mut out);
            prop_assert_eq!(&out[..encoded], &bytes[..len]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_frame_is_refused(
        plaintext in prop::collection::vec(any::<u8>(), 0..300), aad in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let (_, mut sealer, mut keyring) = pair();
        let sealed = seal(&mut sealer, &aad, &plaintext);
        prop_assert_eq!(open(&mut keyring, 0, &aad, &sealed), Ok(plaintext));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&mut keyring, 0, &aad, &changed).is_err());
        }
        for cut in 0..sealed.len() {
            prop_assert!(open(&mut keyring, 0, &aad, &sealed[..cut]).is_err());
        }
        let mut longer = aad.clone();
        longer.push(0);
        prop_assert_eq!(open(&mut keyring, 0, &longer, &sealed), Err(OpenError::BadTag));
        let joined = [&sealed[..], &[0]].concat();
        prop_assert_eq!(open(&mut keyring, 0, &aad, &joined), Err(OpenError::BadTag));
    }
}
