//! Sealed frames that a handler changed, or made up: none opens.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use darktower_e2ee::{Group, Identity, Keyring, Sealer};
use darktower_wire::ids::{MeetingId, ParticipantId};

const SENDER: ParticipantId = ParticipantId([1; 16]);

struct Keys {
    sealer: Sealer,
    keyring: Keyring,
}

fn keys() -> Option<Mutex<Keys>> {
    let identity = Identity::new(SENDER).ok()?;
    let mut group = Group::found(identity, MeetingId([7; 16]), None, 1_795_000_000_000).ok()?;
    let keys = group.keys().ok()?;
    let mut keyring = Keyring::new();
    keyring.install(Duration::ZERO, keys.opening);
    let sealer = Sealer::new(keys.sealing);
    Some(Mutex::new(Keys { sealer, keyring }))
}

/// Opens `data` as it is; then seals its second half, with the rest as media header, and changes the outcome.
pub fn run(data: &[u8]) {
    static KEYS: OnceLock<Option<Mutex<Keys>>> = OnceLock::new();
    let Some(keys) = KEYS.get_or_init(keys) else {
        return;
    };
    let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = vec![9];
    assert!(keys.keyring.open(SENDER, &[], data, &mut out).is_err());
    assert_eq!(out, [9], "an error leaves something behind");

    let (aad, plain) = data.split_at(data.len() / 2);
    let mut sealed = Vec::new();
    if keys.sealer.seal(aad, plain, &mut sealed).is_err() {
        return;
    }
    let opened = keys.keyring.open(SENDER, aad, &sealed, &mut out);
    assert!(opened.is_ok(), "does not open: {opened:?}");
    assert_eq!(&out[1..], plain);
    out.truncate(1);
    let [high, low, mask, ..] = *data else {
        return;
    };
    let place = usize::from(u16::from_be_bytes([high, low])) % sealed.len();
    sealed[place] ^= mask.max(1);
    let opened = keys.keyring.open(SENDER, aad, &sealed, &mut out);
    assert!(opened.is_err(), "opens although changed");
    assert_eq!(out, [9], "an error leaves something behind");
}
