//! The rows of the table: for each, the scenario, what is measured and what must hold.

mod table;

use serde_json::{Map, Value, json};

use crate::record::Record;
use crate::scenario::Scenario;

pub use table::rows;

/// One row of the table.
pub struct Row {
    /// Its name, as in `N3-10`.
    pub name: &'static str,
    /// The link, in words.
    pub link: &'static str,
    /// What is played; where there are two, the first is what the second is compared with.
    pub scenarios: Vec<Scenario>,
    /// What is made of their records.
    pub measure: fn(&[Scenario], &[Record]) -> Figures,
    /// What must hold.
    pub holds: Vec<Hold>,
}

/// A bound of one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    /// The figure.
    pub figure: &'static str,
    /// How it is bounded.
    pub bound: Bound,
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// So much or less.
    AtMost(f64),
    /// So much or more.
    AtLeast(f64),
}

/// What was measured, by name; `None`: it never happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<(&'static str, Option<f64>)>);

impl Figures {
    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Option<f64>>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// The value of one; `None` where it was not measured or never happened.
    pub fn get(&self, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|(it, _)| *it == name);
        found.and_then(|(_, value)| *value)
    }

    /// All, in the order in which they were measured.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + '_ {
        self.0.iter().copied()
    }

    /// As fields of a JSON object, rounded to hundredths.
    pub fn json(&self) -> Map<String, Value> {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let fields = self.all();
        fields
            .map(|(name, value)| (name.to_owned(), json!(value.map(rounded))))
            .collect()
    }
}

impl Hold {
    /// Whether it holds. What never happened holds nothing.
    pub fn is_kept(&self, figures: &Figures) -> bool {
        match (self.bound, figures.get(self.figure)) {
            (_, None) => false,
            (Bound::AtMost(most), Some(value)) => value <= most,
            (Bound::AtLeast(least), Some(value)) => value >= least,
        }
    }
}

impl Row {
    /// What does not hold, in words.
    pub fn broken(&self, figures: &Figures) -> Vec<String> {
        let broken = self.holds.iter().filter(|hold| !hold.is_kept(figures));
        let words = broken.map(|hold| {
            let found = figures.get(hold.figure);
            let found = found.map_or("never".to_owned(), |value| format!("{value:.2}"));
            let (word, bound) = match hold.bound {
                Bound::AtMost(most) => ("at most", most),
                Bound::AtLeast(least) => ("at least", least),
            };
            format!("{} is {found}, must be {word} {bound}", hold.figure)
        });
        words.collect()
    }
}
