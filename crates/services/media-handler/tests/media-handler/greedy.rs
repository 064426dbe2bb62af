//! Who sends too much, too slowly, or for ever: bounded, told why, counted, and no harm to others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darktower_media_handler::Config;
use darktower_net::{Tuning, WriteError};
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::STREAM_GROUP;

use crate::counts;
use crate::stage::{
    BOB, CAMERA, MICROPHONE, Participant, Stage, closed, frame, seat, track, within,
};

const CAROL: ParticipantId = ParticipantId([3; 16]);
const LOUD: TrackId = TrackId(30);

/// A meeting where Bob has a track too, and Carol watches.
async fn crowd(
    stage: &Stage,
) -> (
    crate::stage::Controller,
    Participant,
    Participant,
    Participant,
) {
    let (mut controller, alice, bob) = stage.meeting().await;
    controller.say(seat(CAROL, true)).await;
    controller.say(track(LOUD, BOB, true)).await;
    let carol = stage.participant(CAROL).await;
    controller.connected().await;
    (controller, alice, bob, carol)
}

/// Alice's pictures reach Carol while something goes on; returns how that ended.
async fn while_others_see<T>(
    alice: &Participant,
    carol: &Participant,
    work: impl Future<Output = T>,
) -> (T, u64) {
    let mut shown = 0;
    let pictures = async {
        loop {
            let mut stream = alice.group(CAMERA, shown + 1, 1, 1000).await;
            stream.finish().expect("a stream");
            loop {
                let (_, frames) = carol.receive(1).await;
                if frames[0].header.track == CAMERA {
                    assert_eq!(frames[0].header.group, shown + 1);
                    break;
                }
            }
            shown += 1;
        }
    };
    let done = within("the end", async {
        tokio::select! {
            done = work => done,
            () = pictures => unreachable!("pictures go on"),
        }
    })
    .await;
    (done, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_dribbles_is_stopped_in_time() {
    counts::begin();
    let patience = Duration::from_millis(400);
    let stage = Stage::with(
        |config| config.stream_patience = patience,
        Tuning::default(),
    )
    .await;
    let (_controller, alice, bob, carol) = crowd(&stage).await;
    let begun = Instant::now();
    let dribble = async {
        let mut stream = bob.session.open_uni().await.expect("a stream");
        // A frame of 1000 bytes, of which one comes now and then, as its writer gets round to it.
        let mut next = Bytes::from_static(&[STREAM_GROUP, 0x43, 0xe8]);
        loop {
            if let Err(error) = stream.write(next).await {
                return error;
            }
            next = Bytes::from_static(&[0]);
            if let Ok(stopped) = tokio::time::timeout(patience / 10, stream.delivered()).await {
                return stopped.expect_err("never finished");
            }
        }
    };
    let (error, shown) = while_others_see(&alice, &carol, dribble).await;
    assert_eq!(error, WriteError::Stopped(Some(Code::TimedOut.number())));
    assert!(begun.elapsed() >= patience);
    assert!(shown > 3, "the others saw {shown} pictures");
    assert!(counts::refused("stream", "timed_out") >= 1);
}

/// A stage where so many bytes a second may be published, and more for `patience`.
async fn allowing(rate: u64, patience: Duration) -> Stage {
    let configure = |config: &mut Config| {
        config.publish_bytes_per_second = rate;
        config.rate_patience = patience;
    };
    Stage::with(configure, Tuning::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_ten_times_too_much_is_slowed_and_then_closed() {
    counts::begin();
    let (rate, patience) = (200_000, Duration::from_secs(1));
    let stage = allowing(rate, patience).await;
    let (_controller, alice, bob, carol) = crowd(&stage).await;
    let begun = Instant::now();
    // As fast as the connection takes it, which is far more than ten times.
    let flood = async {
        for group in 1.. {
            let Ok(mut stream) = bob.session.open_uni().await else {
                break;
            };
            let entry = crate::stage::entry(LOUD, group, 0, 20_000);
            if stream.write(entry).await.is_err() || stream.finish().is_err() {
                break;
            }
        }
        closed(&bob.session).await
    };
    let (code, shown) = while_others_see(&alice, &carol, flood).await;
    assert_eq!(code, Some(Code::RateLimited));
    assert!(begun.elapsed() >= patience);
    assert!(shown > 3, "the others saw {shown} pictures");
    assert!(counts::refused("publisher", "rate_limited") >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_is_dropped_and_its_sender_closed() {
    counts::begin();
    let (rate, patience) = (100_000, Duration::from_secs(1));
    let stage = allowing(rate, patience).await;
    let (_controller, alice, bob, carol) = crowd(&stage).await;
    let flood = async {
        // Some lie and some do not.
        let lie = Bytes::from_static(&[0x3f; 200]);
        while bob.session.send_datagram(lie.clone()).is_ok() {
            for number in 0..20 {
                if bob
                    .session
                    .send_datagram(frame(MICROPHONE, 1, number, 80))
                    .is_err()
                {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        closed(&bob.session).await
    };
    let (code, shown) = while_others_see(&alice, &carol, flood).await;
    assert_eq!(code, Some(Code::RateLimited));
    assert!(shown > 3, "the others saw {shown} pictures");
    assert!(counts::refused("publisher", "rate_limited") >= 1);
    assert!(counts::refused("datagram", "bad_frame_header") >= 1);
    assert!(counts::refused("frame", "not_your_track") >= 1);
}
