//! What was seen.

use std::time::Duration;

use super::Span;
use crate::record::Picture;

/// A gap between two decodable pictures that somebody notices.
const FREEZE: Duration = Duration::from_millis(200);

/// Gaps above 200 ms between pictures that a decoder got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freezes {
    /// How many.
    pub count: usize,
    /// All of them together, each counted whole.
    pub total: Duration,
    /// The longest gap, noticed or not.
    pub longest: Duration,
}

/// Freezes in a span, in which the track is shown all the time: gaps count where they
/// reach into the span, and the time before and after its pictures counts too.
pub fn freezes(pictures: &[Picture], span: Span) -> Freezes {
    let inside = pictures.iter().map(|picture| picture.at);
    let inside = inside.filter(|at| span.holds(*at));
    let mut last = span.from;
    let mut found = Freezes::default();
    for at in inside.chain([span.to]) {
        let gap = at.saturating_sub(last);
        found.longest = found.longest.max(gap);
        if gap > FREEZE {
            found.count += 1;
            found.total += gap;
        }
        last = at;
    }
    found
}

/// Decodable pictures a second.
pub fn decodable_fps(pictures: &[Picture], span: Span) -> f64 {
    let inside = pictures.iter().filter(|picture| span.holds(picture.at));
    let seconds = span.length().as_secs_f64();
    if seconds > 0.0 {
        inside.count() as f64 / seconds
    } else {
        0.0
    }
}

/// How long after `from` a picture of the layer first comes.
pub fn reaches(pictures: &[Picture], layer: u8, from: Duration) -> Option<Duration> {
    let found = pictures
        .iter()
        .find(|it| it.at >= from && it.layer >= layer);
    found.map(|picture| picture.at - from)
}

/// How long after `from` pictures are of this layer or above, and remain so until `to`.
pub fn holds_from(pictures: &[Picture], layer: u8, span: Span) -> Option<Duration> {
    let inside: Vec<_> = pictures.iter().filter(|it| span.holds(it.at)).collect();
    let below = inside.iter().rposition(|it| it.layer < layer);
    let first = below.map_or(0, |at| at + 1);
    inside.get(first).map(|it| it.at - span.from)
}

/// How long after `from` the next picture comes.
pub fn next_picture(pictures: &[Picture], from: Duration) -> Option<Duration> {
    let found = pictures.iter().find(|it| it.at >= from);
    found.map(|picture| picture.at - from)
}

/// How often the layer changes in a span.
pub fn layer_changes(pictures: &[Picture], span: Span) -> usize {
    changes(pictures, span, |before, after| before != after)
}

/// How often it becomes a smaller one.
pub fn steps_down(pictures: &[Picture], span: Span) -> usize {
    changes(pictures, span, |before, after| after < before)
}

fn changes(pictures: &[Picture], span: Span, counts: fn(u8, u8) -> bool) -> usize {
    let inside: Vec<_> = pictures.iter().filter(|it| span.holds(it.at)).collect();
    let pairs = inside.windows(2);
    let pairs = pairs.filter(|pair| counts(pair[0].layer, pair[1].layer));
    pairs.count()
}

/// From capture to decoder, of each picture.
pub fn delays(pictures: &[Picture], span: Span) -> Vec<Duration> {
    let inside = pictures.iter().filter(|picture| span.holds(picture.at));
    inside
        .map(|picture| picture.at.saturating_sub(picture.captured))
        .collect()
}
