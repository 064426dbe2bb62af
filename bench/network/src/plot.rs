//! Curves of a row as a picture: what the path carried, was believed to carry (or what the
//! sender behind it may make), which layer came, and how long packets waited.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use darktower_network::record::{Record, Sample, Setting};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 36.0;

/// A time in seconds, and what was then.
type Point = (f64, f64);

struct Curve {
    colour: &'static str,
    name: &'static str,
    points: Vec<Point>,
}

struct Panel {
    title: &'static str,
    most: f64,
    curves: Vec<Curve>,
}

fn curve(colour: &'static str, name: &'static str, points: Vec<Point>) -> Curve {
    Curve {
        colour,
        name,
        points,
    }
}

/// An SVG of the first participant's downlink, or of the uplink of the one with this number.
pub(crate) fn svg(title: &str, record: &Record, sender: Option<usize>) -> String {
    let length = record.length.as_secs_f64().max(0.1);
    let samples = record.people.first().map_or(&[][..], |it| &it.curve);
    let of = |value: fn(&Sample) -> f64| -> Vec<_> {
        let points = samples.iter().map(|it| (it.at.as_secs_f64(), value(it)));
        points.filter(|(at, _)| *at <= length).collect()
    };
    let sender = sender.and_then(|number| record.people.get(number));
    let (aim, limit) = match sender {
        Some(sender) => ("may make", targets(&sender.encode, length)),
        None => ("estimate", of(|it| it.estimate_bps as f64 / 1000.0)),
    };
    let rate = of(|it| it.rate_bps as f64 / 1000.0);
    let layer = of(|it| it.layer.map_or(-1.0, f64::from));
    // The row's link is the first: upwards, downwards.
    let way = usize::from(sender.is_none());
    let waited = record.queues.get(way);
    let waited = waited.map_or(Vec::new(), |queue| longest(queue));
    let most = |curves: &[&[Point]]| {
        let values = curves.iter().flat_map(|it| it.iter());
        values.map(|(_, value)| *value).fold(1.0, f64::max)
    };
    let panels = [
        Panel {
            title: "kbit/s",
            most: most(&[&limit, &rate]),
            curves: vec![curve("#888", "came", rate), curve("#c33", aim, limit)],
        },
        Panel {
            title: "layer",
            most: 2.2,
            curves: vec![curve("#36c", "layer", layer)],
        },
        Panel {
            title: "queue, ms",
            most: most(&[&waited]),
            curves: vec![curve("#393", "longest wait in 100 ms", waited)],
        },
    ];
    let height = panels.len() as f64 * (PANEL + GAP) + GAP;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{:.0}" height="{height:.0}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="18" font-size="14">{}</text>"#,
        WIDTH + LEFT + 20.0,
        escaped(title)
    );
    for (number, panel) in panels.iter().enumerate() {
        let top = GAP + number as f64 * (PANEL + GAP);
        draw(&mut out, panel, top, length);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel, top: f64, length: f64) {
    let (bottom, right) = (top + PANEL, LEFT + WIDTH);
    let _ = write!(
        out,
        r##"<path d="M{LEFT} {top}V{bottom}H{right}" fill="none" stroke="#000"/><text x="4" y="{:.0}">{}</text><text x="{:.0}" y="{:.0}" text-anchor="end">{:.0}</text>"##,
        top + PANEL / 2.0,
        panel.title,
        LEFT - 4.0,
        top + 10.0,
        panel.most
    );
    let mut second = 0.0;
    while second <= length {
        let x = LEFT + WIDTH * second / length;
        let _ = write!(
            out,
            r##"<path d="M{x:.1} {bottom}v4" stroke="#000"/><text x="{x:.1}" y="{:.0}" text-anchor="middle">{second:.0} s</text>"##,
            bottom + 16.0
        );
        second += if length > 20.0 { 4.0 } else { 2.0 };
    }
    for (at, curve) in panel.curves.iter().enumerate() {
        let (colour, name) = (curve.colour, curve.name);
        let place = |(time, value): &Point| {
            let x = LEFT + WIDTH * time / length;
            let y = bottom - PANEL * (value / panel.most).clamp(-0.05, 1.0);
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<_> = curve.points.iter().map(place).collect();
        let _ = write!(
            out,
            r#"<polyline fill="none" stroke="{colour}" points="{}"/><text x="{:.0}" y="{:.0}" fill="{colour}">{name}</text>"#,
            points.join(" "),
            LEFT + 8.0 + 90.0 * at as f64,
            top + 10.0
        );
    }
}

/// What all layers of a camera together may make, in kbit/s: a step at each setting.
fn targets(settings: &[Setting], length: f64) -> Vec<Point> {
    let mut layers = BTreeMap::new();
    let (mut sum, mut points) = (0.0, Vec::new());
    for Setting { at, layer, bps } in settings {
        points.push((at.as_secs_f64(), sum));
        layers.insert(layer, bps.unwrap_or(0));
        sum = layers.values().sum::<u64>() as f64 / 1000.0;
        points.push((at.as_secs_f64(), sum));
    }
    points.push((length, sum));
    points
}

/// The longest wait of each tenth of a second, in milliseconds.
fn longest(queue: &[(Duration, Duration)]) -> Vec<Point> {
    let mut tenths = BTreeMap::new();
    for (at, waited) in queue {
        let longest: &mut f64 = tenths.entry(at.as_millis() / 100).or_default();
        *longest = longest.max(waited.as_secs_f64() * 1000.0);
    }
    let points = tenths.into_iter();
    points
        .map(|(tenth, ms)| (tenth as f64 / 10.0, ms))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
