use std::time::Duration;

use proptest::prelude::*;

use super::{Counters, Discipline, Link};
use crate::{Conditions, Loss, Queue};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn datagrams(conditions: Conditions) -> Link<u64> {
    Link::new(Discipline::Datagram, conditions, 7)
}

fn stream(conditions: Conditions) -> Link<u64> {
    Link::new(Discipline::Stream, conditions, 7)
}

/// Follows the link's own deadlines, as a shell would, up to and including `until`.
fn arrivals(link: &mut Link<u64>, until: Duration) -> Vec<(Duration, u64)> {
    let mut arrived = Vec::new();
    while let Some(at) = link.deadline().filter(|at| *at <= until) {
        while let Some(packet) = link.poll(at) {
            arrived.push((at, packet));
        }
    }
    while let Some(packet) = link.poll(until) {
        arrived.push((until, packet));
    }
    arrived
}

fn conserves(link: &Link<u64>) -> bool {
    let Counters {
        sent,
        delivered,
        duplicated,
        lost,
        overflowed,
        blacked_out,
        ..
    } = link.counters();
    sent + duplicated == delivered + lost + overflowed + blacked_out + link.waiting()
}

#[test]
fn a_perfect_link_delivers_at_once() {
    let mut link = datagrams(Conditions::default());
    link.send(ms(5), 1200, 1);
    assert_eq!(link.deadline(), Some(ms(5)));
    assert_eq!(link.poll(ms(5)), Some(1));
    assert_eq!(link.deadline(), None);
}

#[test]
fn delay_is_exact_to_the_nanosecond() {
    let mut link = datagrams(Conditions::delayed(ms(50)));
    link.send(ms(0), 100, 1);
    link.send(ms(3), 100, 2);
    assert_eq!(link.poll(ms(50) - Duration::from_nanos(1)), None);
    assert_eq!(arrivals(&mut link, ms(100)), [(ms(50), 1), (ms(53), 2)]);
}

#[test]
fn fifty_milliseconds_each_way_are_a_round_trip_of_a_hundred() {
    let mut up = datagrams(Conditions::delayed(ms(50)));
    let mut down = datagrams(Conditions::delayed(ms(50)));
    up.send(ms(10), 100, 1);
    let at = up.deadline().unwrap();
    down.send(at, 100, up.poll(at).unwrap());
    assert_eq!(down.deadline(), Some(ms(110)));
}

#[test]
fn one_megabit_per_second_delivers_125_kilobytes_per_second() {
    let conditions = Conditions {
        rate_bps: Some(1_000_000),
        ..Conditions::default()
    };
    let mut link = datagrams(conditions);
    // Twice as much as fits, for ten seconds, in packets of uneven size.
    let (mut now, mut size) = (Duration::ZERO, 400);
    let mut delivered = 0;
    while now < Duration::from_secs(10) {
        link.send(now, size, size as u64);
        now += Duration::from_nanos(size as u64 * 8 * 500);
        size = 100 + (size * 31) % 1300;
        while let Some(bytes) = link.poll(now) {
            delivered += bytes;
        }
    }
    assert!(
        (1_237_500..=1_262_500).contains(&delivered),
        "{delivered} bytes in 10 s"
    );
    assert!(link.counters().overflowed > 0);
}

#[test]
fn a_packet_takes_its_bits_over_the_rate() {
    let conditions = Conditions {
        rate_bps: Some(1_000_000),
        delay: ms(20),
        ..Conditions::default()
    };
    let mut link = datagrams(conditions);
    link.send(ms(0), 1250, 1);
    link.send(ms(0), 1250, 2);
    assert_eq!(arrivals(&mut link, ms(100)), [(ms(30), 1), (ms(40), 2)]);
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    // 1250 bytes are 10 ms: one in service and two behind it wait 30 ms in all.
    for queue in [Queue::Time(ms(29)), Queue::Bytes(3 * 1250)] {
        let mut link = datagrams(Conditions {
            rate_bps: Some(1_000_000),
            queue,
            ..Conditions::default()
        });
        for packet in 1..=5 {
            link.send(ms(0), 1250, packet);
        }
        assert_eq!(link.counters().overflowed, 2, "{queue:?}");
        let order: Vec<u64> = arrivals(&mut link, ms(100))
            .iter()
            .map(|(_, p)| *p)
            .collect();
        assert_eq!(order, [1, 2, 3]);
    }
}

#[test]
fn where_nothing_can_be_marked_a_link_drops_above_the_threshold() {
    let mut link = datagrams(Conditions {
        rate_bps: Some(1_000_000),
        mark_above: Some(ms(20)),
        ..Conditions::default()
    });
    for packet in 1..=5 {
        link.send(ms(0), 1250, packet);
    }
    assert_eq!(link.counters().overflowed, 2);
    assert!(conserves(&link));
}

#[test]
fn a_packet_that_finds_nobody_waiting_fits_whatever_the_limit() {
    for queue in [Queue::Time(Duration::ZERO), Queue::Bytes(0)] {
        let mut link = datagrams(Conditions {
            rate_bps: Some(8_000),
            queue,
            ..Conditions::default()
        });
        link.send(ms(0), 1000, 1);
        assert_eq!(arrivals(&mut link, ms(1000)), [(ms(1000), 1)]);
    }
}

#[test]
fn a_changed_rate_holds_for_the_rest_of_the_packet_in_service() {
    let fast = Conditions {
        rate_bps: Some(1_000_000),
        ..Conditions::default()
    };
    let mut link = datagrams(fast);
    link.send(ms(0), 2500, 1);
    // 10 ms sent 10,000 of 20,000 bits; at half the rate the rest takes 20 ms.
    link.set(
        ms(10),
        Conditions {
            rate_bps: Some(500_000),
            ..fast
        },
    );
    assert_eq!(link.deadline(), Some(ms(30)));
    link.set(ms(20), Conditions::default());
    assert_eq!(link.poll(ms(20)), Some(1));
}

#[test]
fn a_shorter_delay_never_lets_a_packet_overtake() {
    let mut link = datagrams(Conditions::delayed(ms(100)));
    link.send(ms(0), 100, 1);
    link.set(ms(10), Conditions::delayed(ms(5)));
    link.send(ms(10), 100, 2);
    assert_eq!(arrivals(&mut link, ms(200)), [(ms(100), 1), (ms(100), 2)]);
}

#[test]
fn random_loss_is_within_binomial_bounds() {
    let mut link = datagrams(Conditions {
        loss: Loss::Random(0.1),
        ..Conditions::default()
    });
    let sent = 100_000;
    for packet in 0..sent {
        link.send(ms(packet), 100, packet);
    }
    // Mean 10,000, deviation 95: five deviations.
    let lost = link.counters().lost;
    assert!((9_525..=10_475).contains(&lost), "{lost}");
}

#[test]
fn bursty_loss_has_the_mean_and_the_length_asked_for() {
    let mut link = datagrams(Conditions {
        loss: Loss::bursty(0.05, 8.0),
        ..Conditions::default()
    });
    let (mut lost, mut bursts, mut in_burst) = (0_u32, 0_u32, false);
    for packet in 0..400_000 {
        let before = link.counters().lost;
        link.send(ms(packet), 100, packet);
        let gone = link.counters().lost > before;
        lost += u32::from(gone);
        bursts += u32::from(gone && !in_burst);
        in_burst = gone;
    }
    let mean = f64::from(lost) / 400_000.0;
    let length = f64::from(lost) / f64::from(bursts);
    assert!((0.04..0.06).contains(&mean), "mean {mean}");
    assert!((7.2..8.8).contains(&length), "length {length}");
}

#[test]
fn a_mean_loss_of_one_loses_everything() {
    assert_eq!(Loss::bursty(1.0, 5.0), Loss::Random(1.0));
    let mut link = datagrams(Conditions {
        loss: Loss::bursty(1.0, 5.0),
        ..Conditions::default()
    });
    for packet in 0..1000 {
        link.send(ms(packet), 1, packet);
    }
    assert_eq!(link.counters().lost, 1000);
}

#[test]
fn a_blackout_delivers_nothing_and_recovers() {
    let clear = Conditions::delayed(ms(20));
    let mut link = datagrams(clear);
    link.send(ms(0), 100, 1);
    link.send(ms(10), 100, 2);
    link.schedule(
        ms(25),
        Conditions {
            blackout: true,
            ..clear
        },
    );
    link.schedule(ms(100), clear);
    for at in [50, 99] {
        link.send(ms(at), 100, 3);
    }
    // 1 had arrived at 20 ms and was merely not fetched; 2 was on the way; 3 was sent into the dark.
    assert_eq!(link.poll(ms(99)), Some(1));
    assert_eq!(link.poll(ms(99)), None);
    link.send(ms(100), 100, 4);
    assert_eq!(arrivals(&mut link, ms(200)), [(ms(120), 4)]);
    assert_eq!(link.counters().blacked_out, 3);
}

#[test]
fn a_stream_keeps_everything_through_a_blackout() {
    let clear = Conditions {
        delay: ms(20),
        rate_bps: Some(1_000_000),
        ..Conditions::default()
    };
    let mut link = stream(clear);
    link.send(ms(0), 1250, 1); // leaves the queue at 10 ms
    link.send(ms(0), 1250, 2); // half of it has left when the light goes out
    link.set(
        ms(15),
        Conditions {
            blackout: true,
            ..clear
        },
    );
    link.send(ms(40), 125, 3);
    assert_eq!(arrivals(&mut link, ms(60)), []);
    link.set(ms(100), clear);
    assert_eq!(
        arrivals(&mut link, ms(200)),
        [(ms(120), 1), (ms(125), 2), (ms(126), 3)]
    );
}

#[test]
fn a_lost_piece_of_a_stream_is_late_and_holds_up_the_rest() {
    let mut link = stream(Conditions {
        loss: Loss::Random(1.0),
        ..Conditions::delayed(ms(20))
    });
    link.send(ms(0), 100, 1);
    link.set(ms(1), Conditions::delayed(ms(20)));
    link.send(ms(1), 100, 2);
    assert_eq!(arrivals(&mut link, ms(200)), [(ms(60), 1), (ms(60), 2)]);
    assert_eq!(link.counters().recovered, 1);
}

#[test]
fn a_stream_says_when_its_queue_is_full_instead_of_dropping() {
    let conditions = Conditions {
        rate_bps: Some(1_000_000),
        queue: Queue::Time(ms(20)),
        ..Conditions::default()
    };
    let mut link = stream(conditions);
    assert!(link.has_room(ms(0)));
    link.send(ms(0), 1250, 1);
    assert!(link.has_room(ms(0)));
    link.send(ms(0), 1250, 2);
    assert!(!link.has_room(ms(0)));
    assert_eq!(link.departure(), Some(ms(10)));
    assert!(link.has_room(ms(10)));
    assert_eq!(link.counters().overflowed, 0);
}

#[test]
fn a_duplicate_follows_its_original() {
    let mut link = datagrams(Conditions {
        duplicate: 1.0,
        ..Conditions::delayed(ms(5))
    });
    link.send(ms(0), 100, 1);
    link.send(ms(0), 100, 2);
    let order: Vec<u64> = arrivals(&mut link, ms(9)).iter().map(|(_, p)| *p).collect();
    assert_eq!(order, [1, 1, 2, 2]);
    assert_eq!(link.counters().duplicated, 2);
}

#[test]
fn a_reordered_packet_comes_after_those_that_overtook_it() {
    let calm = Conditions::delayed(ms(20));
    let mut link = datagrams(Conditions {
        reorder: 1.0,
        reorder_by: ms(10),
        ..calm
    });
    link.send(ms(0), 100, 1);
    link.set(ms(0), calm);
    link.send(ms(1), 100, 2);
    link.send(ms(2), 100, 3);
    assert_eq!(
        arrivals(&mut link, ms(99)),
        [(ms(21), 2), (ms(22), 3), (ms(30), 1)]
    );
}

#[test]
fn changing_the_jitter_leaves_the_losses_as_they_were() {
    let survivors = |jitter| {
        let mut link = datagrams(Conditions {
            loss: Loss::Random(0.2),
            jitter,
            ..Conditions::default()
        });
        for packet in 0..500 {
            link.send(ms(packet), 100, packet);
        }
        arrivals(&mut link, ms(10_000))
            .into_iter()
            .map(|(_, packet)| packet)
            .collect::<Vec<_>>()
    };
    assert_eq!(survivors(ms(0)), survivors(ms(30)));
}

#[test]
fn time_that_goes_backwards_is_taken_as_standing_still() {
    let mut link = datagrams(Conditions::delayed(ms(5)));
    link.send(ms(10), 100, 1);
    link.send(ms(3), 100, 2);
    assert_eq!(arrivals(&mut link, ms(99)), [(ms(15), 1), (ms(15), 2)]);
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let loss = prop_oneof![
        Just(Loss::None),
        (0.0..0.5_f64).prop_map(Loss::Random),
        (0.0..0.5_f64, 1.0..10.0_f64).prop_map(|(mean, length)| Loss::bursty(mean, length)),
    ];
    let queue = prop_oneof![
        (0..20_000_u64).prop_map(Queue::Bytes),
        (0..300_u64).prop_map(|n| Queue::Time(ms(n))),
    ];
    let rate = proptest::option::of(10_000..5_000_000_u64);
    let mark_above = proptest::option::weighted(0.2, 0..100_u64);
    (
        0..100_u64,
        0..50_u64,
        loss,
        rate,
        queue,
        mark_above,
        0.0..0.3_f64,
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(delay, jitter, loss, rate_bps, queue, mark_above, duplicate, blackout)| Conditions {
                delay: ms(delay),
                jitter: ms(jitter),
                loss,
                rate_bps,
                queue,
                mark_above: mark_above.map(ms),
                duplicate,
                blackout,
                ..Conditions::default()
            },
        )
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Wait(u64),
    Set(Conditions),
    Schedule(u64, Conditions),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..1500_usize).prop_map(Step::Send),
        4 => (0..20_000_u64).prop_map(Step::Wait),
        1 => any_conditions().prop_map(Step::Set),
        1 => (0..50_u64, any_conditions()).prop_map(|(after, to)| Step::Schedule(after, to)),
    ];
    proptest::collection::vec(step, 0..200)
}

/// Plays the steps; packets are numbered. Returns what arrived, with the link.
fn play(discipline: Discipline, seed: u64, steps: &[Step]) -> (Vec<(Duration, u64)>, Link<u64>) {
    let mut link = Link::new(discipline, Conditions::default(), seed);
    let (mut now, mut number, mut arrived) = (Duration::ZERO, 0, Vec::new());
    for step in steps {
        match step {
            Step::Send(bytes) => {
                number += 1;
                link.send(now, *bytes, number);
            }
            Step::Wait(micros) => {
                now += Duration::from_micros(*micros);
                arrived.extend(arrivals(&mut link, now));
            }
            Step::Set(conditions) => link.set(now, *conditions),
            Step::Schedule(after, conditions) => link.schedule(now + ms(*after), *conditions),
        }
        assert!(
            conserves(&link),
            "{:?} and {} waiting",
            link.counters(),
            link.waiting()
        );
    }
    (arrived, link)
}

proptest! {
    #[test]
    fn order_is_kept_and_nothing_is_unaccounted_for(steps in any_steps(), seed: u64) {
        let (arrived, mut link) = play(Discipline::Datagram, seed, &steps);
        prop_assert!(arrived.is_sorted(), "{arrived:?}");
        link.set(Duration::from_secs(100), Conditions::default());
        arrivals(&mut link, Duration::from_secs(1000));
        prop_assert!(conserves(&link));
        prop_assert_eq!(link.waiting(), 0);
        prop_assert_eq!(link.deadline(), None);
    }

    #[test]
    fn a_stream_delivers_everything_once_and_in_order(steps in any_steps(), seed: u64) {
        let (mut arrived, mut link) = play(Discipline::Stream, seed, &steps);
        // What the steps scheduled is done by then.
        link.set(Duration::from_secs(100), Conditions::default());
        arrived.extend(arrivals(&mut link, Duration::from_secs(1000)));
        let sent = link.counters().sent;
        prop_assert!(arrived.iter().map(|(_, number)| *number).eq(1..=sent), "{arrived:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_outcome(steps in any_steps(), seed: u64) {
        let (first, _) = play(Discipline::Datagram, seed, &steps);
        let (second, _) = play(Discipline::Datagram, seed, &steps);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn the_rate_is_never_exceeded(
        sizes in proptest::collection::vec((1..1500_u64, 0..5_000_u64), 1..200),
        rate in 10_000..5_000_000_u64,
        delay in 0..50_u64,
    ) {
        let delay = ms(delay);
        let conditions = Conditions { rate_bps: Some(rate), delay, ..Conditions::default() };
        let mut link = Link::new(Discipline::Datagram, conditions, 1);
        let (mut now, mut bits) = (Duration::ZERO, 0_u64);
        let mut check = |link: &mut Link<u64>, until: Duration| {
            for (at, size) in arrivals(link, until) {
                bits += size * 8;
                // By any time no more has come than the rate allows since the first packet was sent.
                let allowed = (at - delay).as_secs_f64() * rate as f64;
                assert!(bits as f64 <= allowed + 1e-3, "{bits} bits at {at:?}");
            }
        };
        for (size, gap) in sizes {
            link.send(now, size as usize, size);
            now += Duration::from_micros(gap);
            check(&mut link, now);
        }
        check(&mut link, now + Duration::from_secs(1000));
    }

    #[test]
    fn nothing_is_early_and_nothing_waits_longer_than_queue_and_jitter_allow(
        gaps in proptest::collection::vec(0..20_000_u64, 1..200),
        delay in 0..100_u64,
        jitter in 0..50_u64,
        seed: u64,
    ) {
        let conditions = Conditions { delay: ms(delay), jitter: ms(jitter), ..Conditions::default() };
        let mut link = Link::new(Discipline::Datagram, conditions, seed);
        let (mut now, mut sent_at, mut arrived) = (Duration::ZERO, Vec::new(), Vec::new());
        for gap in gaps {
            link.send(now, 100, sent_at.len() as u64);
            sent_at.push(now);
            now += Duration::from_micros(gap);
            arrived.extend(arrivals(&mut link, now));
        }
        arrived.extend(arrivals(&mut link, now + ms(1000)));
        prop_assert_eq!(arrived.len(), sent_at.len());
        for (at, packet) in arrived {
            let took = at - sent_at[packet as usize];
            prop_assert!(took >= ms(delay) && took <= ms(delay + jitter), "{took:?}");
        }
    }

    #[test]
    fn following_the_deadlines_finds_what_polling_every_instant_finds(steps in any_steps(), seed: u64) {
        // `play` follows deadlines. Here the same steps, but polled only at each wait's end: the packets
        // and their order are the same, so no deadline was late and none was lost by polling seldom.
        let (by_deadline, _) = play(Discipline::Datagram, seed, &steps);
        let mut link = Link::new(Discipline::Datagram, Conditions::default(), seed);
        let (mut now, mut number, mut seldom) = (Duration::ZERO, 0, Vec::new());
        for step in &steps {
            match step {
                Step::Send(bytes) => { number += 1; link.send(now, *bytes, number); }
                Step::Wait(micros) => {
                    now += Duration::from_micros(*micros);
                    while let Some(packet) = link.poll(now) { seldom.push(packet); }
                }
                Step::Set(conditions) => link.set(now, *conditions),
                Step::Schedule(after, conditions) => link.schedule(now + ms(*after), *conditions),
            }
        }
        let by_deadline: Vec<u64> = by_deadline.into_iter().map(|(_, packet)| packet).collect();
        prop_assert_eq!(by_deadline, seldom);
    }
}
