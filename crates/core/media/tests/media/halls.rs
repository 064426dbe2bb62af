//! Many on a stage: who is heard, and what a path carries of them.

use darktower_media::Kind;
use darktower_media::forwarder::Output;
use darktower_media::path::Loss;
use darktower_wire::Code;
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::{AudioLevel, Header};

use crate::allocating::camera;
use crate::forwarding::{Sized, session};
use crate::pair::ms;
use crate::sealing::{ALICE, BOB};
use crate::stage::Stage;

/// Bytes of a picture of the smallest and of the largest layer of [`camera`], and of a key frame as a multiple.
const TILE: usize = 618;
const LARGE: usize = 6187;
const KEY: usize = 4;

#[test]
fn a_hundred_cost_a_subscriber_what_its_screen_shows() {
    let people: Vec<_> = (1..=100).map(|n| ParticipantId([n; 16])).collect();
    let mut stage = Stage::new(&people);
    for (n, &who) in (0..).zip(&people) {
        stage.camera(1000 + n, who, camera());
        stage.microphone(2000 + n, who, if n < 5 { 80 } else { 0 });
    }
    // Everybody shows the active speaker large, who shows the second, and eight others small.
    let large = |n: u32| u32::from(n == 0);
    for (n, &who) in (0..).zip(&people) {
        let others = (1..100).map(|k| (n + k) % 100).filter(|&k| k != large(n));
        let tiles = others.take(8).map(|k| (1000 + k, 320, 180));
        let views: Vec<_> = [(1000 + large(n), 1280, 720)]
            .into_iter()
            .chain(tiles)
            .collect();
        stage.demand(who, &views);
    }
    stage.run(1500);
    let since = stage.at;
    stage.run(500);
    let active = stage.said.iter().rev().find_map(|(_, one)| match one {
        Output::Speakers {
            session: to,
            tracks,
        } if *to == session(people[99]) => tracks.first(),
        _ => None,
    });
    assert_eq!(active, Some(&TrackId(2000)), "who is shown large");
    for (n, &who) in (0..).zip(&people) {
        let all = stage.got.get(&session(who)).into_iter().flatten();
        let new: Vec<_> = all.filter(|one| one.at > since).collect();
        let sounds = new.iter().filter(|one| one.header.track.0 >= 2000);
        let pictures: Vec<_> = new.iter().filter(|one| one.header.track.0 < 2000).collect();
        let heard = if n < 3 { 2 } else { 3 };
        assert_eq!(sounds.count(), heard * 25, "sound at {n}");
        assert_eq!(pictures.len(), 9 * 15, "pictures at {n}");
        for one in &pictures {
            let is_large = one.header.track.0 == 1000 + large(n);
            let layer = if is_large { 2 } else { 0 };
            assert_eq!(one.header.layer, layer, "{:?} at {n}", one.header.track);
        }
        let bytes: usize = pictures.iter().map(|one| one.size).sum();
        let picture = LARGE + 8 * TILE;
        let most = (15 + KEY - 1) * picture;
        assert!((15 * picture..=most).contains(&bytes), "{bytes} B at {n}");
    }
}

#[test]
fn a_narrow_path_still_carries_every_loud_voice_and_the_active_speakers_picture() {
    let people: Vec<_> = (1..=10).map(|n| ParticipantId([n; 16])).collect();
    let mut stage = Stage::new(&people);
    for (n, &who) in (0..9).zip(&people) {
        stage.camera(1000 + n, who, camera());
        // The fifth talks loudest, two others as well.
        let loud = [0, 70, 0, 0, 90, 0, 70, 0, 0][n as usize];
        stage.microphone(2000 + n, who, loud);
    }
    let me = people[9];
    stage.path(me, 300);
    let views: Vec<_> = (0..9).map(|n| (1000 + n, 320, 180)).collect();
    stage.demand(me, &views);
    stage.run(6000);
    let since = stage.at;
    stage.run(2000);
    for n in [1, 4, 6] {
        assert_eq!(stage.frames(me, 2000 + n, since).len(), 100, "voice {n}");
    }
    let active = stage.frames(me, 1004, since).len();
    let shown = (0..9)
        .filter(|n| !stage.frames(me, 1000 + n, since).is_empty())
        .count();
    assert!(active >= 14, "{active} pictures of the active speaker");
    assert!(shown >= 2, "{shown} are seen");
    assert!(stage.kbps(me) <= 300, "{} kbit/s", stage.kbps(me));
    // Somebody else speaks: the picture follows.
    stage.sounds.insert(TrackId(2004), (people[4], 0));
    stage.sounds.insert(TrackId(2006), (people[6], 90));
    stage.run(5000);
    let since = stage.at;
    stage.run(1000);
    let active = stage.frames(me, 1006, since).len();
    assert!(active >= 7, "{active} pictures of the one who speaks now");
}

#[test]
fn who_is_heard_is_told_when_it_changes() {
    let people: Vec<_> = (1..=5).map(|n| ParticipantId([n; 16])).collect();
    let mut stage = Stage::new(&people);
    for (n, &who) in (0..).zip(&people) {
        stage.microphone(2000 + n, who, if n < 2 { 80 } else { 0 });
    }
    stage.run(1000);
    let last = |stage: &Stage, who: usize| {
        let said = stage.said.iter().rev().find_map(|(_, one)| match one {
            Output::Speakers {
                session: to,
                tracks,
            } if *to == session(people[who]) => {
                Some(tracks.iter().map(|track| track.0).collect::<Vec<_>>())
            }
            _ => None,
        });
        said.unwrap_or_default()
    };
    assert_eq!(last(&stage, 4), [2000, 2001, 2002]);
    assert_eq!(
        last(&stage, 0),
        [2001, 2002],
        "nobody is sent its own voice"
    );
    stage.sounds.insert(TrackId(2003), (people[3], 90));
    stage.sounds.insert(TrackId(2000), (people[0], 0));
    let before = stage.at;
    stage.run(2500);
    assert_eq!(
        last(&stage, 4),
        [2003, 2000, 2001],
        "the loudest is the active one"
    );
    let changes = stage.times(
        |one| matches!(one, Output::Speakers { session: to, .. } if *to == session(people[4])),
    );
    assert!(
        changes.iter().filter(|at| **at > before).count() <= 3,
        "{changes:?}"
    );
}

#[test]
fn what_a_bundle_repeats_is_forwarded_once() {
    let mut stage = Stage::new(&[ALICE, BOB]);
    stage.microphone(20, ALICE, 0);
    let mut taken = |frame: u64| {
        let header = Header {
            track: TrackId(20),
            group: 1,
            frame,
            key: true,
            level: Some(AudioLevel {
                minus_dbov: 30,
                voice: true,
            }),
            ..Header::default()
        };
        let mut out = Vec::new();
        let from = session(ALICE);
        let result =
            stage
                .forwarder
                .on_frame(ms(2000), from, Kind::Audio, &header, &Sized(80), &mut out);
        (result, out.len())
    };
    let rows = [
        (5, (Ok(()), 1)),
        (5, (Ok(()), 0)),
        (7, (Ok(()), 1)),
        // Number 6 was lost, and is repeated beside 7 and 8.
        (6, (Ok(()), 1)),
        (6, (Ok(()), 0)),
        (8, (Ok(()), 1)),
        (7, (Ok(()), 0)),
        (100, (Ok(()), 1)),
        (99, (Ok(()), 1)),
        (36, (Err(Code::StaleGroup), 0)),
        (37, (Ok(()), 1)),
        (u64::MAX >> 2, (Ok(()), 1)),
        (101, (Err(Code::StaleGroup), 0)),
    ];
    for (frame, result) in rows {
        assert_eq!(taken(frame), result, "number {frame}");
    }
}

#[test]
fn sound_that_is_repeated_is_paid_for_before_pictures() {
    let mut stage = Stage::new(&[ALICE, BOB]);
    stage.camera(10, ALICE, camera());
    stage.microphone(20, ALICE, 80);
    stage.demand(BOB, &[(10, 640, 360)]);
    stage.path(BOB, 440);
    stage.run(3000);
    assert_eq!(
        stage.layer(BOB, 10),
        Some((1, 1)),
        "325 and 45 of 382 kbit/s"
    );
    stage.lossy_path(BOB, 440, Loss::from_thousandths(200));
    stage.run(500);
    assert_eq!(stage.layer(BOB, 10), Some((0, 2)), "150 and a third of 440");
    // Where sound alone is more than that, it is not repeated, and takes no more.
    stage.lossy_path(BOB, 120, Loss::from_thousandths(200));
    stage.run(500);
    assert_eq!(stage.layer(BOB, 10), Some((0, 0)), "60 and 45 of 120");
}
