//! The clear frame of an MLS message (RFC 9420, section 6): what a controller
//! needs to order commits, and nothing it would need a key for.

use crate::varint::{DecodeError, Reader};

const VERSION_MLS10: u16 = 1;
const WIRE_FORMAT_PUBLIC_MESSAGE: u16 = 1;
const WIRE_FORMAT_GROUP_INFO: u16 = 4;
const SENDER_MEMBER: u8 = 1;
const SENDER_NEW_MEMBER_COMMIT: u8 = 4;
const CONTENT_COMMIT: u8 = 3;
const PROPOSAL_BY_VALUE: u8 = 1;
const PROPOSAL_REMOVE: u16 = 3;
const MAX_FIELD: u64 = 1 << 20;

/// Who made a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committer {
    /// The member on this leaf.
    Member(u32),
    /// Somebody who joins by this very commit.
    Newcomer,
}

/// The clear frame of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitFrame<'a> {
    /// The group it belongs to.
    pub group: &'a [u8],
    /// The epoch it builds on.
    pub epoch: u64,
    /// Who made it.
    pub committer: Committer,
}

/// Reads the frame of an `MLSMessage` that holds a `PublicMessage` of a member
/// or of a newcomer.
pub fn commit_frame(message: &[u8]) -> Result<CommitFrame<'_>, DecodeError> {
    frame(&mut Reader::new(message))
}

/// The leaves that a commit removes, as far as it says so in front and by value
/// (RFC 9420, sections 12.1.3 and 12.4), which a member that removes others does.
pub fn removed_leaves(message: &[u8]) -> Result<Vec<u32>, DecodeError> {
    let mut reader = Reader::new(message);
    frame(&mut reader)?;
    opaque(&mut reader, "authenticated data")?;
    let at = reader.position();
    if reader.u8("content type")? != CONTENT_COMMIT {
        return Err(DecodeError::Invalid {
            what: "content type",
            at,
        });
    }
    let mut proposals = Reader::new(opaque(&mut reader, "proposals")?);
    let mut leaves = Vec::new();
    while !proposals.rest().is_empty() {
        if proposals.u8("proposal or reference")? != PROPOSAL_BY_VALUE
            || proposals.take(2, "proposal type")? != PROPOSAL_REMOVE.to_be_bytes()
        {
            break;
        }
        leaves.push(u32_be(&mut proposals, "removed leaf")?);
    }
    Ok(leaves)
}

fn frame<'a>(reader: &mut Reader<'a>) -> Result<CommitFrame<'a>, DecodeError> {
    expect_u16(reader, VERSION_MLS10, "MLS version")?;
    expect_u16(reader, WIRE_FORMAT_PUBLIC_MESSAGE, "MLS wire format")?;
    let group = opaque(reader, "group id")?;
    let epoch = u64_be(reader, "epoch")?;
    let at = reader.position();
    let committer = match reader.u8("sender type")? {
        SENDER_MEMBER => Committer::Member(u32_be(reader, "sender leaf")?),
        SENDER_NEW_MEMBER_COMMIT => Committer::Newcomer,
        _ => {
            return Err(DecodeError::Invalid {
                what: "sender type",
                at,
            });
        }
    };
    Ok(CommitFrame {
        group,
        epoch,
        committer,
    })
}

/// Reads group id and epoch of an `MLSMessage` that holds a `GroupInfo`.
pub fn group_info_frame(message: &[u8]) -> Result<(&[u8], u64), DecodeError> {
    let mut reader = Reader::new(message);
    expect_u16(&mut reader, VERSION_MLS10, "MLS version")?;
    expect_u16(&mut reader, WIRE_FORMAT_GROUP_INFO, "MLS wire format")?;
    // GroupContext: version, cipher suite, group id, epoch (RFC 9420, 8.1).
    expect_u16(&mut reader, VERSION_MLS10, "group version")?;
    reader.take(2, "cipher suite")?;
    let group = opaque(&mut reader, "group id")?;
    Ok((group, u64_be(&mut reader, "epoch")?))
}

fn opaque<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    let len = reader.varint_up_to(MAX_FIELD, what)?;
    reader.take(len as usize, what)
}

fn expect_u16(reader: &mut Reader<'_>, wanted: u16, what: &'static str) -> Result<(), DecodeError> {
    let at = reader.position();
    if reader.take(2, what)? != wanted.to_be_bytes() {
        return Err(DecodeError::Invalid { what, at });
    }
    Ok(())
}

fn u32_be(reader: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    Ok(reader
        .take(4, what)?
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

fn u64_be(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    Ok(reader
        .take(8, what)?
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
