//! When a meeting may be taken from its owner.

use darktower_placement::{Answer, Claim, claim};
use darktower_wire::ids::NodeId;

const OWNER: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);

#[test]
fn only_who_is_gone_loses_its_meetings() {
    let said = |node, holds| Answer::Said { node, holds };
    let rows = [
        (true, said(OWNER, true), Claim::GoThere),
        // It answers, so what the registry lacks is the registry's fault.
        (false, said(OWNER, true), Claim::GoThere),
        (true, said(OWNER, false), Claim::Wait),
        // Started anew at the old address.
        (true, said(OTHER, false), Claim::Take),
        (true, said(OTHER, true), Claim::Take),
        (true, Answer::Refused, Claim::Take),
        (true, Answer::Silent, Claim::Wait),
        (false, Answer::Silent, Claim::Take),
    ];
    for (is_registered, answer, wanted) in rows {
        assert_eq!(
            claim(OWNER, is_registered, answer),
            wanted,
            "{is_registered} {answer:?}"
        );
    }
}
