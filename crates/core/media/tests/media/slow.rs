//! Ends that wait for a slow path: what is stale is given up, and what others need is not.

use darktower_media::arrivals::Feedback;
use darktower_media::egress::{self, Egress, Output as Down};
use darktower_media::publisher::{self, Dropped, Encoded, Input, Output, Publisher};
use darktower_media::{Bitrate, Kind};
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;

use crate::browser::camera;
use crate::forwarding::Sized;
use crate::pair::ms;
use crate::sealing::{ALICE, Keys};

fn frame(group: u64, number: u64) -> Header {
    Header {
        track: TrackId(1),
        group,
        frame: number,
        key: number == 0,
        ..Header::default()
    }
}

fn resets(egress: &mut Egress<Sized>) -> Vec<(u64, Code)> {
    let all = std::iter::from_fn(|| egress.poll());
    all.filter_map(|output| match output {
        Down::Reset { stream, code } => Some((stream, code)),
        _ => None,
    })
    .collect()
}

/// A group of 10 kB that has not left, and another that begins 100 ms later.
fn two_groups(estimate: Option<Bitrate>) -> Egress<Sized> {
    let mut egress = Egress::new(egress::Config::default());
    if let Some(estimate) = estimate {
        egress.estimate(estimate);
    }
    egress.push(ms(0), Kind::Video, &frame(1, 0), Sized(10_000));
    egress.push(ms(100), Kind::Video, &frame(2, 0), Sized(2_000));
    egress
}

#[test]
fn a_tail_gets_the_time_that_the_path_takes() {
    for (estimate, until) in [
        (None, 150),
        (Some(Bitrate::from_kbps(10_000)), 150),
        (Some(Bitrate::from_kbps(800)), 200),
        (Some(Bitrate::from_kbps(50)), 300),
    ] {
        let mut egress = two_groups(estimate);
        assert_eq!(egress.deadline(), Some(ms(until)), "{estimate:?}");
        egress.handle(ms(until - 1), egress::Input::Tick);
        assert_eq!(resets(&mut egress), []);
        egress.handle(ms(until), egress::Input::Tick);
        assert_eq!(resets(&mut egress), [(0, Code::StaleGroup)]);
        assert_eq!(egress.queued_bytes(), 2_000);
    }
}

#[test]
fn what_has_waited_for_long_is_stale_and_its_group_with_it() {
    let mut egress = Egress::new(egress::Config::default());
    for number in 0..40 {
        let now = ms(number * 100);
        egress.push(now, Kind::Video, &frame(1, number), Sized(1_000));
        // It is slow, but what was there before goes.
        let (stream, bytes) = (0, 900);
        egress.handle(now, egress::Input::Drained { stream, bytes });
        egress.handle(now, egress::Input::Tick);
        assert_eq!(resets(&mut egress), [], "at {number}");
    }
    // Now nothing goes any more.
    let stuck = ms(3900);
    let deadline = egress.deadline().expect("a deadline");
    assert!(deadline > stuck && deadline <= stuck + ms(1500));
    egress.handle(deadline, egress::Input::Tick);
    assert_eq!(resets(&mut egress), [(0, Code::StaleGroup)]);
    egress.push(deadline, Kind::Video, &frame(1, 40), Sized(1_000));
    assert_eq!(egress.queued_bytes(), 0, "the group is over");
    egress.push(deadline, Kind::Video, &frame(2, 0), Sized(1_000));
    assert_eq!(egress.queued_bytes(), 1_000, "the next is not");
}

#[test]
fn who_takes_nothing_is_cut_off_though_no_group_begins() {
    let mut egress = Egress::new(egress::Config::default());
    let mut closed = None;
    for (number, at) in (0..100).map(|number| (number, 100 * number)) {
        egress.handle(ms(at), egress::Input::Tick);
        egress.push(ms(at), Kind::Video, &frame(1, number), Sized(2_000));
        let mut all = std::iter::from_fn(|| egress.poll());
        if all.any(|output| matches!(output, Down::Close(Code::SlowReader))) {
            closed.get_or_insert(at);
        }
    }
    assert_eq!(closed, Some(5_000), "its group was given up long before");
}

fn publisher() -> Publisher {
    let mut publisher = Publisher::new(publisher::Config::default(), 1);
    publisher.handle(ms(0), Input::Connected { max_datagram: 1100 });
    let published = Input::Published {
        handle: 1,
        track: TrackId(1),
        kind: Kind::Video,
        shape: camera(),
    };
    publisher.handle(ms(0), published);
    while publisher.poll().is_some() {}
    publisher
}

fn send(publisher: &mut Publisher, at: u64, temporal: u8, key: bool) -> Result<(), Dropped> {
    send_of(publisher, 0, at, temporal, key)
}

fn send_of(
    publisher: &mut Publisher,
    layer: u8,
    at: u64,
    temporal: u8,
    key: bool,
) -> Result<(), Dropped> {
    let encoded = Encoded {
        handle: 1,
        layer,
        temporal,
        key,
        capture_us: at * 1000,
        level: None,
        data: &[1; 600],
    };
    publisher.frame(ms(at), encoded, &mut Keys::of(ALICE))
}

#[test]
fn while_an_uplink_lags_frames_that_others_do_without_are_left_out() {
    let mut publisher = publisher();
    assert_eq!(send(&mut publisher, 33, 0, true), Ok(()));
    // 150 kbit/s are 4,687 bytes in 250 ms.
    let lag = |publisher: &mut Publisher, bytes| {
        publisher.handle(ms(40), Input::Backlog { stream: 0, bytes });
    };
    lag(&mut publisher, 4_000);
    assert_eq!(send(&mut publisher, 66, 2, false), Ok(()));
    assert_eq!(send(&mut publisher, 99, 1, false), Ok(()));
    lag(&mut publisher, 5_000);
    assert_eq!(send(&mut publisher, 132, 2, false), Err(Dropped::Late));
    assert_eq!(
        send(&mut publisher, 165, 0, false),
        Ok(()),
        "others need it"
    );
    assert_eq!(send(&mut publisher, 198, 2, false), Err(Dropped::Late));
    assert_eq!(send(&mut publisher, 231, 1, false), Err(Dropped::Late));
    lag(&mut publisher, 0);
    // It would stand on the one that was left out.
    assert_eq!(send(&mut publisher, 264, 2, false), Err(Dropped::Late));
    assert_eq!(send(&mut publisher, 297, 0, false), Ok(()));
    assert_eq!(send(&mut publisher, 330, 2, false), Ok(()));
}

#[test]
fn pictures_of_more_than_a_second_that_have_not_left_are_given_up() {
    let mut publisher = publisher();
    assert_eq!(send(&mut publisher, 33, 0, true), Ok(()));
    let (stream, bytes) = (0, 19_000);
    publisher.handle(ms(40), Input::Backlog { stream, bytes });
    assert_eq!(
        send(&mut publisher, 166, 0, false),
        Err(Dropped::WaitingForKey)
    );
    let all: Vec<_> = std::iter::from_fn(|| publisher.poll()).collect();
    assert!(
        all.iter()
            .any(|one| matches!(one, Output::Reset { stream: 0, .. }))
    );
    assert!(
        all.iter()
            .any(|one| matches!(one, Output::KeyFrame { layer: 0, .. }))
    );
}

#[test]
fn smaller_layers_go_first_and_of_one_the_newer_group() {
    let mut publisher = publisher();
    let mut open = |layer, at| {
        let encoded = Encoded {
            handle: 1,
            layer,
            temporal: 0,
            key: true,
            capture_us: at * 1000,
            level: None,
            data: &[1; 600],
        };
        let sent = publisher.frame(ms(at), encoded, &mut Keys::of(ALICE));
        assert_eq!(sent, Ok(()));
        let all: Vec<_> = std::iter::from_fn(|| publisher.poll()).collect();
        let open = all.into_iter().find_map(|output| match output {
            Output::OpenStream { priority, .. } => Some(priority),
            _ => None,
        });
        open.expect("a stream")
    };
    let (low, middle) = (open(0, 10), open(1, 20));
    let (later_low, later_middle) = (open(0, 30), open(1, 40));
    assert!(later_low > low && low > later_middle && later_middle > middle);
}

/// What becomes of a stream whose layer is paused, by the budget or by what is wanted.
fn end_of_a_paused_group(is_wanted: bool) -> Vec<Output> {
    let mut publisher = publisher();
    // A handler that says nothing is trusted with all layers, until it says something and stops.
    assert_eq!(send(&mut publisher, 2_100, 0, true), Ok(()));
    publisher.handle(ms(2_150), Input::Feedback(Feedback::default()));
    assert_eq!(send_of(&mut publisher, 2, 2_200, 0, true), Ok(()));
    if !is_wanted {
        let (track, layers) = (TrackId(1), 0b011);
        publisher.handle(ms(2_250), Input::LayersWanted { track, layers });
    }
    let paused = (4..14).find(|half| {
        let sent = send_of(&mut publisher, 2, half * 500 + 700, 0, false);
        sent == Err(Dropped::Paused)
    });
    assert!(paused.is_some());
    std::iter::from_fn(|| publisher.poll()).collect()
}

#[test]
fn what_the_path_does_not_carry_is_reset_and_what_nobody_wants_is_finished() {
    let resets = |outputs: &[Output]| {
        let resets = outputs.iter();
        resets
            .filter(|one| matches!(one, Output::Reset { .. }))
            .count()
    };
    assert_eq!(resets(&end_of_a_paused_group(true)), 1);
    assert_eq!(resets(&end_of_a_paused_group(false)), 0);
}

#[test]
fn a_paused_layer_takes_no_frames() {
    let mut publisher = publisher();
    assert_eq!(send(&mut publisher, 33, 0, true), Ok(()));
    let (track, layers) = (TrackId(1), 0b110);
    publisher.handle(ms(40), Input::LayersWanted { track, layers });
    assert_eq!(send(&mut publisher, 66, 0, false), Err(Dropped::Paused));
    assert_eq!(send(&mut publisher, 99, 0, true), Err(Dropped::Paused));
    // A new session's handler has not said anything yet.
    publisher.handle(ms(100), Input::Disconnected);
    publisher.handle(ms(200), Input::Connected { max_datagram: 1100 });
    assert_eq!(send(&mut publisher, 233, 0, true), Ok(()));
}
