//! What a handler reports of a publisher's frames.

use bytes::Bytes;
use darktower_media::arrivals::{Arrivals, Feedback};
use darktower_wire::datagram::{Datagram, bundle, padding};
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;
use darktower_wire::media_control;

use crate::pair::ms;

fn packet(number: u64, captured_ms: u64) -> Bytes {
    let header = Header {
        track: TrackId(7),
        frame: number,
        capture_us: captured_ms * 1000,
        key: true,
        ..Header::default()
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.extend([1; 20]);
    bytes.into()
}

fn datagram(numbers: &[u64]) -> Datagram {
    let frames: Vec<Bytes> = numbers.iter().map(|n| packet(*n, n % 1000 * 20)).collect();
    let bytes = match &frames[..] {
        [alone] => alone.clone(),
        many => bundle(many),
    };
    Datagram::parse(bytes).expect("a datagram")
}

/// Datagrams of these frames, one each 20 ms, and the sum of what is reported.
fn reported(arrivals: &mut Arrivals, datagrams: &[&[u64]]) -> Feedback {
    let mut sum = Feedback::default();
    for (at, numbers) in (1..).zip(datagrams) {
        let now = ms(1000 + 20 * at);
        if !numbers.is_empty() {
            arrivals.datagram(now, &datagram(numbers));
        }
        if let Some(one) = arrivals.poll(now) {
            sum.audio += one.audio;
            sum.audio_lost += one.audio_lost;
            sum.datagrams += one.datagrams;
            sum.datagrams_lost += one.datagrams_lost;
        }
    }
    sum
}

#[test]
fn a_report_each_hundred_milliseconds_while_something_arrives() {
    let mut arrivals = Arrivals::new();
    assert_eq!(arrivals.deadline(), None);
    let header = Header {
        capture_us: 5_000_000,
        ..Header::default()
    };
    arrivals.piece(ms(1000), 700);
    arrivals.frame(ms(1000), &header);
    arrivals.piece(ms(1030), 300);
    arrivals.frame(ms(1030), &header);
    assert_eq!(arrivals.deadline(), Some(ms(1100)));
    assert_eq!(arrivals.poll(ms(1099)), None);
    let report = arrivals.poll(ms(1100)).expect("a report");
    assert_eq!((report.interval, report.bytes), (ms(100), 1000));
    assert_eq!(report.transit_us, -4_000_000, "of the fastest");
    assert_eq!(arrivals.deadline(), None, "nothing came since");
    let padding = Datagram::parse(padding(900)).expect("padding");
    arrivals.datagram(ms(1150), &padding);
    let report = arrivals.poll(ms(1200)).expect("a report");
    assert_eq!((report.bytes, report.datagrams), (900, 0));
    assert_eq!(report.transit_us, -4_000_000, "padding has none of its own");
}

#[test]
fn what_waited_out_an_outage_says_nothing_of_a_queue() {
    let mut arrivals = Arrivals::new();
    let padding = Datagram::parse(padding(900)).expect("padding");
    let captured = |at: u64| Header {
        capture_us: at * 1000,
        ..Header::default()
    };
    let frame = |arrivals: &mut Arrivals, at: u64, captured_ms: u64| {
        arrivals.piece(ms(at), 700);
        arrivals.frame(ms(at), &captured(captured_ms));
    };
    frame(&mut arrivals, 1000, 980);
    assert_eq!(arrivals.poll(ms(1100)).expect("one").transit_us, 20_000);
    frame(&mut arrivals, 9000, 1010);
    assert_eq!(arrivals.poll(ms(9100)).expect("one").transit_us, 20_000);
    arrivals.datagram(ms(9150), &padding);
    assert_eq!(arrivals.poll(ms(9200)).expect("one").transit_us, 20_000);
    // What was sent since is as late as it is; and where nothing is on time, the next pause is no outage.
    frame(&mut arrivals, 9250, 9050);
    frame(&mut arrivals, 9600, 9300);
    assert_eq!(arrivals.poll(ms(9600)).expect("one").transit_us, 200_000);
    frame(&mut arrivals, 9650, 9200);
    assert_eq!(arrivals.poll(ms(9700)).expect("one").transit_us, 450_000);
}

#[test]
fn what_repetition_brings_is_not_lost_but_its_datagram_is() {
    let mut arrivals = Arrivals::new();
    let all: &[&[u64]] = &[
        &[0],
        &[1, 0],
        &[],
        &[3, 2],
        &[],
        &[],
        &[6, 5],
        &[7],
        &[8],
        &[9],
        &[10],
        &[11],
        &[12],
        &[13],
        &[14],
    ];
    let sum = reported(&mut arrivals, all);
    assert_eq!(sum.datagrams_lost, 3, "2, 4 and 5: {sum:?}");
    assert_eq!(sum.audio_lost, 1, "only 4: {sum:?}");
}

#[test]
fn what_comes_twice_or_late_counts_once() {
    let mut arrivals = Arrivals::new();
    let all: &[&[u64]] = &[
        &[0],
        &[2],
        &[1],
        &[1],
        &[3, 2],
        &[4],
        &[5],
        &[6],
        &[7],
        &[8],
        &[],
        &[],
    ];
    let sum = reported(&mut arrivals, all);
    assert_eq!((sum.audio, sum.audio_lost, sum.datagrams_lost), (9, 0, 0));
}

/// A path that has become slow drops sound until its sender knows.
#[test]
fn what_has_waited_is_told_sooner() {
    let mut arrivals = Arrivals::new();
    let came = |arrivals: &mut Arrivals, number: u64, late_ms: u64| {
        let at = ms(1000 + number * 20 + late_ms);
        arrivals.datagram(at, &datagram(&[number]));
        at
    };
    let mut told = Vec::new();
    for number in 0..10 {
        let at = came(&mut arrivals, number, 0);
        told.extend(arrivals.poll(at).map(|report| report.interval));
    }
    assert_eq!(told, [ms(100)]);
    assert_eq!(arrivals.deadline(), Some(ms(1200)));
    assert!(arrivals.poll(ms(1200)).is_some());
    came(&mut arrivals, 10, 80);
    assert_eq!(arrivals.deadline(), Some(ms(1300)), "jitter");
    let at = came(&mut arrivals, 11, 90);
    assert!(arrivals.poll(at).is_some());
    came(&mut arrivals, 12, 95);
    assert_eq!(arrivals.deadline(), Some(at + ms(30)));
}

/// A large picture is long on its way where the path has become slow, and nothing else comes whole meanwhile.
#[test]
fn a_picture_of_which_little_has_come_tells_of_the_queue_before_it() {
    let mut arrivals = Arrivals::new();
    let mut came = 0;
    for number in 0..10 {
        let (at, sound) = (ms(1000 + number * 20), datagram(&[number]));
        arrivals.datagram(at, &sound);
        let frames = sound.into_frames();
        came += frames.map(|frame| frame.bytes.len() as u64).sum::<u64>();
        came *= u64::from(arrivals.poll(at).is_none());
    }
    let picture = Header {
        capture_us: 190_000,
        ..Header::default()
    };
    for at in [1240, 1264, 1288] {
        arrivals.piece(ms(at), 1150);
        arrivals.frame(ms(at), &picture);
    }
    let report = arrivals.poll(ms(1288)).expect("it has waited");
    assert_eq!(report.bytes, came + 3450);
    arrivals.piece(ms(1312), 1150);
    arrivals.frame(ms(1312), &picture);
    let report = arrivals.poll(ms(1318)).expect("one more");
    assert_eq!(report.bytes, 1150);
    assert_eq!(report.transit_us, 1_122_000, "no less than until now");
}

#[test]
fn numbers_that_leap_are_a_new_beginning() {
    let mut arrivals = Arrivals::new();
    let all: &[&[u64]] = &[&[0], &[1], &[1 << 60], &[1], &[(1 << 60) + 1], &[], &[]];
    let sum = reported(&mut arrivals, all);
    assert_eq!((sum.audio_lost, sum.datagrams_lost), (0, 0));
}

#[test]
fn a_thousand_tracks_take_no_more_room_than_a_few() {
    let mut arrivals = Arrivals::new();
    for track in 0..1000 {
        let header = Header {
            track: TrackId(track),
            ..Header::default()
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let datagram = Datagram::parse(bytes.into()).expect("a frame");
        arrivals.datagram(ms(1000), &datagram);
    }
    let report = arrivals.poll(ms(1100)).expect("a report");
    assert_eq!(report.datagrams, 64);
}

#[test]
fn a_report_is_the_same_on_the_wire() {
    let report = Feedback {
        interval: ms(100),
        bytes: 1,
        transit_us: -2,
        audio: 3,
        audio_lost: 4,
        datagrams: 5,
        datagrams_lost: 6,
    };
    let message: media_control::Feedback = report.into();
    assert_eq!(Feedback::from(message), report);
}
