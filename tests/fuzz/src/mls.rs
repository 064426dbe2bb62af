//! The clear frame of key agreement, as a controller reads it, and the whole of it, as a newcomer does.

use darktower_e2ee::{Group, Identity};
use darktower_wire::ids::ParticipantId;
use darktower_wire::mls;

/// Reads `data` as a commit and as public state, and tries to join by it.
pub fn run(data: &[u8]) {
    let frame = mls::commit_frame(data);
    if let Ok(leaves) = mls::removed_leaves(data) {
        assert!(frame.is_ok(), "leaves of no commit");
        assert!(leaves.len() * 7 <= data.len(), "more than fit");
    }
    if let Ok((group, _)) = mls::group_info_frame(data) {
        assert!(group.len() <= data.len(), "longer than what it is in");
        // A new identity costs a key pair: only where it may lead somewhere.
        if let Ok(identity) = Identity::new(ParticipantId([3; 16])) {
            let _ = Group::join(identity, data, None, 0);
        }
    }
}
