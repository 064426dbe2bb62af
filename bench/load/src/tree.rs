//! One join as a tree of spans: the client's steps, and under each what the services did for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::spans::Span;

/// A step of the client, in milliseconds since the click.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Step {
    /// What it is.
    pub name: String,
    /// The span id that the client told the services; empty where it told none, or it is not known.
    #[serde(default)]
    pub span: String,
    /// From then.
    pub began_ms: f64,
    /// Until then.
    pub ended_ms: f64,
}

/// One join.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Join {
    /// Which one it is.
    pub title: String,
    /// Its trace id.
    pub trace: String,
    /// The click, in milliseconds of Unix time.
    pub click_unix_ms: f64,
    /// From the click to the first frame.
    pub total_ms: f64,
    /// The client's steps.
    pub steps: Vec<Step>,
}

struct Line<'a> {
    id: &'a str,
    name: String,
    component: &'a str,
    began_ms: f64,
    ended_ms: f64,
}

/// The tree: offsets since the click and durations, in milliseconds. A span that hangs on one of the client's steps, or on
/// another span, stands under it; one whose parent is not known stands beside the steps. What began after the first frame
/// does not explain it and is left out; what goes on after it, as sessions do, is said to be open.
pub fn render(join: &Join, spans: &[Span]) -> String {
    let steps = join.steps.iter().map(|step| {
        let line = Line {
            id: &step.span,
            name: step.name.clone(),
            component: "client",
            began_ms: step.began_ms,
            ended_ms: step.ended_ms,
        };
        (line, "")
    });
    let spans = spans.iter().map(|span| {
        let since = |ns: u64| ns as f64 / 1e6 - join.click_unix_ms;
        let line = Line {
            id: &span.id,
            name: format!("{} {}", span.name, span.about)
                .trim_end()
                .to_owned(),
            component: &span.component,
            began_ms: since(span.began_ns),
            ended_ms: since(span.ended_ns),
        };
        (line, span.parent.as_str())
    });
    let mut lines: Vec<_> = steps
        .chain(spans)
        .filter(|(line, _)| line.began_ms <= join.total_ms)
        .collect();
    lines.sort_by(|(one, _), (other, _)| one.began_ms.total_cmp(&other.began_ms));
    let known: BTreeSet<&str> = lines.iter().map(|(line, _)| line.id).collect();
    let mut under: BTreeMap<&str, Vec<Line<'_>>> = BTreeMap::new();
    for (line, parent) in lines {
        let is_known = !parent.is_empty() && parent != line.id && known.contains(parent);
        let parent = if is_known { parent } else { "" };
        under.entry(parent).or_default().push(line);
    }
    let mut text = format!("{}, trace {}\n   at ms  took ms\n", join.title, join.trace);
    let root = Line {
        id: "",
        name: "click to first frame".to_owned(),
        component: "client",
        began_ms: 0.0,
        ended_ms: join.total_ms,
    };
    write_line(&mut text, &root, 0, join.total_ms);
    write_under(&mut text, "", 1, &mut under, join.total_ms);
    text
}

fn write_under<'a>(
    text: &mut String,
    parent: &'a str,
    depth: usize,
    under: &mut BTreeMap<&'a str, Vec<Line<'a>>>,
    total_ms: f64,
) {
    for line in under.remove(parent).unwrap_or_default() {
        write_line(text, &line, depth, total_ms);
        if !line.id.is_empty() {
            write_under(text, line.id, depth + 1, under, total_ms);
        }
    }
}

fn write_line(text: &mut String, line: &Line<'_>, depth: usize, total_ms: f64) {
    let took = match line.ended_ms > total_ms {
        true => "open".to_owned(),
        false => format!("{:.1}", line.ended_ms - line.began_ms),
    };
    let name = format!("{:indent$}{}", "", line.name, indent = 2 * depth);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{:>8.1} {took:>8}  {name:<58} {}",
        line.began_ms, line.component
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, span: &str, began_ms: f64, ended_ms: f64) -> Step {
        Step {
            name: name.into(),
            span: span.into(),
            began_ms,
            ended_ms,
        }
    }

    fn span(id: &str, parent: &str, name: &str, began_ms: u64, ended_ms: u64) -> Span {
        Span {
            id: id.into(),
            parent: parent.into(),
            name: name.into(),
            component: "meeting-controller".into(),
            about: String::new(),
            began_ns: (1_000 + began_ms) * 1_000_000,
            ended_ns: (1_000 + ended_ms) * 1_000_000,
        }
    }

    fn join() -> Join {
        Join {
            title: "native-cold at 40 ms".into(),
            trace: "0af7".into(),
            click_unix_ms: 1_000.0,
            total_ms: 100.0,
            steps: vec![
                step("lookup", "s1", 0.0, 40.0),
                step("links", "s2", 40.0, 90.0),
            ],
        }
    }

    #[test]
    fn spans_stand_under_what_caused_them_in_the_order_of_time() {
        let spans = [
            span("d", "r", "describe", 21, 22),
            span("x", "gone", "media session", 70, 900),
            span("r", "s1", "http_request", 20, 23),
            span("s", "s2", "session", 60, 900),
            span("l", "s", "leave", 500, 501),
        ];
        let text = render(&join(), &spans);
        let names: Vec<_> = text.lines().skip(2).map(|line| line[19..].trim()).collect();
        let expected = [
            "click to first frame                                       client",
            "lookup                                                   client",
            "http_request                                           meeting-controller",
            "describe                                             meeting-controller",
            "links                                                    client",
            "session                                                meeting-controller",
            "media session                                            meeting-controller",
        ];
        assert_eq!(names, expected, "{text}");
        let describe = "    21.0      1.0        describe ";
        assert!(text.contains(describe), "{text}");
        assert!(text.contains("    60.0     open      session "), "{text}");
    }

    #[test]
    fn spans_that_hang_on_one_another_in_a_circle_do_no_harm() {
        let spans = [
            span("a", "b", "one", 1, 2),
            span("b", "a", "other", 1, 2),
            span("c", "c", "itself", 1, 2),
        ];
        let text = render(&join(), &spans);
        assert!(text.contains("itself"), "{text}");
        assert!(!text.contains("other"), "{text}");
    }
}
