//! SHA-256, and what a key epoch is known by besides its number.

use bytes::Bytes;
use darktower_wire::mls;
use darktower_wire::signal::KeyCommit;
use sha2::{Digest, Sha256};

pub(crate) fn sha256(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(bytes))
}

/// Of the epoch that `commit` leads to: of its bytes, or of the new group's id where it founds one.
pub(crate) fn leads_to(commit: &KeyCommit) -> Bytes {
    match commit.founding {
        // One that cannot be read is not taken by a controller either.
        true => sha256(mls::group_info_frame(&commit.group_info).map_or(&[], |(group, _)| group)),
        false => sha256(&commit.commit),
    }
}
