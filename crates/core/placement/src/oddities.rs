//! What other nodes say of themselves that an operator should hear of.

use core::fmt;
use std::collections::BTreeSet;

use darktower_wire::ids::NodeId;

use crate::MOST_CAPACITY;

/// What is odd about a node. Its text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// It runs a release that is neither this one, nor an older one, nor the next.
    Release,
    /// It claims to take more than any machine does.
    Capacity,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release => f.write_str(
                "it runs a release that is unknown here; releases work together with the one before them: update this \
                 process, or take that one back",
            ),
            Self::Capacity => write!(
                f,
                "it claims to take more than {MOST_CAPACITY}, and is placed on as if it did not say: correct its \
                 `capacity` and start it again",
            ),
        }
    }
}

/// The oddities that were told of, each once as long as its node is there.
#[derive(Debug, Default)]
pub struct Oddities {
    told: BTreeSet<(NodeId, Oddity)>,
}

impl Oddities {
    /// These nodes are there, with the version and the capacity that they name; `own` is the version of the one who
    /// looks. What is new among their oddities.
    pub fn look<'a>(
        &mut self,
        own: &str,
        nodes: impl IntoIterator<Item = (NodeId, &'a str, u32)>,
    ) -> Vec<(NodeId, Oddity)> {
        let mut seen = BTreeSet::new();
        for (id, version, capacity) in nodes {
            if !is_known(own, version) {
                seen.insert((id, Oddity::Release));
            }
            if capacity > MOST_CAPACITY {
                seen.insert((id, Oddity::Capacity));
            }
        }
        let new = seen.difference(&self.told).copied().collect();
        self.told = seen;
        new
    }
}

/// Whether a node of version `theirs` works together with one of version `own`, as far as `own` can know. A next release
/// is one minor version on, or the first of the next major.
fn is_known(own: &str, theirs: &str) -> bool {
    let (Some((major, minor)), Some(theirs)) = (release(own), release(theirs)) else {
        return false;
    };
    let next = [
        (major, minor.saturating_add(1)),
        (major.saturating_add(1), 0),
    ];
    theirs <= (major, minor) || next.contains(&theirs)
}

/// Major and minor version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 16]);
    const B: NodeId = NodeId([2; 16]);

    #[test]
    fn a_release_is_known_up_to_the_next() {
        for known in [
            "1.4.0",
            "1.4.9",
            "1.5.0-rc.1",
            "1.5.3",
            "2.0.0",
            "1.3.0",
            "0.9.0",
        ] {
            assert!(is_known("1.4.2", known), "{known}");
        }
        for unknown in [
            "1.6.0",
            "2.1.0",
            "99.0.0",
            "",
            "1",
            "new",
            "1.-1",
            "99999999999.0",
        ] {
            assert!(!is_known("1.4.2", unknown), "{unknown}");
        }
    }

    #[test]
    fn what_is_odd_is_told_once_for_each_node_with_what_to_do() {
        let mut oddities = Oddities::default();
        let mut look =
            |nodes: &[(NodeId, &str, u32)]| oddities.look("0.1.0", nodes.iter().copied());
        let well = (A, "0.2.0", MOST_CAPACITY);
        assert!(look(&[well]).is_empty());
        let future = (B, "99.0.0", 8000);
        assert_eq!(look(&[well, future]), [(B, Oddity::Release)]);
        assert!(look(&[well, future]).is_empty(), "once");
        let boastful = (B, "99.0.0", u32::MAX);
        assert_eq!(look(&[well, boastful]), [(B, Oddity::Capacity)]);
        assert!(look(&[well]).is_empty());
        assert_eq!(
            look(&[well, future]),
            [(B, Oddity::Release)],
            "it came again"
        );
        assert!(Oddity::Release.to_string().contains("update this process"));
        assert!(
            Oddity::Capacity
                .to_string()
                .contains("correct its `capacity`")
        );
    }
}
