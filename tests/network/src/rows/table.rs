//! The table of the rows.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_client::synthetic::camera_shape;
use darktower_link::{Conditions, Loss, Queue};

use super::Bound::{AtLeast, AtMost};
use super::{Figures, Hold, Row};
use crate::measure::{
    Listening, Span, decodable_fps, delays, freezes, holds_from, layer_changes, listen,
    longest_silence, ms, next_picture, quantile, reaches, share, steps_down, waited,
};
use crate::record::{Person, Picture, Record, Said, Sound};
use crate::scenario::{Part, Path, Scenario, good, link};

/// The highest layer of the synthetic camera.
const TOP: u8 = 2;
/// Receivers come to a meeting that is under way.
const JOINS: Duration = Duration::from_secs(2);

const fn at_most(figure: &'static str, most: f64) -> Hold {
    let bound = AtMost(most);
    Hold { figure, bound }
}

const fn at_least(figure: &'static str, least: f64) -> Hold {
    let bound = AtLeast(least);
    Hold { figure, bound }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One speaker on a good link, and one who watches on the link of the row.
fn watched_over(path: Path, length: u64) -> Vec<Scenario> {
    vec![Scenario {
        length: seconds(length),
        cast: vec![Part::viewer(0, JOINS), Part::speaker(1)],
        links: vec![path, good()],
    }]
}

fn only<T>(of: &BTreeMap<u32, Vec<T>>) -> &[T] {
    of.values().next().map_or(&[], Vec::as_slice)
}

fn pictures(person: &Person) -> &[Picture] {
    only(&person.pictures)
}

fn sounds(person: &Person) -> &[Sound] {
    only(&person.sounds)
}

fn said(person: &Person) -> &[Said] {
    only(&person.said)
}

/// From the viewer's first picture (or when it joined) to the end.
fn watching(record: &Record) -> Span {
    let first = pictures(&record.people[0]).first();
    Span {
        from: first.map_or(JOINS, |picture| picture.at),
        to: record.length,
    }
}

/// What the viewer heard of the speaker, from a second after joining on, up to what
/// could not have been heard before the end.
fn heard(record: &Record) -> Listening {
    let span = Span {
        from: JOINS + seconds(1),
        to: record.length.saturating_sub(seconds(1)),
    };
    listen(said(&record.people[1]), sounds(&record.people[0]), span)
}

fn concealed_of(record: &Record) -> f64 {
    heard(record).concealed_percent()
}

/// How long after its session came up the viewer first got the top layer.
fn top_after(person: &Person) -> Option<f64> {
    let up = person.connected.first()?;
    reaches(pictures(person), TOP, *up).map(ms)
}

/// All rows, in order.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![n1(), n2()];
    rows.extend([
        n3("N3-1", "loss 1 %, 60 ms", 0.01, (27.0, 0.5)),
        n3("N3-5", "loss 5 %, 60 ms", 0.05, (24.0, 1.0)),
        n3("N3-10", "loss 10 %, 60 ms", 0.10, (18.0, 2.0)),
        n3("N3-20", "loss 20 %, 60 ms", 0.20, (10.0, 6.0)),
    ]);
    rows.extend([n4(), n5(), n6(), n7(), n8(), n9(), n10()]);
    rows
}

fn n1() -> Row {
    Row {
        name: "N1",
        link: "5 Mbit/s, 40 ms",
        scenarios: watched_over(Path::even(link(40, 5_000)), 12),
        measure: |_, records| {
            let (record, viewer) = (&records[0], &records[0].people[0]);
            let frozen = freezes(pictures(viewer), watching(record));
            Figures::default()
                .with("top_ms", top_after(viewer))
                .with("freezes", frozen.count as f64)
                .with("longest_gap_ms", ms(frozen.longest))
                .with("concealed_percent", concealed_of(record))
        },
        holds: vec![at_most("top_ms", 2000.0), at_most("freezes", 0.0)],
    }
}

/// When the link of N2 becomes narrow, and when it is wide again.
const NARROW: Duration = Duration::from_secs(12);
const WIDE: Duration = Duration::from_secs(22);

fn n2() -> Row {
    let (wide, narrow) = (link(40, 5_000), link(40, 600));
    let path = Path::even(wide)
        .then(NARROW, narrow, narrow)
        .then(WIDE, wide, wide);
    Row {
        name: "N2",
        link: "5 → 0.6 → 5 Mbit/s, 40 ms",
        scenarios: watched_over(path, 32),
        measure: |_, records| {
            let (record, viewer) = (&records[0], &records[0].people[0]);
            let seen = pictures(viewer);
            let lower = seen.iter().find(|it| it.at >= NARROW && it.layer < TOP);
            let down = lower.map(|picture| ms(picture.at - NARROW));
            let back = Span {
                from: WIDE,
                to: record.length,
            };
            let frozen = freezes(seen, watching(record));
            Figures::default()
                .with("down_ms", down)
                .with("frozen_ms", ms(frozen.total))
                .with("longest_gap_ms", ms(frozen.longest))
                .with("concealed_percent", concealed_of(record))
                .with("back_ms", holds_from(seen, TOP, back).map(ms))
                .with("top_before_ms", top_after(viewer))
        },
        holds: vec![
            at_most("down_ms", 1000.0),
            at_most("frozen_ms", 500.0),
            at_most("concealed_percent", 1.0),
            at_most("back_ms", 6000.0),
        ],
    }
}

fn losing(loss: f64) -> Conditions {
    Conditions {
        loss: Loss::Random(loss),
        ..link(60, 5_000)
    }
}

fn n3(name: &'static str, words: &'static str, loss: f64, (fps, concealed): (f64, f64)) -> Row {
    Row {
        name,
        link: words,
        scenarios: watched_over(Path::even(losing(loss)), 27),
        measure: |_, records| {
            let (record, viewer) = (&records[0], &records[0].people[0]);
            let settled = Span {
                from: seconds(6),
                to: record.length,
            };
            let seen = pictures(viewer);
            let frozen = freezes(seen, settled);
            let layers = seen.iter().filter(|it| it.at >= settled.from);
            let (count, sum) = layers.fold((0_u32, 0_u32), |(count, sum), it| {
                (count + 1, sum + u32::from(it.layer))
            });
            Figures::default()
                .with("fps", decodable_fps(seen, settled))
                .with("concealed_percent", concealed_of(record))
                .with("frozen_ms", ms(frozen.total))
                .with("mean_layer", f64::from(sum) / f64::from(count.max(1)))
        },
        holds: vec![
            at_least("fps", fps),
            at_most("concealed_percent", concealed),
        ],
    }
}

fn n4() -> Row {
    // 30 ms each way less half of the 60 ms that the jitter spans.
    let jittery = Conditions {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(60),
        ..link(0, 5_000)
    };
    Row {
        name: "N4",
        link: "FIFO jitter ± 30 ms, 5 Mbit/s",
        scenarios: watched_over(Path::even(jittery), 22),
        measure: |_, records| {
            let (record, viewer) = (&records[0], &records[0].people[0]);
            let seen = pictures(viewer);
            let top = seen.iter().find(|it| it.layer == TOP);
            let since_top = top.map(|first| Span {
                from: first.at,
                to: record.length,
            });
            let steps = since_top.map(|span| steps_down(seen, span) as f64);
            Figures::default()
                .with("steps_down", steps)
                .with("playout_ms", ms(heard(record).delay))
                .with("top_ms", top_after(viewer))
                .with("concealed_percent", concealed_of(record))
        },
        holds: vec![at_most("steps_down", 0.0), at_most("playout_ms", 150.0)],
    }
}

/// Ten receivers of one speaker; the first is on the link given.
fn ten(first: Path) -> Scenario {
    let mut cast: Vec<_> = (0..10).map(|at| Part::viewer(at, JOINS)).collect();
    cast.push(Part::speaker(10));
    let mut links = vec![good(); 11];
    links[0] = first;
    Scenario {
        length: seconds(17),
        cast,
        links,
    }
}

fn n5() -> Row {
    Row {
        name: "N5",
        link: "one of ten receivers on N3-20 %",
        scenarios: vec![ten(good()), ten(Path::even(losing(0.2)))],
        measure: |_, records| {
            let settled = Span {
                from: seconds(7),
                to: seconds(17),
            };
            let others = |record: &Record| record.people[1..10].to_vec();
            let p99 = |record: &Record| {
                let all = others(record).into_iter();
                let all = all.flat_map(|person| delays(pictures(&person), settled));
                quantile(all.collect(), 0.99)
            };
            let (alone, beside) = (p99(&records[0]), p99(&records[1]));
            let added = alone.zip(beside).map(|(alone, beside)| {
                100.0 * (beside.as_secs_f64() / alone.as_secs_f64().max(1e-6) - 1.0)
            });
            let changes: usize = others(&records[1])
                .iter()
                .map(|person| layer_changes(pictures(person), settled))
                .sum();
            let lowest = others(&records[1])
                .iter()
                .map(|person| {
                    let seen = pictures(person).iter().filter(|it| it.at >= settled.from);
                    seen.map(|it| it.layer).min().unwrap_or_default()
                })
                .min();
            Figures::default()
                .with("delay_added_percent", added)
                .with("layer_changes", changes as f64)
                .with("lowest_layer", lowest.map(f64::from))
                .with("delay_p99_ms", beside.map(ms))
                .with(
                    "fps_of_the_one",
                    decodable_fps(pictures(&records[1].people[0]), settled),
                )
        },
        holds: vec![
            at_most("delay_added_percent", 10.0),
            at_most("layer_changes", 0.0),
            at_least("lowest_layer", 2.0),
        ],
    }
}

/// Nine speakers of whom at most three speak at a time; the loudest ends at 13 s, and
/// another is the loudest from 14.5 s on.
fn nine() -> Scenario {
    let (ends, half) = (seconds(13), Duration::from_millis(14_500));
    let mut cast = vec![Part {
        shows: Some((640, 360)),
        joins: JOINS,
        ..Part::default()
    }];
    for at in 1..=9_u64 {
        let voice = match at {
            1 => vec![(seconds(0), Some(15)), (ends, None)],
            2 => vec![(seconds(0), Some(30))],
            3 => vec![(seconds(0), Some(34))],
            4 => vec![(seconds(0), None), (half, Some(15))],
            _ => vec![(seconds(0), None)],
        };
        cast.push(Part {
            voice: Some(voice),
            ..Part::speaker(at as usize)
        });
    }
    let mut links = vec![good(); 10];
    links[0] = Path::even(link(40, 300));
    Scenario {
        length: seconds(26),
        cast,
        links,
    }
}

fn n6() -> Row {
    Row {
        name: "N6",
        link: "300 kbit/s, nine publishers, 40 ms",
        scenarios: vec![nine()],
        measure: |_, records| {
            let record = &records[0];
            let viewer = &record.people[0];
            // The loudest of each half, once it has been found out who that is.
            let halves = [
                (1, Span::seconds(5.0, 13.0)),
                (4, Span::seconds(16.5, 25.0)),
            ];
            let active = halves.map(|(at, span)| {
                let track = crate::world::camera_track(at).0;
                let seen = viewer.pictures.get(&track).map_or(&[][..], Vec::as_slice);
                decodable_fps(seen, span)
            });
            let loud = [
                (1, Span::seconds(5.0, 12.9)),
                (2, Span::seconds(5.0, 25.0)),
                (3, Span::seconds(5.0, 25.0)),
                (4, Span::seconds(15.0, 25.0)),
            ];
            let worst = loud.map(|(at, span)| {
                let track = crate::world::microphone_track(at).0;
                let heard = viewer.sounds.get(&track).map_or(&[][..], Vec::as_slice);
                listen(said(&record.people[at]), heard, span).concealed_percent()
            });
            let shown = (1..=9).map(|at| crate::world::camera_track(at).0);
            let settled = Span::seconds(6.0, 25.0);
            // A picture that is neither seen nor said to be paused has starved.
            let told = viewer.paused.iter().flat_map(|(_, paused)| paused);
            let told: Vec<_> = told.copied().collect();
            let starved = shown.filter(|track| {
                let seen = viewer.pictures.get(track).map_or(&[][..], Vec::as_slice);
                decodable_fps(seen, settled) < 1.0 && !told.contains(track)
            });
            Figures::default()
                .with("active_fps", active.into_iter().reduce(f64::min))
                .with("concealed_percent", worst.into_iter().reduce(f64::max))
                .with("starved", starved.count() as f64)
                .with("sessions", viewer.connected.len() as f64)
        },
        holds: vec![
            at_least("active_fps", 7.0),
            at_most("concealed_percent", 2.0),
            at_most("starved", 0.0),
            at_most("sessions", 1.0),
        ],
    }
}

fn n7() -> Row {
    let (wide, narrow) = (link(40, 3_000), link(40, 400));
    let path = Path::even(wide).then(NARROW, narrow, wide);
    Row {
        name: "N7",
        link: "uplink 3 Mbit/s → 400 kbit/s, 40 ms",
        scenarios: vec![Scenario {
            length: seconds(24),
            cast: vec![Part::viewer(1, JOINS), Part::speaker(0)],
            links: vec![path, good()],
        }],
        measure: |_, records| {
            let record = &records[0];
            let (viewer, sender) = (&record.people[0], &record.people[1]);
            let after = Span {
                from: NARROW,
                to: record.length,
            };
            let heard = sounds(viewer);
            let gap = listen(said(sender), heard, after).gap;
            Figures::default()
                .with("sheds_ms", sheds(sender, NARROW, 400_000))
                .with("longest_gap_heard_ms", ms(gap))
                .with("longest_silence_ms", ms(longest_silence(heard, after)))
                .with("concealed_percent", concealed_of(record))
                .with(
                    "frozen_ms",
                    ms(freezes(pictures(viewer), watching(record)).total),
                )
                .with("fps_after", decodable_fps(pictures(viewer), after))
        },
        holds: vec![
            at_most("sheds_ms", 1000.0),
            at_most("longest_gap_heard_ms", 200.0),
        ],
    }
}

/// How long after `from` all layers together are set to no more than `bps`.
fn sheds(sender: &Person, from: Duration, bps: u64) -> Option<f64> {
    let mut targets = vec![0; camera_shape().layers.len()];
    for setting in &sender.encode {
        targets[usize::from(setting.layer)] = setting.bps.unwrap_or(0);
        if setting.at >= from && targets.iter().sum::<u64>() <= bps {
            return Some(ms(setting.at - from));
        }
    }
    None
}

fn n8() -> Row {
    let deep = Conditions {
        queue: Queue::Time(seconds(1)),
        ..link(40, 1_000)
    };
    Row {
        name: "N8",
        link: "1 Mbit/s, queue 1 s deep, 40 ms",
        scenarios: watched_over(Path::even(deep), 22),
        measure: |_, records| {
            let record = &records[0];
            let settled = Span {
                from: seconds(6),
                to: record.length,
            };
            let queue = waited(&record.queues[1], settled);
            let viewer = &record.people[0];
            Figures::default()
                .with("queue_p95_ms", quantile(queue.clone(), 0.95).map(ms))
                .with("queue_p50_ms", quantile(queue, 0.5).map(ms))
                .with("fps", decodable_fps(pictures(viewer), settled))
                .with("concealed_percent", concealed_of(record))
        },
        holds: vec![at_most("queue_p95_ms", 200.0)],
    }
}

/// The two seconds of N9 in which nothing passes.
const DARK: Duration = Duration::from_secs(10);
const LIGHT: Duration = Duration::from_secs(12);

fn n9() -> Row {
    let light = link(40, 5_000);
    let dark = Conditions {
        blackout: true,
        ..light
    };
    let path = Path::even(light)
        .then(DARK, dark, dark)
        .then(LIGHT, light, light);
    Row {
        name: "N9",
        link: "2 s blackout, 5 Mbit/s, 40 ms",
        scenarios: watched_over(path, 20),
        measure: |_, records| {
            let viewer = &records[0].people[0];
            let heard = sounds(viewer).iter().find(|it| it.at >= LIGHT);
            Figures::default()
                .with("sessions", viewer.connected.len() as f64)
                .with("picture_ms", next_picture(pictures(viewer), LIGHT).map(ms))
                .with("sound_ms", heard.map(|it| ms(it.at - LIGHT)))
        },
        holds: vec![at_most("sessions", 1.0), at_most("picture_ms", 1000.0)],
    }
}

fn n10() -> Row {
    let mut links = vec![Path::even(link(40, 2_000)), good(), good()];
    links.truncate(3);
    Row {
        name: "N10",
        link: "two receivers behind one 2 Mbit/s link, 40 ms",
        scenarios: vec![Scenario {
            length: seconds(32),
            cast: vec![
                Part::viewer(0, JOINS),
                // The second comes when the first has spread out.
                Part::viewer(0, JOINS + seconds(4)),
                Part::speaker(1),
                Part::speaker(2),
            ],
            links,
        }],
        measure: |_, records| {
            let record = &records[0];
            let settled = Span {
                from: seconds(12),
                to: record.length,
            };
            let (one, other) = (&record.people[0], &record.people[1]);
            let fps = [one, other].map(|it| decodable_fps(pictures(it), settled));
            Figures::default()
                .with(
                    "larger_share_percent",
                    share(&one.bytes, &other.bytes, settled),
                )
                .with("fps", fps.into_iter().reduce(f64::min))
        },
        holds: vec![at_most("larger_share_percent", 60.0), at_least("fps", 10.0)],
    }
}
