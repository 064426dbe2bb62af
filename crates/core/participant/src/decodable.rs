//! What all the others decode, and so what is worth encoding.
//!
//! A browser tells what it decodes only once it has asked itself, which may be after its first picture. Who has said
//! nothing is waited for: publishers that changed their codec for each newcomer would change it twice in a second. And
//! who never says anything is not left without a picture.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use darktower_wire::ids::ParticipantId;

/// What somebody decodes who says nothing.
const ASSUMED: &str = "vp8";
/// For so long nobody changes anything for somebody who has not said what it decodes: a page that waits for a picture
/// before it asks its browser does so for a second at most, and the answer comes over a slow machine and network.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than before is believed after so long, and while nobody is waited for: who comes and goes does not change
/// everybody's codec each time.
const CALM: Duration = Duration::from_secs(5);

/// What one of the others decodes.
#[derive(Debug, PartialEq)]
enum Said {
    /// These codec strings.
    These(Vec<String>),
    /// Nothing yet; waited for until then.
    Nothing { until: Duration },
    /// Nothing for too long.
    Assumed,
}

/// Families of codecs ("vp8", "vp09", "av01", "avc1") that all the others decode.
#[derive(Debug, Default)]
pub(crate) struct Decodable {
    others: BTreeMap<ParticipantId, Said>,
    /// `None`: nobody sets a bound.
    families: Option<BTreeSet<String>>,
    /// More than [`Self::families`] since then.
    more_since: Option<Duration>,
}

impl Decodable {
    /// The families; `None` where anything will do.
    pub(crate) fn families(&self) -> Option<&BTreeSet<String>> {
        self.families.as_ref()
    }

    /// The others, with the codec strings that each of them says it decodes.
    pub(crate) fn follow(
        &mut self,
        now: Duration,
        others: impl Iterator<Item = (ParticipantId, Vec<String>)>,
    ) {
        let mut before = std::mem::take(&mut self.others);
        let others = others.map(|(id, list)| {
            let said = match (list.is_empty(), before.remove(&id)) {
                (false, _) => Said::These(list),
                (true, Some(waited @ (Said::Nothing { .. } | Said::Assumed))) => waited,
                (true, _) => Said::Nothing {
                    until: now + PATIENCE,
                },
            };
            (id, said)
        });
        self.others = others.collect();
        self.review(now);
    }

    /// Whatever the time demands. Whether anything is different now.
    pub(crate) fn review(&mut self, now: Duration) -> bool {
        for said in self.others.values_mut() {
            if matches!(said, Said::Nothing { until } if *until <= now) {
                *said = Said::Assumed;
            }
        }
        let all = self.all_decode();
        if all == self.families {
            self.more_since = None;
            return false;
        }
        let is_less = match (&self.families, &all) {
            (Some(before), Some(all)) => !before.is_subset(all),
            (before, _) => before.is_none(),
        };
        let since = *self.more_since.get_or_insert(now);
        if !is_less && (now < since + CALM || self.waited_for().is_some()) {
            return false;
        }
        self.more_since = None;
        self.families = all;
        true
    }

    /// Call [`Decodable::review`] no later than this.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let calm = self.more_since.map(|since| since + CALM);
        self.waited_for().or(calm)
    }

    /// Until when somebody is waited for, where somebody is.
    fn waited_for(&self) -> Option<Duration> {
        let waited = self.others.values().filter_map(|said| match said {
            Said::Nothing { until } => Some(*until),
            Said::These(_) | Said::Assumed => None,
        });
        waited.min()
    }

    fn all_decode(&self) -> Option<BTreeSet<String>> {
        let lists = self.others.values().filter_map(|said| match said {
            Said::These(list) => Some(list.iter().map(|codec| family(codec)).collect()),
            Said::Assumed => Some(BTreeSet::from([ASSUMED])),
            Said::Nothing { .. } => None,
        });
        let all = lists.reduce(|all: BTreeSet<&str>, list| &all & &list)?;
        Some(all.into_iter().map(str::to_owned).collect())
    }
}

/// Profile and level set apart.
fn family(codec: &str) -> &str {
    codec.split('.').next().unwrap_or(codec)
}

#[cfg(test)]
mod tests;
