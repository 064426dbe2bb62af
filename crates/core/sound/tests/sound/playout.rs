//! When packets are played, under scripted conditions.

use std::time::Duration;

use darktower_sound::playout::{Packet, Play, Playout};

use crate::script::{PACKET_US, Path, packet, play, speech};

#[test]
fn an_even_path_is_played_soon_and_untouched() {
    let outcome = play(&Path::default().carry(&speech(20)));
    let report = outcome.last();
    assert_eq!((report.concealed_us, report.late, report.lost), (0, 0, 0));
    assert_eq!(report.played, 1000);
    assert!(outcome.delay_ms(2) <= 40, "{report:?}");
    assert_eq!(report.underruns, 0);
}

#[test]
fn jitter_of_sixty_milliseconds_is_waited_for_within_the_bound() {
    for seed in 0..8 {
        let path = Path {
            jitter_us: 60_000.0,
            seed,
            ..Path::default()
        };
        let outcome = play(&path.carry(&speech(60)));
        assert!(outcome.delay_ms(3) <= 150, "{}", outcome.delay_ms(3));
        assert!(outcome.concealed() <= 0.005, "{}", outcome.concealed());
        assert!(outcome.speeds.0 >= 0.85 && outcome.speeds.1 <= 1.15);
    }
}

#[test]
fn the_delay_comes_down_again_when_the_path_calms_down() {
    let shaken = Path {
        jitter_us: 80_000.0,
        ..Path::default()
    };
    let packets = speech(60);
    let mut arrivals = shaken.carry(&packets[..1000]);
    let calm = Path::default().carry(&packets);
    let from = arrivals.last().map_or(Duration::ZERO, |(at, _)| *at);
    arrivals.extend(calm[1000..].iter().map(|(at, one)| (from.max(*at), *one)));
    let outcome = play(&arrivals);
    assert!(outcome.seconds[15].delay_us > 60_000);
    assert!(outcome.delay_ms(34) <= 40, "{}", outcome.delay_ms(34));
}

/// Loss in thousandths, packets repeated, share made up at most, delay at most (ms).
const LOSSES: [(f64, u64, f64, u64); 8] = [
    (0.01, 0, 0.015, 110),
    (0.05, 0, 0.06, 110),
    (0.10, 0, 0.12, 120),
    (0.20, 0, 0.23, 120),
    (0.01, 1, 0.005, 60),
    (0.05, 2, 0.01, 110),
    (0.10, 2, 0.02, 110),
    (0.20, 3, 0.03, 130),
];

#[test]
fn loss_is_made_up_for_in_its_place_and_redundancy_leaves_little_of_it() {
    for (loss, redundancy, concealed, delay_ms) in LOSSES {
        for seed in 0..4 {
            let path = Path {
                loss,
                redundancy,
                seed,
                ..Path::default()
            };
            let outcome = play(&path.carry(&speech(120)));
            let says = format!(
                "loss {loss}, {redundancy} repeated: {:.4} made up, {} ms, {:?}",
                outcome.concealed(),
                outcome.delay_ms(3),
                outcome.last()
            );
            assert!(outcome.concealed() <= concealed, "{says}");
            assert!(outcome.delay_ms(3) <= delay_ms, "{says}");
        }
    }
}

#[test]
fn clocks_that_drift_apart_neither_fill_nor_empty_the_buffer() {
    for drift_ppm in [-300.0, 300.0] {
        let path = Path {
            drift_ppm,
            jitter_us: 10_000.0,
            ..Path::default()
        };
        // 300 ppm of ten minutes are 180 ms.
        let outcome = play(&path.carry(&speech(600)));
        let report = outcome.last();
        assert!(outcome.delay_ms(2) <= 60, "{drift_ppm}: {report:?}");
        assert!(outcome.concealed() < 0.001, "{drift_ppm}: {report:?}");
        assert_eq!(report.lost + report.skipped, 0, "{report:?}");
    }
}

#[test]
fn a_short_standstill_is_bridged_and_caught_up_with() {
    let path = Path {
        stall: Some((5_000_000, 120_000)),
        ..Path::default()
    };
    let outcome = play(&path.carry(&speech(30)));
    let report = outcome.last();
    assert_eq!((report.lost, report.skipped, report.late), (0, 0, 0));
    assert!(report.concealed_us <= 130_000, "{report:?}");
    assert!(outcome.delay_ms(9) <= 40, "{}", outcome.delay_ms(9));
    assert!(outcome.speeds.1 > 1.1);
}

#[test]
fn of_a_long_standstill_the_past_is_skipped() {
    let path = Path {
        stall: Some((5_000_000, 900_000)),
        ..Path::default()
    };
    let outcome = play(&path.carry(&speech(30)));
    let report = outcome.last();
    assert!(report.skipped > 20, "{report:?}");
    assert!(outcome.seconds[8].delay_us < 320_000, "{report:?}");
    assert!(outcome.delay_ms(20) <= 40, "{report:?}");
}

/// Two seconds of speech, then a pause as the gate says it, and again.
fn talk_with_pauses(rounds: u64) -> Vec<Packet> {
    let (mut packets, mut number) = (Vec::new(), 0);
    for round in 0..rounds {
        for slot in 0..200 {
            let since = slot as i64 - 100;
            let rest = since >= 0 && (since < 3 || since % 20 == 0);
            if slot >= 100 && !rest {
                continue;
            }
            packets.push(Packet {
                rest,
                ..packet(number, (round * 200 + slot) * PACKET_US)
            });
            number += 1;
        }
    }
    packets
}

#[test]
fn a_pause_is_neither_concealed_nor_delayed() {
    let outcome = play(&Path::default().carry(&talk_with_pauses(10)));
    let report = outcome.last();
    assert_eq!(
        (report.concealed_us, report.lost, report.underruns),
        (0, 0, 0)
    );
    assert!(outcome.silence > Duration::from_secs(17));
    assert!(outcome.delay_ms(2) <= 40, "{report:?}");
}

#[test]
fn loss_beside_pauses_is_told_apart_from_them() {
    let path = Path {
        loss: 0.05,
        redundancy: 1,
        ..Path::default()
    };
    let outcome = play(&path.carry(&talk_with_pauses(30)));
    // Of 120 s half is pause; a twentieth of a twentieth of the packets is gone.
    assert!(outcome.concealed() < 0.01, "{:?}", outcome.last());
    assert!(
        outcome.silence > Duration::from_secs(50),
        "{:?}",
        outcome.silence
    );
}

#[test]
fn a_pause_whose_word_is_lost_ends_as_one() {
    let mut packets: Vec<Packet> = speech(1);
    packets.push(packet(50, 3_000_000));
    packets.push(packet(51, 3_020_000));
    let outcome = play(&Path::default().carry(&packets));
    assert_eq!(outcome.last().lost, 0);
    assert_eq!(outcome.last().played, 52);
}

#[test]
fn who_begins_anew_is_heard_anew() {
    let mut playout = Playout::new();
    let at = Duration::from_millis;
    for n in 0..50 {
        playout.push(at(n * 20), packet(n, 900_000_000 + n * PACKET_US), "first");
        playout.pull(at(n * 20));
    }
    for n in 0..10 {
        assert!(playout.push(
            at(1000 + n * 20),
            packet(n, 950_000_000 + n * PACKET_US),
            "again"
        ));
    }
    let heard = (0..30).find_map(|n| match playout.pull(at(1200 + n * 5)) {
        Play::Packet { sound, .. } => Some(sound),
        _ => None,
    });
    assert_eq!(heard, Some("again"));
}

#[test]
fn what_came_while_nobody_listened_is_not_played_later() {
    let mut playout = Playout::new();
    let at = Duration::from_millis;
    for n in 0..500 {
        // The audio thread stands still: its clock too.
        playout.push(at(40), packet(n, n * PACKET_US), n);
    }
    let mut heard = Vec::new();
    for n in 0..50 {
        playout.push(
            at(40 + n * 20),
            packet(500 + n, (500 + n) * PACKET_US),
            500 + n,
        );
        for step in 0..4 {
            if let Play::Packet { sound, .. } = playout.pull(at(40 + n * 20 + step * 5)) {
                heard.push(sound);
            }
        }
    }
    assert!(heard[0] > 470, "{heard:?}");
    assert!(playout.report(at(1040)).delay_us < 60_000);
}

#[test]
fn what_comes_twice_or_too_late_is_refused() {
    let mut playout = Playout::new();
    let at = Duration::from_millis;
    assert!(playout.push(at(0), packet(0, 0), ()));
    assert!(!playout.push(at(0), packet(0, 0), ()));
    assert!(playout.push(at(20), packet(2, 40_000), ()));
    while !matches!(playout.pull(at(200)), Play::Packet { .. }) {}
    assert!(!playout.push(at(200), packet(0, 0), ()));
    assert_eq!(playout.report(at(200)).late, 2);
}

#[test]
fn it_says_which_moment_is_heard() {
    let arrivals = Path::default().carry(&speech(3));
    let mut playout = Playout::new();
    let mut next = arrivals.iter().peekable();
    let mut now = arrivals[0].0;
    while now < arrivals[100].0 {
        while let Some((at, one)) = next.next_if(|(at, _)| *at <= now) {
            playout.push(*at, *one, ());
        }
        now += match playout.pull(now) {
            Play::Packet { .. } => Duration::from_micros(PACKET_US),
            Play::Conceal(time) | Play::Silence(time) => time,
        };
    }
    let report = playout.report(now);
    // Fastest packets come 40 ms after their first sample was captured.
    let behind = now.as_micros() as u64 - 7_000_000 - report.playing_us.unwrap_or_default();
    assert_eq!(behind, 40_000 + report.delay_us);
    assert!(
        playout
            .report(now + Duration::from_secs(2))
            .playing_us
            .is_none()
    );
}

/// However late it is itself: what is in haste now is made up for in a moment.
#[test]
fn what_nothing_follows_in_time_is_played_slowly() {
    let mut playout = Playout::new();
    let at = Duration::from_millis;
    let mut speed_of = |came: &[u64], now: u64| {
        for &number in came {
            playout.push(at(now), packet(number, number * PACKET_US), ());
        }
        match playout.pull(at(now)) {
            Play::Packet { speed, .. } => Some(speed),
            _ => None,
        }
    };
    for number in 0..50 {
        speed_of(&[number], 40 + number * 20);
    }
    while speed_of(&[], 1060).is_some() {}
    assert_eq!(speed_of(&[50], 1140), Some(0.85));
    assert_eq!(speed_of(&[51], 1200), Some(0.85));
    assert_eq!(speed_of(&[52, 53, 54], 1300), Some(1.15), "enough is there");
}
