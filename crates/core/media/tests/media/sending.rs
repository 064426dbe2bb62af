//! The publisher alone: groups, key frames, what is dropped.

use darktower_media::arrivals::Feedback;
use darktower_media::publisher::{Config, Dropped, Input, Output, Publisher, first_group};
use darktower_media::{Kind, Shape};
use darktower_wire::ids::TrackId;

use crate::pair::{encoded, ms};
use crate::sealing::{ALICE, Keys};

fn connected() -> Publisher {
    let mut publisher = Publisher::new(Config::default(), 5);
    publisher.handle(ms(0), Input::Connected { max_datagram: 200 });
    for (handle, kind) in [(1, Kind::Video), (2, Kind::Audio)] {
        let (track, shape) = (TrackId(handle), Shape::of_layers(1));
        publisher.handle(
            ms(0),
            Input::Published {
                handle,
                track,
                kind,
                shape,
            },
        );
    }
    drain(&mut publisher);
    publisher
}

fn drain(publisher: &mut Publisher) -> Vec<Output> {
    std::iter::from_fn(|| publisher.poll()).collect()
}

fn send(
    publisher: &mut Publisher,
    at: u64,
    handle: u32,
    key: bool,
) -> Result<Vec<Output>, Dropped> {
    let mut keys = Keys::of(ALICE);
    let sent = publisher.frame(ms(at), encoded(handle, key, ms(at), &[1; 50]), &mut keys);
    let outputs = drain(publisher);
    sent.map(|()| outputs)
}

const WANTED: Output = Output::KeyFrame {
    handle: 1,
    layer: 0,
};

#[test]
fn nothing_is_due_while_there_is_no_connection() {
    let mut publisher = connected();
    let wanted = Input::LayersWanted {
        track: TrackId(1),
        layers: 1,
    };
    publisher.handle(ms(0), wanted);
    for at in 1..10 {
        let _sent = send(&mut publisher, at * 33, 1, at == 1);
        publisher.handle(ms(at * 33 + 20), Input::Feedback(Feedback::default()));
    }
    assert!(publisher.deadline().is_some(), "reports are waited for");
    publisher.handle(ms(400), Input::Disconnected);
    // Whatever is due once, such as a key frame that is asked for again, is not due for ever.
    let mut at = ms(400);
    for _ in 0..10 {
        let Some(due) = publisher.deadline() else {
            return;
        };
        at = at.max(due);
        publisher.handle(at, Input::Tick);
    }
    panic!("due again and again: {:?} at {at:?}", publisher.deadline());
}

#[test]
fn a_group_begins_with_a_key_frame_and_ends_with_the_next() {
    let mut publisher = connected();
    assert_eq!(
        send(&mut publisher, 0, 1, false),
        Err(Dropped::WaitingForKey)
    );
    let first = send(&mut publisher, 1, 1, true).unwrap_or_default();
    assert!(matches!(
        first[..],
        [Output::OpenStream { stream: 0, .. }, Output::Write { .. }]
    ));
    let second = send(&mut publisher, 2, 1, false).unwrap_or_default();
    assert!(matches!(second[..], [Output::Write { stream: 0, .. }]));
    let next = send(&mut publisher, 3, 1, true).unwrap_or_default();
    assert!(
        matches!(
            next[0],
            Output::Write {
                stream: 0,
                fin: true,
                ..
            }
        ),
        "{next:?}"
    );
    assert!(matches!(next[1], Output::OpenStream { stream: 1, .. }));
}

#[test]
fn after_a_silence_what_may_not_have_arrived_is_not_sent_again() {
    let mut publisher = connected();
    let is_reset = |output: &Output| matches!(output, Output::Reset { stream: 1, .. });
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    publisher.handle(ms(100), Input::Feedback(Feedback::default()));
    let next = send(&mut publisher, 200, 1, true).unwrap_or_default();
    assert!(!next.iter().any(is_reset), "{next:?}");
    let next = send(&mut publisher, 1200, 1, true).unwrap_or_default();
    assert!(next.iter().any(is_reset), "{next:?}");
}

#[test]
fn a_group_that_lags_is_reset_when_the_next_begins() {
    let mut publisher = connected();
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    publisher.handle(
        ms(2),
        Input::Backlog {
            stream: 0,
            bytes: 10_000,
        },
    );
    let next = send(&mut publisher, 3, 1, true).unwrap_or_default();
    assert!(
        matches!(next[0], Output::Reset { stream: 0, .. }),
        "{next:?}"
    );
    // And one that lags beyond measure is given up in the middle.
    publisher.handle(
        ms(4),
        Input::Backlog {
            stream: 1,
            bytes: 10_000_000,
        },
    );
    assert_eq!(
        send(&mut publisher, 5, 1, false),
        Err(Dropped::WaitingForKey)
    );
    assert_eq!(publisher.counters().groups_reset, 2);
}

#[test]
fn key_frames_for_many_reasons_are_one() {
    let mut publisher = connected();
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    publisher.handle(ms(1000), Input::MembersAdded);
    assert_eq!(drain(&mut publisher), [WANTED], "at once");
    for at in 1001..1050 {
        publisher.handle(ms(at), Input::MembersAdded);
        let (track, layer) = (TrackId(1), 0);
        publisher.handle(ms(at), Input::KeyFrameWanted { track, layer });
    }
    assert_eq!(drain(&mut publisher), []);
    assert_eq!(publisher.deadline(), Some(ms(1100)));
    publisher.handle(ms(1100), Input::Tick);
    assert_eq!(drain(&mut publisher), [WANTED], "one for all the others");
    assert_eq!(publisher.deadline(), None);
}

#[test]
fn newcomers_do_not_wait_for_the_gap_after_a_key_frame_of_the_former_epoch() {
    let mut publisher = connected();
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    let (track, layer) = (TrackId(1), 0);
    publisher.handle(ms(1000), Input::KeyFrameWanted { track, layer });
    assert_eq!(drain(&mut publisher), [WANTED]);
    send(&mut publisher, 1010, 1, true).unwrap_or_default();
    publisher.handle(ms(1040), Input::MembersAdded);
    assert_eq!(drain(&mut publisher), [WANTED], "at once");
}

#[test]
fn a_key_frame_that_is_sealed_later_serves_whoever_came_meanwhile() {
    let mut publisher = connected();
    publisher.handle(ms(1000), Input::MembersAdded);
    publisher.handle(ms(1010), Input::MembersAdded);
    drain(&mut publisher);
    send(&mut publisher, 1020, 1, true).unwrap_or_default();
    assert_eq!(publisher.deadline(), None);
}

#[test]
fn an_old_group_is_ended() {
    let mut publisher = connected();
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    let young = send(&mut publisher, 9999, 1, false).unwrap_or_default();
    assert!(!young.contains(&WANTED));
    let old = send(&mut publisher, 10_001, 1, false).unwrap_or_default();
    assert!(old.contains(&WANTED), "{old:?}");
}

#[test]
fn without_a_key_the_next_frame_with_one_is_a_key_frame() {
    let mut publisher = connected();
    let mut keys = Keys {
        epoch: None,
        ..Keys::of(ALICE)
    };
    let sent = publisher.frame(ms(1), encoded(1, true, ms(1), &[1; 50]), &mut keys);
    assert_eq!(sent, Err(Dropped::NoKey));
    assert_eq!(drain(&mut publisher), [WANTED], "asked again at once");
    assert!(send(&mut publisher, 2, 1, true).is_ok());
}

#[test]
fn sound_that_does_not_fit_a_datagram_is_dropped() {
    let mut publisher = connected();
    let sent = send(&mut publisher, 1, 2, true).unwrap_or_default();
    assert!(matches!(sent[..], [Output::Datagram(_)]));
    let mut keys = Keys::of(ALICE);
    let sent = publisher.frame(ms(2), encoded(2, true, ms(2), &[1; 300]), &mut keys);
    assert_eq!(sent, Err(Dropped::TooLarge));
    assert_eq!(publisher.counters().dropped, 1);
}

#[test]
fn groups_go_on_after_a_reconnect_and_above_after_a_reload() {
    let mut publisher = connected();
    send(&mut publisher, 1, 1, true).unwrap_or_default();
    publisher.handle(ms(2), Input::Disconnected);
    assert_eq!(send(&mut publisher, 3, 1, true), Err(Dropped::NotConnected));
    publisher.handle(ms(4), Input::Connected { max_datagram: 200 });
    assert_eq!(drain(&mut publisher), [WANTED]);
    let first = send(&mut publisher, 5, 1, true).unwrap_or_default();
    let Some(Output::Write { bytes, .. }) = first.last() else {
        panic!("{first:?}");
    };
    let mut decoder = darktower_wire::media::GroupDecoder::default();
    decoder.push(bytes);
    let header = decoder
        .next_frame()
        .ok()
        .flatten()
        .map(|frame| frame.header);
    assert_eq!(
        header.map(|header| (header.group, header.frame)),
        Some((6, 0))
    );
    // A minute of key frames as fast as they may come stays below a minute later.
    assert!(first_group(1_800_000_060_000) >= first_group(1_800_000_000_000) + 600);
    assert!(
        first_group(1_800_000_000_000) < 1 << 30,
        "four bytes on the wire for years"
    );
}
