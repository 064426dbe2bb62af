use std::time::Duration;

use super::*;
use crate::record::{Picture, Said, Sound};

fn ms_of(at: u64) -> Duration {
    Duration::from_millis(at)
}

fn picture(at: u64, layer: u8) -> Picture {
    Picture {
        at: ms_of(at),
        captured: ms_of(at.saturating_sub(30)),
        layer,
        temporal: 0,
        key: false,
        bytes: 1000,
    }
}

#[test]
fn only_gaps_above_the_limit_are_freezes_and_they_count_whole() {
    let pictures = [
        picture(0, 0),
        picture(200, 0),
        picture(401, 0),
        picture(900, 0),
    ];
    let found = freezes(&pictures, Span::seconds(0.0, 1.0));
    assert_eq!(found.count, 2);
    assert_eq!(found.total, ms_of(201 + 499));
    assert_eq!(found.longest, ms_of(499));
}

#[test]
fn no_picture_at_all_is_one_freeze() {
    let found = freezes(&[], Span::seconds(1.0, 3.0));
    assert_eq!((found.count, found.total), (1, ms_of(2000)));
}

#[test]
fn reaching_a_layer_and_staying_on_it_are_two_things() {
    let pictures = [
        picture(100, 1),
        picture(200, 2),
        picture(300, 1),
        picture(400, 2),
    ];
    let span = Span::seconds(0.0, 1.0);
    assert_eq!(reaches(&pictures, 2, Duration::ZERO), Some(ms_of(200)));
    assert_eq!(holds_from(&pictures, 2, span), Some(ms_of(400)));
    assert_eq!(holds_from(&pictures[..3], 2, span), None);
    assert_eq!(layer_changes(&pictures, span), 3);
    assert_eq!(steps_down(&pictures, span), 1);
    assert_eq!(decodable_fps(&pictures, span), 4.0);
}

/// Packets of a voice, each 30 ms later, but for those whose delay is given otherwise;
/// `None` never comes.
fn voice(late: impl Fn(u64) -> Option<u64>) -> (Vec<Said>, Vec<Sound>) {
    let captured = |counter| ms_of(20 * counter);
    let said = (0..500).map(|counter| Said {
        captured: captured(counter),
        counter,
        voice: counter < 490,
    });
    let heard = (0..500).filter_map(|counter| {
        Some(Sound {
            at: captured(counter) + ms_of(30 + late(counter)?),
            captured: captured(counter),
            counter,
        })
    });
    (said.collect(), heard.collect())
}

#[test]
fn what_never_comes_is_concealed() {
    let (said, heard) = voice(|counter| (counter % 100 != 50).then_some(0));
    let found = listen(&said, &heard, Span::seconds(0.0, 10.0));
    assert_eq!(found.said, ms_of(490 * 20));
    assert_eq!(found.missed, ms_of(5 * 20));
    assert!((1.0..1.6).contains(&found.concealed_percent()), "{found:?}");
}

#[test]
fn what_comes_late_costs_delay_and_once_what_the_delay_was_short_of() {
    let late = |counter: u64| if counter >= 200 { 100 } else { 0 };
    let (said, heard) = voice(|counter| Some(late(counter)));
    let found = listen(&said, &heard, Span::seconds(0.0, 10.0));
    assert!((100..150).contains(&found.delay.as_millis()), "{found:?}");
    assert!((0.5..1.5).contains(&found.concealed_percent()), "{found:?}");
}

#[test]
fn a_silence_is_as_long_as_nothing_comes() {
    let (_, heard) = voice(|counter| (!(100..110).contains(&counter)).then_some(0));
    let span = Span::seconds(1.0, 5.0);
    assert_eq!(longest_silence(&heard, span), ms_of(220));
}

#[test]
fn a_gap_is_heard_as_long_as_nothing_of_it_is_played() {
    let (said, heard) = voice(|counter| (!(100..110).contains(&counter)).then_some(0));
    let found = listen(&said, &heard, Span::seconds(1.0, 5.0));
    assert!((180..=220).contains(&found.gap.as_millis()), "{found:?}");
    let (said, heard) = voice(|_| Some(0));
    let found = listen(&said, &heard, Span::seconds(1.0, 5.0));
    assert_eq!(found.gap, Duration::ZERO);
}

#[test]
fn the_larger_share_counts() {
    let bytes = |each: u64| vec![(ms_of(100), each), (ms_of(200), each)];
    let span = Span::seconds(0.0, 1.0);
    assert_eq!(share(&bytes(30), &bytes(10), span), 75.0);
    assert_eq!(share(&bytes(0), &bytes(0), span), 0.0);
}

#[test]
fn quantiles_are_values_that_occurred() {
    let values = (1..=100).map(ms_of).collect::<Vec<_>>();
    assert_eq!(quantile(values.clone(), 0.99), Some(ms_of(99)));
    assert_eq!(quantile(values, 0.0), Some(ms_of(1)));
    assert_eq!(quantile(Vec::new(), 0.5), None);
}
