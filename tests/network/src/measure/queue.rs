//! What the link was used for.

use std::time::Duration;

use super::Span;

/// How long the packets waited that arrived in the span.
pub fn waited(queue: &[(Duration, Duration)], span: Span) -> Vec<Duration> {
    let inside = queue.iter().filter(|(at, _)| span.holds(*at));
    inside.map(|(_, waited)| *waited).collect()
}

/// The larger part of what two got in the span, in percent of both.
pub fn share(one: &[(Duration, u64)], other: &[(Duration, u64)], span: Span) -> f64 {
    let sum = |bytes: &[(Duration, u64)]| -> u64 {
        let inside = bytes.iter().filter(|(at, _)| span.holds(*at));
        inside.map(|(_, bytes)| bytes).sum()
    };
    let (one, other) = (sum(one), sum(other));
    100.0 * one.max(other) as f64 / (one + other).max(1) as f64
}
