//! The receiving end: the keys of the epochs that may still arrive, and the opening of frames.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use darktower_wire::ids::{Epoch, ParticipantId};

use crate::header::Header;
use crate::keys::OpeningKeys;
use crate::sframe::{FrameKey, TAG};

/// How long an epoch can still be opened after the next one was installed: frames sealed before the change are then
/// either here or too late to be shown.
pub const RETENTION: Duration = Duration::from_secs(10);

/// Most epochs kept at once. Joins share an epoch when they fall together, so 10 s of retention rarely see half of
/// it; beyond, the oldest goes early.
const MAX_EPOCHS: usize = 128;

/// The keys of the present epoch and of those replaced less than [`RETENTION`] ago. Lives with the media code, apart
/// from the group.
#[derive(Default)]
pub struct Keyring {
    /// Newest first.
    epochs: VecDeque<Held>,
    aad: Vec<u8>,
}

struct Held {
    keys: OpeningKeys,
    /// Made when a member's first frame arrives, by leaf.
    senders: Vec<Option<Box<FrameKey>>>,
    /// When it is wiped; `None` for the present epoch.
    expires: Option<Duration>,
}

/// What an opened frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Epoch it was sealed in.
    pub epoch: Epoch,
    /// The sender's leaf in that epoch.
    pub leaf: u32,
    /// Count of frames the sender had sealed before in that epoch, over all its tracks. A frame with the same epoch,
    /// leaf and counter as an earlier one is that frame again.
    pub counter: u64,
}

/// Why a frame was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No key for this epoch. `newer`: it may still come, and the frame is worth holding for a moment; otherwise it
    /// was wiped already.
    #[error("no key for this epoch (newer: {newer})")]
    UnknownEpoch {
        /// The epoch lies ahead of the present one.
        newer: bool,
    },
    /// The key id names a leaf where nobody was in that epoch.
    #[error("nobody is at this leaf")]
    UnknownSender,
    /// The key id is another participant's than the one this frame is said to come from.
    #[error("sealed by another participant")]
    WrongSender,
    /// Not sealed with this key, or changed since: frame, header or tag.
    #[error("the tag does not fit")]
    BadTag,
    /// Shorter than a header and a tag.
    #[error("the frame is cut short")]
    Truncated,
    /// The SFrame header is not in the one form that is allowed.
    #[error("the header is malformed")]
    Malformed,
}

impl Keyring {
    /// A keyring that can open nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the keys of a new epoch at monotone time `now`; the ones before are wiped [`RETENTION`] later.
    pub fn install(&mut self, now: Duration, keys: OpeningKeys) {
        self.tick(now);
        if let Some(former) = self.epochs.front_mut() {
            former.expires = Some(now + RETENTION);
        }
        // After a resync the same number may come again with other keys; the later word holds.
        self.epochs.retain(|held| held.keys.epoch != keys.epoch);
        self.epochs.truncate(MAX_EPOCHS - 1);
        self.epochs.push_front(Held {
            keys,
            senders: Vec::new(),
            expires: None,
        });
    }

    /// Wipes the epochs whose time is over at monotone time `now`.
    pub fn tick(&mut self, now: Duration) {
        self.epochs
            .retain(|held| held.expires.is_none_or(|expires| expires > now));
    }

    /// When [`tick`](Self::tick) has to be called next at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.epochs.iter().filter_map(|held| held.expires).min()
    }

    /// The newest epoch installed.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epochs.front().map(|held| held.keys.epoch)
    }

    /// Opens a frame said to come from `sender` and appends its plaintext to `out`, which is left as it was on error.
    pub fn open(
        &mut self,
        sender: ParticipantId,
        aad: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Opened, OpenError> {
        let (header, header_len) = split(sealed)?;
        let (sealed_header, rest) = sealed.split_at(header_len);
        let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::Truncated)?;
        let start = out.len();
        out.extend_from_slice(ciphertext);
        let opened = self.open_parts(sender, header, sealed_header, aad, &mut out[start..], *tag);
        if opened.is_err() {
            out.truncate(start);
        }
        opened
    }

    /// Opens a frame in the buffer it arrived in. The plaintext is the range of `sealed` that comes back; on error the
    /// buffer is unchanged.
    pub fn open_in_place(
        &mut self,
        sender: ParticipantId,
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<(Opened, std::ops::Range<usize>), OpenError> {
        let (header, header_len) = split(sealed)?;
        let end = sealed.len() - TAG;
        let (sealed_header, rest) = sealed.split_at_mut(header_len);
        let (ciphertext, tag) = rest
            .split_last_chunk_mut::<TAG>()
            .ok_or(OpenError::Truncated)?;
        let opened = self.open_parts(sender, header, sealed_header, aad, ciphertext, *tag)?;
        Ok((opened, header_len..end))
    }

    fn open_parts(
        &mut self,
        sender: ParticipantId,
        header: Header,
        sealed_header: &[u8],
        aad: &[u8],
        buffer: &mut [u8],
        tag: [u8; TAG],
    ) -> Result<Opened, OpenError> {
        let newest = self.epochs.front().map(|held| held.keys.epoch.0);
        let held = self
            .epochs
            .iter_mut()
            .find(|held| held.keys.epoch.0 as u16 == header.epoch_low())
            .ok_or(OpenError::UnknownEpoch {
                // Serial-number arithmetic: the shorter way round decides which of two 16-bit numbers is ahead.
                newer: newest.is_none_or(|newest| {
                    (header.epoch_low().wrapping_sub(newest as u16) as i16) > 0
                }),
            })?;
        let leaf = usize::try_from(header.leaf()).map_err(|_| OpenError::UnknownSender)?;
        let member = held
            .keys
            .members
            .get(leaf)
            .copied()
            .flatten()
            .ok_or(OpenError::UnknownSender)?;
        if member != sender {
            return Err(OpenError::WrongSender);
        }
        if held.senders.len() <= leaf {
            held.senders.resize_with(leaf + 1, || None);
        }
        let base_key = &held.keys.base_key;
        let key = held.senders[leaf]
            .get_or_insert_with(|| Box::new(FrameKey::derive(header.kid, base_key)));
        self.aad.clear();
        self.aad.extend_from_slice(sealed_header);
        self.aad.extend_from_slice(aad);
        key.open(header.counter, &self.aad, buffer, tag)
            .map_err(|_| OpenError::BadTag)?;
        Ok(Opened {
            epoch: held.keys.epoch,
            leaf: leaf as u32,
            counter: header.counter,
        })
    }
}

/// The header of a sealed frame and its length, once it is sure that a tag follows.
fn split(sealed: &[u8]) -> Result<(Header, usize), OpenError> {
    // A header of one byte and the tag are the least there can be.
    if sealed.len() < 1 + TAG {
        return Err(OpenError::Truncated);
    }
    let (header, len) = Header::decode(sealed).ok_or(OpenError::Malformed)?;
    if sealed.len() < len + TAG {
        return Err(OpenError::Truncated);
    }
    Ok((header, len))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs: Vec<u64> = self.epochs.iter().map(|held| held.keys.epoch.0).collect();
        f.debug_struct("Keyring")
            .field("epochs", &epochs)
            .finish_non_exhaustive()
    }
}
