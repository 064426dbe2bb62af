//! Sound that is sent again: how much of it is heard through losses, and what it costs.

use bytes::Bytes;
use darktower_link::{Conditions, Discipline, Link, Loss as Losses};
use darktower_media::arrivals::Arrivals;
use darktower_media::egress::{self, Egress};
use darktower_media::path::{Loss, redundancy};
use darktower_media::publisher::{self, Input, Output, Publisher};
use darktower_media::{Bitrate, Kind, Shape};
use darktower_wire::datagram::Datagram;
use darktower_wire::ids::TrackId;
use darktower_wire::media::Header;

use crate::pair::{MICROPHONE, encoded, ms};
use crate::sealing::{ALICE, Keys};

/// Losses, and the share (thousandths) that may be concealed.
const CASES: [(Losses, u64); 5] = [
    (Losses::Random(0.01), 5),
    (Losses::Random(0.05), 10),
    (Losses::Random(0.1), 20),
    (Losses::Random(0.2), 60),
    (
        // 5 % in bursts of two on average.
        Losses::Burst {
            enter: 0.5 / 19.0,
            leave: 0.5,
            in_good: 0.0,
            in_bad: 1.0,
        },
        20,
    ),
];

fn packet(number: u64, size: usize) -> (Header, Bytes) {
    let header = Header {
        track: MICROPHONE,
        frame: number,
        key: true,
        capture_us: number * 20_000,
        ..Header::default()
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.resize(size, 7);
    (header, bytes.into())
}

fn lossy(loss: Losses) -> Conditions {
    Conditions {
        loss,
        ..Conditions::delayed(ms(30))
    }
}

/// Of the frames from `first` on, the thousandths that are missing.
fn missing(heard: &[u64], first: u64, end: u64) -> u64 {
    let heard: std::collections::BTreeSet<_> = heard.iter().copied().collect();
    let missing = (first..end).filter(|number| !heard.contains(number));
    missing.count() as u64 * 1000 / (end - first)
}

#[test]
fn n3_what_is_lost_on_the_way_down_is_heard_all_the_same() {
    for (loss, most) in CASES {
        let mut egress: Egress<Bytes> = Egress::new(egress::Config::default());
        let mut link = Link::new(Discipline::Datagram, lossy(loss), 5);
        let mut heard = Vec::new();
        // The share is known from acknowledgements: here, from the link's own count.
        for number in 0..6000 {
            let now = ms(1000 + 20 * number);
            let counters = link.counters();
            egress.redundancy(redundancy(Loss::of(counters.lost, counters.sent)));
            let (header, bytes) = packet(number, 90);
            egress.push(now, Kind::Audio, &header, bytes);
            while let Some(egress::Output::Datagram(bytes)) = egress.poll() {
                link.send(now, bytes.len(), bytes);
            }
            while let Some(bytes) = link.poll(now) {
                let datagram = Datagram::parse(bytes).expect("a datagram");
                heard.extend(datagram.into_frames().map(|one| one.header.frame));
            }
        }
        let missing = missing(&heard, 100, 5990);
        assert!(missing <= most, "{loss:?}: {missing} thousandths");
    }
}

#[test]
fn n3_what_is_lost_on_the_way_up_is_reported_and_sent_again() {
    for (loss, most) in CASES {
        let mut publisher = Publisher::new(publisher::Config::default(), 1);
        publisher.handle(ms(1000), Input::Connected { max_datagram: 1100 });
        let published = Input::Published {
            handle: 2,
            track: MICROPHONE,
            kind: Kind::Audio,
            shape: Shape::default(),
        };
        publisher.handle(ms(1000), published);
        let mut link = Link::new(Discipline::Datagram, lossy(loss), 6);
        let mut arrivals = Arrivals::new();
        let (mut keys, mut heard) = (Keys::of(ALICE), Vec::new());
        for number in 0..6000 {
            let now = ms(1000 + 20 * number);
            let frame = encoded(2, true, now, &[7; 80]);
            publisher.frame(now, frame, &mut keys).expect("sent");
            while let Some(output) = publisher.poll() {
                if let Output::Datagram(bytes) = output {
                    link.send(now, bytes.len(), bytes);
                }
            }
            while let Some(bytes) = link.poll(now) {
                let datagram = Datagram::parse(bytes).expect("a datagram");
                arrivals.datagram(now, &datagram);
                heard.extend(datagram.into_frames().map(|one| one.header.frame));
            }
            if let Some(report) = arrivals.poll(now) {
                publisher.handle(now, Input::Feedback(report));
            }
        }
        let missing = missing(&heard, 250, 5990);
        assert!(missing <= most, "{loss:?}: {missing} thousandths");
    }
}

#[test]
fn nothing_is_repeated_without_a_loss_and_more_with_more() {
    let repeats = |thousandths| redundancy(Loss::from_thousandths(thousandths));
    assert_eq!([0, 2, 3, 10, 29].map(repeats), [0, 0, 1, 1, 1]);
    assert_eq!([30, 99, 100, 1000].map(repeats), [2, 2, 3, 3]);
    assert_eq!(Loss::of(5, 3), Loss::from_thousandths(1000));
    assert_eq!(Loss::of(0, 0), Loss::NONE);
}

fn sizes(egress: &mut Egress<Bytes>, numbers: std::ops::Range<u64>, size: usize) -> Vec<usize> {
    let mut frames = Vec::new();
    for number in numbers {
        let (header, bytes) = packet(number, size);
        egress.push(ms(20 * number), Kind::Audio, &header, bytes);
        while let Some(egress::Output::Datagram(bytes)) = egress.poll() {
            let datagram = Datagram::parse(bytes).expect("a datagram");
            frames.push(datagram.into_frames().count());
        }
    }
    frames
}

#[test]
fn a_bundle_holds_what_is_young_and_fits() {
    let mut egress: Egress<Bytes> = Egress::new(egress::Config::default());
    assert_eq!(sizes(&mut egress, 0..2, 90), [1, 1]);
    egress.redundancy(9);
    assert_eq!(
        sizes(&mut egress, 2..7, 90),
        [1, 2, 3, 4, 4],
        "three at most"
    );
    // After a silence there is nothing young.
    assert_eq!(sizes(&mut egress, 20..22, 90), [1, 2]);
    assert_eq!(
        sizes(&mut egress, 22..26, 500),
        [3, 3, 2, 2],
        "as fits a datagram"
    );
    assert_eq!(egress.counters().frames, 13);
    // The track ends: nothing of it is kept.
    let track = MICROPHONE;
    egress.handle(ms(520), egress::Input::End { track });
    assert_eq!(sizes(&mut egress, 26..27, 90), [1]);
}

#[test]
fn less_is_repeated_only_after_a_while() {
    let mut egress: Egress<Bytes> = Egress::new(egress::Config::default());
    egress.redundancy(2);
    sizes(&mut egress, 0..300, 90);
    egress.redundancy(0);
    assert_eq!(sizes(&mut egress, 300..540, 90).last(), Some(&3));
    assert_eq!(sizes(&mut egress, 540..600, 90).last(), Some(&2));
    assert_eq!(sizes(&mut egress, 600..900, 90).last(), Some(&1));
    // What was asked for half a second is done for half a second more.
    egress.redundancy(2);
    sizes(&mut egress, 900..925, 90);
    egress.redundancy(0);
    assert_eq!(sizes(&mut egress, 925..945, 90).last(), Some(&3));
    assert_eq!(sizes(&mut egress, 945..970, 90).last(), Some(&2));
    assert_eq!(sizes(&mut egress, 970..1010, 90).last(), Some(&1));
}

#[test]
fn each_track_repeats_its_own() {
    let mut egress: Egress<Bytes> = Egress::new(egress::Config::default());
    egress.redundancy(1);
    for (at, track) in [(0, 1), (5, 2), (20, 1), (25, 2)] {
        let (header, bytes) = packet(at, 60);
        let header = Header {
            track: TrackId(track),
            ..header
        };
        egress.push(ms(at), Kind::Audio, &header, bytes);
    }
    let all = std::iter::from_fn(|| egress.poll());
    let frames: Vec<Vec<u64>> = all
        .map(|output| match output {
            egress::Output::Datagram(bytes) => {
                let datagram = Datagram::parse(bytes).expect("a datagram");
                datagram.into_frames().map(|one| one.header.frame).collect()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(frames, [vec![0], vec![5], vec![20, 0], vec![25, 5]]);
}

#[test]
fn sound_is_repeated_only_as_far_as_the_path_affords_it() {
    let at = |kbps| {
        let mut egress: Egress<Bytes> = Egress::new(egress::Config::default());
        egress.redundancy(3);
        egress.estimate(Bitrate::from_kbps(kbps));
        // 36 kbit/s, and 24 of headers.
        *sizes(&mut egress, 0..100, 90).last().expect("datagrams")
    };
    assert_eq!([150, 250, 300, 400, 1000].map(at), [1, 1, 2, 3, 4]);
}
