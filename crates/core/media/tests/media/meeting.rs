//! Publisher, forwarder and subscribers together, over links we control.

use darktower_link::{Conditions, Loss};
use darktower_media::forwarder::Command;
use darktower_media::{publisher, subscriber};
use darktower_wire::Code;
use darktower_wire::media::Frame;

use crate::pair::{CAMERA, Meeting, Piece, ms};
use crate::sealing::{ALICE, BOB, CAROL};

fn clean() -> Conditions {
    Conditions::delayed(ms(20))
}

#[test]
fn every_picture_and_sound_arrives_in_order_on_a_clean_link() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(25_000));
    let viewer = &meeting.viewers[bob];
    viewer.assert_decodable();
    let pictures = viewer.pictures();
    // 625 were sent; the last may be on the way, and a few fall where a group ends.
    assert!(pictures.len() >= 620, "{} pictures", pictures.len());
    assert_eq!(
        viewer.sounds(),
        (0..viewer.sounds().len() as u64).collect::<Vec<_>>()
    );
    assert!(viewer.sounds().len() >= 1245);
    assert_eq!(viewer.subscriber.counters().key_frames_wanted, 0);
    // Groups end after ten seconds.
    assert_eq!(pictures.iter().filter(|(.., key)| *key).count(), 3);
    assert_eq!(viewer.subscriber.kept_bytes(), 0);
}

#[test]
fn a_newcomer_gets_its_first_picture_with_the_new_epoch() {
    let mut meeting = Meeting::new(clean());
    meeting.join(BOB, clean());
    meeting.run(ms(2000));
    let asked = meeting.asked.len();
    let carol = meeting.join(CAROL, clean());
    meeting.viewers[carol].keys.first = 2;
    meeting.viewers[carol].keys.epoch = Some(2);
    // The commit reaches the publisher and the others after half a round trip.
    meeting.run(ms(20));
    meeting.keys.epoch = Some(2);
    meeting.viewers[0].keys.epoch = Some(2);
    meeting.tell(0, subscriber::Input::EpochInstalled);
    let now = meeting.now;
    meeting
        .publisher
        .handle(now, publisher::Input::MembersAdded);
    meeting.drain_publisher();
    meeting.run(ms(90));
    assert_eq!(
        meeting.asked.len(),
        asked + 1,
        "one key frame, and no other reason for one"
    );
    let viewer = &meeting.viewers[carol];
    assert!(viewer.pictures().first().is_some_and(|(.., key)| *key));
    // No picture, only the few packets of sound on the way meanwhile.
    assert!(viewer.subscriber.counters().epoch_gone <= 3);
    meeting.run(ms(1000));
    meeting.viewers[0].assert_decodable();
    meeting.viewers[carol].assert_decodable();
    assert_eq!(
        meeting.viewers[carol]
            .subscriber
            .counters()
            .key_frames_wanted,
        0
    );
}

#[test]
fn frames_of_an_epoch_to_come_are_held_and_then_shown() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1000));
    let before = meeting.viewers[bob].pictures().len();
    meeting.keys.epoch = Some(2);
    meeting.run(ms(300));
    let held = meeting.viewers[bob].pictures().len();
    assert!(held <= before + 1);
    meeting.viewers[bob].keys.epoch = Some(2);
    meeting.tell(bob, subscriber::Input::EpochInstalled);
    assert!(
        meeting.viewers[bob].pictures().len() >= held + 6,
        "shown at once"
    );
    meeting.viewers[bob].assert_decodable();
    assert!(meeting.viewers[bob].subscriber.counters().held > 0);
}

#[test]
fn what_is_held_is_bounded_in_bytes_and_time() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1000));
    meeting.keys.epoch = Some(9);
    for _ in 0..40 {
        meeting.run(ms(40));
        meeting.picture(100_000);
        assert!(meeting.viewers[bob].subscriber.kept_bytes() <= 1024 * 1024 + 200_000);
    }
    meeting.keys.epoch = Some(1);
    meeting.run(ms(3000));
    let viewer = &meeting.viewers[bob];
    assert_eq!(viewer.subscriber.kept_bytes(), 0);
    assert!(viewer.subscriber.counters().key_frames_wanted > 0);
    let (last, ..) = viewer.pictures().last().copied().unwrap_or_default();
    assert!(last + ms(100) > meeting.now, "the picture goes on");
    viewer.assert_decodable();
}

#[test]
fn a_lossy_link_freezes_nobody_for_long() {
    let loss = Conditions {
        loss: Loss::Random(0.05),
        ..Conditions::delayed(ms(30))
    };
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, loss);
    let carol = meeting.join(CAROL, clean());
    meeting.run(ms(20_000));
    meeting.viewers[bob].assert_decodable();
    assert!(meeting.viewers[bob].pictures().len() > 480);
    let sounds = meeting.viewers[bob].sounds();
    assert!(
        sounds.is_sorted() && sounds.len() > 900,
        "{} sounds",
        sounds.len()
    );
    assert!(meeting.viewers[carol].pictures().len() > 495);
}

#[test]
fn who_takes_nothing_is_cut_off_and_harms_nobody() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    let carol = meeting.join(CAROL, clean());
    meeting.viewers[bob].reads = false;
    let mut most = 0;
    for _ in 0..60 {
        meeting.run(ms(100));
        most = most.max(meeting.viewers[bob].egress.queued_bytes());
    }
    assert!(meeting.viewers[bob].closed, "cut off within six seconds");
    assert!(most <= 4 * 1024 * 1024);
    assert!(!meeting.viewers[carol].closed);
    assert!(meeting.viewers[carol].pictures().len() > 140);
    assert_eq!(
        meeting.asked.len(),
        1,
        "the slow one costs the publisher no key frame"
    );
}

#[test]
fn a_reconnect_goes_on_from_the_cached_group() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1500));
    let asked = meeting.asked.len();
    meeting.connect(bob);
    meeting.run(ms(500));
    assert_eq!(meeting.asked.len(), asked, "no key frame was needed");
    let viewer = &meeting.viewers[bob];
    viewer.assert_decodable();
    let pictures = viewer.pictures();
    assert_eq!(
        pictures.len() as u64,
        pictures.last().map_or(0, |(_, number, _)| *number)
    );
    assert!(
        viewer.subscriber.counters().refused_replay > 0,
        "what it had is not shown twice"
    );
}

#[test]
fn a_subscription_can_be_ended_and_taken_up_again() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1000));
    meeting.say(Command::Subscription {
        seat: BOB,
        track: CAMERA,
        wanted: false,
    });
    meeting.tell(bob, subscriber::Input::TrackGone(CAMERA));
    meeting.run(ms(100));
    let seen = meeting.viewers[bob].pictures().len();
    meeting.run(ms(300));
    assert_eq!(meeting.viewers[bob].pictures().len(), seen);
    meeting.say(Command::Subscription {
        seat: BOB,
        track: CAMERA,
        wanted: true,
    });
    let kind = darktower_media::Kind::Video;
    let track = subscriber::Track {
        id: CAMERA,
        owner: ALICE,
        kind,
        muted: false,
    };
    meeting.tell(bob, subscriber::Input::Track(track));
    meeting.run(ms(300));
    assert!(
        meeting.viewers[bob].pictures().len() > seen + 3,
        "a key frame gives a picture soon"
    );
}

#[test]
fn a_changed_picture_is_refused_and_the_picture_goes_on() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1000));
    // The next picture comes with a flipped bit.
    meeting.picture(500);
    let (at, viewer) = (meeting.now, &mut meeting.viewers[bob]);
    let newest = viewer
        .frames
        .iter()
        .rev()
        .find(|(_, one)| one.header.track == CAMERA);
    let mut header = newest.map(|(_, one)| one.header).unwrap_or_default();
    header.frame += 1;
    let mut forged = bytes::BytesMut::new();
    header.encode(&mut forged);
    forged.extend_from_slice(&[1, 1, 99, 1, 2, 3]);
    let frame = Frame::parse(forged.freeze()).unwrap_or_else(|error| panic!("{error}"));
    let mut entry = bytes::BytesMut::from(&[darktower_wire::media::STREAM_GROUP][..]);
    darktower_wire::media::put_entry_length(&mut entry, frame.bytes.len());
    entry.extend_from_slice(&frame.bytes);
    viewer.down.send(at, 9999, Piece::Data(entry.freeze()));
    meeting.run(ms(1500));
    let viewer = &meeting.viewers[bob];
    assert_eq!(viewer.subscriber.counters().refused_bad_tag, 1);
    let (last, ..) = viewer.pictures().last().copied().unwrap_or_default();
    assert!(last + ms(100) > meeting.now, "the picture goes on");
    assert!(
        viewer
            .pictures()
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 < ms(700))
    );
    viewer.assert_decodable();
}

#[test]
fn a_stream_that_never_goes_on_is_skipped() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(1000));
    // Half a frame on the current stream, and then silence on it for ever.
    let stalled = Conditions {
        blackout: true,
        ..clean()
    };
    meeting.viewers[bob].down.conditions = clean();
    meeting.viewers[bob].down.stall(meeting.now, stalled);
    meeting.run(ms(5000));
    let viewer = &meeting.viewers[bob];
    let (last, ..) = viewer.pictures().last().copied().unwrap_or_default();
    assert!(last + ms(100) > meeting.now, "the picture goes on");
    let longest = viewer
        .pictures()
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .max();
    assert!(longest.is_some_and(|gap| gap < ms(2200)), "{longest:?}");
    viewer.assert_decodable();
}

#[test]
fn someone_removed_gets_nothing_more() {
    let mut meeting = Meeting::new(clean());
    let bob = meeting.join(BOB, clean());
    meeting.run(ms(500));
    meeting.say(Command::SeatGone {
        seat: BOB,
        code: Code::Removed,
    });
    assert!(meeting.viewers[bob].closed);
    meeting.run(ms(100));
    let seen = meeting.viewers[bob].frames.len();
    meeting.run(ms(500));
    assert_eq!(meeting.viewers[bob].frames.len(), seen);
}
